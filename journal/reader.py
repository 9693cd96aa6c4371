"""Reading a journal that another process writes, or that nobody has open.

Nothing is kept in memory but a connection that cannot write: bounds are looked up when asked for (some 20 µs), so they
are those of the owner's last commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple, Self

from journal.errors import JournalError, JournalReplaced, UnknownChannel
from journal.file import connect, explained, identify
from journal.pages import Ask, PageReader
from journal.schema import VERSION, ChannelRow, State, load_state
from journal.shapes import load_shapes
from journal.types import ChannelState, Event, Shape

INTERVAL = 0.1  # seconds between two looks for something new


class ReadOnlyJournal:
    """A ``JournalReader`` over the file of another process. Serves every channel in the file; ``rate`` is 0.0."""

    def __init__(self, path: Path) -> None:
        identify(path)
        self._path = path
        self._closed = False
        self._connection = connect(path, read_only=True)
        self._file = _identity(path)
        try:
            with explained(self._connection, path):
                self._epoch = load_state(self._connection).epoch
        except BaseException:
            self._connection.close()
            raise
        self._pages = PageReader(path, self._epoch, threads=1)

    @classmethod
    async def open(cls, path: Path | str) -> Self:
        """Open an existing journal; raises ``JournalError`` when there is none or it is not one."""
        return await asyncio.to_thread(cls, Path(path))

    @property
    def epoch(self) -> str:
        """The name of this journal's life."""
        return self._epoch

    @property
    def checkpoint(self) -> str | None:
        """Where the owner would resume."""
        return self._state().checkpoint

    def channels(self) -> dict[str, ChannelState]:
        """Every channel in the file with its bounds."""
        return {name: row.state() for name, row in self._state().channels.items()}

    def head(self, channel: str) -> int:
        """The newest offset committed; raises ``UnknownChannel``."""
        return self._row(channel).head

    def floor(self, channel: str) -> int:
        """The oldest offset kept, ``head + 1`` when there is none; raises ``UnknownChannel``."""
        return self._row(channel).floor

    def shapes(self, channel: str) -> tuple[Shape, ...]:
        """What its rows look like, as ``JournalReader.shapes`` says, but looked up anew each time."""
        state = self._state()
        with explained(self._connection, self._path):
            known = self._connection.pragma("user_version") == VERSION  # else its owner has not opened it yet
            shapes = load_shapes(self._connection, state) if known else {}
        self._row(channel)
        return shapes.get(channel, ())

    async def read(self, channel: str, after: int, limit: int = 1000, max_bytes: int = 1 << 20) -> list[Event]:
        """A page of events after ``after``, as ``JournalReader.read`` says, from disk."""
        while (after := max(after, (row := self._row(channel)).floor - 1)) < row.head:
            page = await self._pages.read(Ask(channel, after, max(limit, 1), max_bytes, row.head))
            if page:  # else it was trimmed since its bounds were looked up
                return page
        return []

    async def follow(self, channel: str, after: int, interval: float = INTERVAL) -> AsyncIterator[list[Event]]:
        """Every event after ``after``, page by page; looks again each ``interval`` seconds when there is none."""
        while True:
            if events := await self.read(channel, after):
                yield events
                after = events[-1].offset
            else:
                await self.arrival(channel, after, interval)

    async def arrival(self, channel: str, after: int, interval: float = INTERVAL) -> None:
        """Wait for an event after ``after``, looking each ``interval`` seconds; raises when the journal is closed."""
        while self._row(channel).head <= after:  # noqa: ASYNC110 - another process appends, and tells nobody
            await asyncio.sleep(interval)

    async def close(self) -> None:
        """Close the connections."""
        self._closed = True
        await asyncio.to_thread(self._pages.close)
        self._connection.close()

    def _state(self) -> State:
        if self._closed:
            raise JournalError("The journal is closed.")
        if _identity(self._path) != self._file:
            raise JournalReplaced(f"{self._path} was replaced by another file.", "Open it again.")
        with explained(self._connection, self._path):
            state = load_state(self._connection)
        if state.epoch != self._epoch:
            raise JournalReplaced(f"{self._path} has begun a new epoch.", "Open it again.")
        return state

    def _row(self, channel: str) -> ChannelRow:
        try:
            return self._state().channels[channel]
        except KeyError:
            raise UnknownChannel(f"There is no channel {channel!r} in {self._path}.") from None


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


class JournalInfo(NamedTuple):
    """What ``rowcast journal info`` tells: ``created`` in Unix seconds, ``file_bytes`` with the write-ahead log."""

    path: Path
    epoch: str
    created: int
    version: int
    checkpoint: str | None
    channels: dict[str, ChannelState]
    file_bytes: int


def describe(path: Path | str) -> JournalInfo:
    """Describe a journal, whether or not a process has it open; raises as ``ReadOnlyJournal.open`` does."""
    path = Path(path)
    version = identify(path)
    connection = connect(path, read_only=True)
    try:
        with explained(connection, path):
            state = load_state(connection)
    finally:
        connection.close()
    wal = path.with_name(path.name + "-wal")
    size = path.stat().st_size + (wal.stat().st_size if wal.exists() else 0)
    channels = {name: row.state() for name, row in state.channels.items()}
    return JournalInfo(path, state.epoch, state.created, version, state.checkpoint, channels, size)
