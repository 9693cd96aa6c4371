"""The sockets of all links, for whoever writes to many of them by one system call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Open(Protocol):
    """One end of a connection."""

    def take_at_once(self, data: bytes) -> int:
        """Send as much as there is room for; how many bytes that were."""


class Socket(NamedTuple):
    """As much of one as is asked for."""

    descriptor: int

    def fileno(self) -> int:
        """Its number."""
        return self.descriptor


class Kernel:
    """Knows who is behind each number."""

    def __init__(self) -> None:
        self._open: list[Open] = []

    def socket(self, end: Open) -> Socket:
        """Give it the next number."""
        self._open.append(end)
        return Socket(len(self._open) - 1)

    def write(self, data: bytes, descriptors: Sequence[int]) -> Sequence[int] | None:
        """What io_submit(2) would do."""
        taken = [self._open[descriptor].take_at_once(data) for descriptor in descriptors]
        return None if set(taken) == {len(data)} else taken

    def write_each(self, pieces: Sequence[bytes], descriptors: Sequence[int]) -> Sequence[int] | None:
        """The same with a piece for each."""
        both = zip(pieces, descriptors, strict=True)
        taken = [self._open[descriptor].take_at_once(piece) for piece, descriptor in both]
        return None if taken == [len(piece) for piece in pieces] else taken

    def close(self) -> None:
        """Nothing is held."""
