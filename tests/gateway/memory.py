"""A journal in memory: what the gateway's pure parts are tested against, with pages as slow as a test wants."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from journal.errors import UnknownChannel
from journal.types import INSERT, ChannelState, Event, Shape


class MemoryJournal:
    """A ``JournalReader`` that can also append and trim. ``delay`` is awaited before every page."""

    def __init__(self, channels: Sequence[str] = ("cctv_updates",), epoch: str = "k3f9") -> None:
        self.epoch = epoch
        self.delay: Callable[[], Awaitable[object]] | None = None
        self.error: Exception | None = None
        self.reads = 0
        self._events: dict[str, list[Event]] = {channel: [] for channel in channels}
        self._floors = dict.fromkeys(channels, 1)

    def append(self, channel: str, messages: Sequence[bytes], op: str = INSERT) -> list[Event]:
        """Add events and return them with their offsets."""
        head = self.head(channel)
        events = [Event(channel, head + n, op, message, 0.0) for n, message in enumerate(messages, 1)]
        self._events[channel] += events
        return events

    def trim(self, channel: str, floor: int) -> None:
        """Forget everything before ``floor``."""
        self._floors[channel] = max(self._floors[channel], floor)

    def channels(self) -> dict[str, ChannelState]:
        """Every channel with its bounds."""
        return {channel: ChannelState(self.floor(channel), self.head(channel), 0, 0.0) for channel in self._events}

    def head(self, channel: str) -> int:
        """The newest offset."""
        if channel not in self._events:
            raise UnknownChannel(channel)
        return len(self._events[channel])

    def floor(self, channel: str) -> int:
        """The oldest offset kept."""
        return self._floors[channel]

    def shapes(self, channel: str) -> tuple[Shape, ...]:
        """Nothing is known of its rows."""
        return ()

    async def arrival(self, channel: str, after: int) -> None:
        """Nobody waits here."""
        raise NotImplementedError

    async def read(self, channel: str, after: int, limit: int = 1000, max_bytes: int = 1 << 20) -> list[Event]:
        """A page."""
        self.reads += 1
        if self.delay is not None:
            await self.delay()
        if self.error is not None:
            raise self.error
        start = max(after, self._floors[channel] - 1)
        page: list[Event] = []
        size = 0
        for event in self._events[channel][start : start + limit]:
            if page and size + len(event.message) > max_bytes:
                break
            page.append(event)
            size += len(event.message)
        return page
