"""A journal that another process owns, for as long as we live: it may not be there yet, or be replaced meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path

from journal.errors import JournalError
from journal.reader import ReadOnlyJournal
from journal.types import ChannelState, Event, Shape

_LOOK = 1.0  # seconds between two looks


class SharedJournal:
    """A ``JournalReader`` that opens the file when it is there, and again when it is another one.

    Without a journal every method raises ``JournalError``; ``error`` says why there is none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open: ReadOnlyJournal | None = None
        self.error: JournalError | None = JournalError(f"There is no journal at {path} yet.")

    async def keep_open(self) -> None:
        """Look after the file until cancelled."""
        try:
            while True:
                await self._look()
                await asyncio.sleep(_LOOK)
        finally:
            await self._close()

    @property
    def epoch(self) -> str:
        """The name of this journal's life."""
        return self._now().epoch

    def channels(self) -> dict[str, ChannelState]:
        """Every channel with its bounds."""
        return self._now().channels()

    def head(self, channel: str) -> int:
        """The newest offset committed."""
        return self._now().head(channel)

    def floor(self, channel: str) -> int:
        """The oldest offset kept, ``head + 1`` when there is none."""
        return self._now().floor(channel)

    def shapes(self, channel: str) -> tuple[Shape, ...]:
        """What its rows look like, oldest first."""
        return self._now().shapes(channel)

    async def read(self, channel: str, after: int, limit: int = 1000, max_bytes: int = 1 << 20) -> list[Event]:
        """A page of events after ``after``."""
        return await self._now().read(channel, after, limit, max_bytes)

    async def arrival(self, channel: str, after: int) -> None:
        """Wait for an event after ``after``; raises ``JournalError`` when this journal is closed meanwhile."""
        await self._now().arrival(channel, after)

    def _now(self) -> ReadOnlyJournal:
        if self._open is None:
            assert self.error is not None
            raise self.error
        return self._open

    async def _look(self) -> None:
        try:
            if self._open is None:
                self._open = await ReadOnlyJournal.open(self._path)
            self._open.channels()
        except JournalError as error:
            self.error = error
            await self._close()
        else:
            self.error = None

    async def _close(self) -> None:
        journal, self._open = self._open, None
        if journal is not None:
            await journal.close()
