"""The real journal, with the few handles that the gateway's tests need on it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from journal.sqlite import SqliteJournal
from journal.types import INSERT, Change, ChannelState, Event, Shape, Transaction

TAIL_BYTES = 64 * 1024  # little, so that replays read the file too


class StoredJournal:
    """A ``JournalReader`` over a ``SqliteJournal`` on disk. Its clock goes on by a second with every append."""

    epoch = "k3f9"  # in place of the journal's own, so that tests and examples can quote it

    def __init__(self) -> None:
        self.error: Exception | None = None  # what reads raise, if anything
        self.reads = 0
        self.open_gate = asyncio.Event()  # reads wait until it is set
        self.open_gate.set()
        self.closes_after: int | None = None  # the read after which the gate closes by itself
        self._now = 0.0
        self._appended: dict[str, list[tuple[float, int]]] = {}  # when, and the first offset

    @classmethod
    async def open(cls, path: Path, channels: Sequence[str]) -> Self:
        """Open or make the journal."""
        journal = cls()
        journal._journal = await SqliteJournal.open(
            path, channels, sync="normal", tail_bytes=TAIL_BYTES, clock=lambda: journal._now
        )
        return journal

    _journal: SqliteJournal

    async def append(self, channel: str, messages: Sequence[bytes], op: str = INSERT) -> list[Event]:
        """Append messages as one transaction; to be published with no await in between."""
        self._now += 1
        self._appended.setdefault(channel, []).append((self._now, self.head(channel) + 1))
        changes = [Change(channel, op, message) for message in messages]
        return await self._journal.append([Transaction(changes, "here", 0.0)])

    async def trim(self, channel: str, floor: int) -> None:
        """Let go of everything before ``floor``, which must be the first offset of an append."""
        since = next(when for when, first in self._appended[channel] if first == floor)
        await self._journal.trim(self._now - since + 0.5, 1 << 40)
        assert self.floor(channel) == floor

    async def close(self) -> None:
        """Close the file."""
        await self._journal.close()

    def channels(self) -> dict[str, ChannelState]:
        """Every channel with its bounds."""
        return self._journal.channels()

    def head(self, channel: str) -> int:
        """The newest offset."""
        return self._journal.head(channel)

    def floor(self, channel: str) -> int:
        """The oldest offset kept."""
        return self._journal.floor(channel)

    def shapes(self, channel: str) -> tuple[Shape, ...]:
        """What its rows look like."""
        return self._journal.shapes(channel)

    async def arrival(self, channel: str, after: int) -> None:
        """Wait for an event."""
        await self._journal.arrival(channel, after)

    async def read(self, channel: str, after: int, limit: int = 1000, max_bytes: int = 1 << 20) -> list[Event]:
        """A page, counted."""
        self.reads += 1
        if self.reads - 1 == self.closes_after:
            self.open_gate.clear()
        await self.open_gate.wait()
        if self.error is not None:
            raise self.error
        return await self._journal.read(channel, after, limit, max_bytes)
