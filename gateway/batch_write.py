"""The same bytes to many connections at once: one system call, where the kernel has one for it.

It saves a system call and the event loop's bookkeeping for each connection (docs/decisions/0028-one-system-call-for-a-
slice.md).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

from gateway.group import SLICE
from gateway.subscription import Sink

log = logging.getLogger(__name__)

LEAST = 16  # sockets, below which the call is not worth its preparation


Letter = tuple[Sink, bytes]
"""A connection, and what it is to be sent."""


class Descriptors(Protocol):
    """Sockets that do not block, by number.

    Writing says how many bytes each took where any took less than all, None otherwise; one that fails took none.
    """

    def write(self, data: bytes, descriptors: Sequence[int]) -> Sequence[int] | None:
        """The same to each, ``SLICE`` of them at most."""

    def write_each(self, pieces: Sequence[bytes], descriptors: Sequence[int]) -> Sequence[int] | None:
        """To each its own piece."""

    def close(self) -> None:
        """No more comes."""


class OneByOne:
    """The way everywhere: each connection by itself."""

    def send(self, sinks: Collection[Sink], data: bytes) -> None:
        """Send the same to each."""
        for sink in sinks:
            sink.send(data)

    def send_each(self, letters: Sequence[Letter]) -> None:
        """Send to each its own."""
        for sink, data in letters:
            sink.send(data)

    def close(self) -> None:
        """Nothing is held."""


class BatchWriter(OneByOne):
    """Sends to many connections at once whatever they can take, and leaves the rest to each one's own ``send``."""

    def __init__(self, sockets: Descriptors) -> None:
        self._sockets = sockets

    def send(self, sinks: Collection[Sink], data: bytes) -> None:
        """What ``sink.send(data)`` for each of ``sinks`` would do."""
        if len(sinks) < LEAST:
            super().send(sinks, data)
            return
        ready, descriptors = _ready([(sink, data) for sink in sinks])
        for start in range(0, len(ready), SLICE):
            some = slice(start, start + SLICE)
            _leave(ready[some], self._sockets.write(data, descriptors[some]))

    def send_each(self, letters: Sequence[Letter]) -> None:
        """The same for sinks that get different bytes; none may stand there twice."""
        if len(letters) < LEAST:
            super().send_each(letters)
            return
        ready, descriptors = _ready(letters)
        for start in range(0, len(ready), SLICE):
            some = slice(start, start + SLICE)
            pieces = [data for _, data in ready[some]]
            _leave(ready[some], self._sockets.write_each(pieces, descriptors[some]))

    def close(self) -> None:
        """No more comes."""
        self._sockets.close()


def _ready(letters: Iterable[Letter]) -> tuple[list[Letter], list[int]]:
    """Those that can be written to at once, and their sockets; the others are sent theirs."""
    ready: list[Letter] = []
    descriptors: list[int] = []
    for letter in letters:
        sink, data = letter
        descriptor = sink.descriptor()
        if descriptor < 0:
            sink.send(data)
        else:
            ready.append(letter)
            descriptors.append(descriptor)
    return ready, descriptors


def _leave(letters: Sequence[Letter], taken: Sequence[int] | None) -> None:
    """Leave what was not taken to each connection."""
    for (sink, data), size in zip(letters, taken or (), strict=taken is not None):
        if size < len(data):
            # a view: to copy a large row for each of however many would take all memory there is
            sink.send(memoryview(data)[size:])


def socket_of(transport: asyncio.Transport) -> int:
    """A connection's descriptor; -1 where bytes do not reach it as they are."""
    sock = transport.get_extra_info("socket")
    return -1 if sock is None or transport.get_extra_info("sslcontext") is not None else int(sock.fileno())


def best() -> OneByOne:
    """How this machine sends to many."""
    try:
        from gateway.io_submit import Submission  # noqa: PLC0415 - some builds of Python have no ctypes

        return BatchWriter(Submission.tried())
    except (OSError, ImportError) as error:
        log.info("connections are written to one by one: %s", error)
        return OneByOne()
