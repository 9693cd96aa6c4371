"""Parts of other rooms, as little of them as the API's own tests need."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from api.errors import SaveFailed
from api.rows import Row
from journal.types import INSERT, ChannelState, Event, Shape


class Journal:
    """Two channels that never change, one of them with events."""

    epoch = "k3f9"

    def channels(self) -> dict[str, ChannelState]:
        """Their bounds."""
        return {"scraped_updates": ChannelState(1, 0, 0, 0.0), "cctv_updates": ChannelState(5, 42, 4096, 12.34)}

    def head(self, channel: str) -> int:
        """The newest offset."""
        return self.channels()[channel].head

    def floor(self, channel: str) -> int:
        """The oldest offset."""
        return self.channels()[channel].floor

    def shapes(self, channel: str) -> tuple[Shape, ...]:
        """Nothing is known."""
        return ()

    async def read(self, channel: str, after: int, limit: int = 1000, max_bytes: int = 1 << 20) -> list[Event]:
        """A page."""
        first, head = max(after + 1, self.floor(channel)), self.head(channel)
        offsets = range(first, min(first + limit, head + 1))
        return [Event(channel, offset, INSERT, b'{"id":%d,"cctv_id":3}' % offset, 0.0) for offset in offsets]

    async def arrival(self, channel: str, after: int) -> None:
        """Nothing ever comes."""
        await asyncio.Event().wait()


class Results:
    """A writer that numbers rows at once, or when ``gate`` opens, or fails with ``error``."""

    def __init__(self, error: Exception | None = None) -> None:
        self.limits = {"account": 255, "url": 2048}
        self.rows: list[Row] = []
        self.error = error
        self.gate = asyncio.Event()
        self.gate.set()

    async def save(self, row: Row) -> int:
        """The row's number."""
        return (await self.save_all([row]))[0]

    async def save_all(self, rows: Sequence[Row]) -> list[int]:
        """The rows' numbers."""
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.rows += rows
        return list(range(len(self.rows) - len(rows) + 1, len(self.rows) + 1))


class GatedTable:
    """A table whose saves wait until ``gate`` opens; remembers its groups."""

    def __init__(self) -> None:
        self.limits: dict[str, int] = {}
        self.groups: list[list[str]] = []
        self.checks = 0
        self.gate = asyncio.Event()
        self.away: SaveFailed | None = None
        self.bug: Exception | None = None

    async def check(self) -> None:
        """Fine, unless ``away``."""
        self.checks += 1
        if self.away is not None:
            raise self.away

    async def save(self, rows: Sequence[Row]) -> list[int | SaveFailed]:
        """Number the rows by their account."""
        return list(await self.save_all(rows))

    async def save_all(self, rows: Sequence[Row]) -> list[int]:
        """Number the rows by their account."""
        self.groups.append([row.account for row in rows])
        async with asyncio.timeout(10):
            await self.gate.wait()
        if self.away is not None:
            raise self.away
        if self.bug is not None:
            raise self.bug
        return [int(row.account) for row in rows]

    def close(self) -> None:
        """Let go of whoever waits."""
        self.gate.set()
