"""What event streams and long polls have in common: one look at the journal, one filter, one text for all of them.

Each reader is a cursor over one channel. It reads pages that it shares with others, and when it has everything it waits
here: one look-out for each channel wakes all of its readers, a few in each turn of the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from api.client import Client
from api.errors import Failure, ReadersFull
from api.lines import Lines
from api.turns import A_PAGE, Turns, Waiter
from journal.errors import JournalError
from journal.filter import Filters
from journal.shared import Page, Pages
from journal.types import JournalReader

PAGE_BYTES = 64 * 1024  # of messages in one page: so much may wait for a reader, beside uvicorn's own 64 KiB
KEPT_BYTES = 16 << 20
AT_DISK = 4  # readers that ask the journal at a time: the gateway's have to be read as well


@dataclass(slots=True)
class FeedStats:
    """Plain counters since the start; the first two are how many there are now."""

    streams: int = 0
    polls: int = 0
    opened: int = 0  # streams, ever
    asked: int = 0  # polls, ever
    refused: int = 0  # of both, because there were too many
    deliveries: int = 0  # events sent
    bytes: int = 0  # of these events
    gaps: int = 0  # gaps made for one reader (retention, epoch)
    pages: int = 0  # journal pages read
    page_hits: int = 0  # journal pages that another reader had had read

    @property
    def readers(self) -> int:
        """Streams and polls of now."""
        return self.streams + self.polls


class _Topic:
    """Who waits for a channel's next event, and the task that looks out for it."""

    def __init__(self) -> None:
        self.waiting: dict[Waiter, None] = {}  # in the order of their coming
        self.lookout: asyncio.Task[None] | None = None


class Feed:
    """Reads ``journal`` for at most ``max_readers`` at a time. All methods belong to one event loop.

    ``ahead`` is told the channel and offset of a client that has more of our epoch than was given. True: it may be
    right, another epoch is about to begin, and nothing may be answered in the name of this one.
    """

    def __init__(
        self,
        journal: JournalReader,
        *,
        filters: Filters | None = None,
        ahead: Callable[[str, int], bool] = lambda _channel, _offset: False,
        max_readers: int = 1000,
        heartbeat: float = 15.0,
    ) -> None:
        self.journal = journal
        self.filters = filters or Filters()
        self.ahead = ahead
        self.heartbeat = heartbeat  # seconds of silence on a stream
        self.stats = FeedStats()
        self.closing = False
        self.reading = asyncio.Semaphore(AT_DISK)  # to be held while ``page`` is asked for
        self._max_readers = max_readers
        self._pages = Pages(journal, Lines, self.stats, page_bytes=PAGE_BYTES, kept_bytes=KEPT_BYTES)
        self._turns = Turns()
        self._topics: dict[str, _Topic] = {}

    def check_room(self) -> None:
        """Raise ``ReadersFull`` when there are as many readers as may be."""
        if self.stats.readers >= self._max_readers:
            self.stats.refused += 1
            raise ReadersFull(Failure(error="Too many are reading at once", limit=self._max_readers))

    @contextmanager
    def streaming(self) -> Iterator[None]:
        """Count a stream for as long as it lasts."""
        self.stats.opened += 1
        self.stats.streams += 1
        try:
            yield
        finally:
            self.stats.streams -= 1

    @contextmanager
    def polling(self) -> Iterator[None]:
        """Count a poll until it is answered."""
        self.stats.asked += 1
        self.stats.polls += 1
        try:
            yield
        finally:
            self.stats.polls -= 1

    async def page(self, channel: str, after: int, head: int) -> Page[Lines] | None:
        """The page after ``after`` as ``journal.shared.Pages`` has it."""
        return await self._pages.read(channel, after, head)

    async def turn(self) -> None:
        """Let others have theirs before the next page."""
        await self._turns.take(A_PAGE)

    async def arrival(self, channel: str, after: int, client: Client, seconds: float) -> bool:
        """Wait for an event after ``after``; false when ``seconds`` are over, the client has left or it closes."""
        if self.closing or client.gone or seconds <= 0:
            return False
        waiter: Waiter = asyncio.get_running_loop().create_future()
        topic = self._topics.setdefault(channel, _Topic())
        topic.waiting[waiter] = None
        if topic.lookout is None:
            topic.lookout = asyncio.create_task(self._look_out(channel, after, topic))
        client.left = lambda: _let_go(waiter)
        timer = asyncio.get_running_loop().call_later(seconds, _let_go, waiter)
        try:
            await waiter
        finally:
            timer.cancel()
            topic.waiting.pop(waiter, None)
            if not topic.waiting and topic.lookout is not None:
                topic.lookout.cancel()
        return not self.closing and not client.gone and self.journal.head(channel) > after

    def close(self) -> None:
        """Let every stream end and every poll be answered: nothing may hold up the server's end."""
        self.closing = True
        for topic in self._topics.values():
            if topic.lookout is not None:
                topic.lookout.cancel()
            self._wake(topic)

    async def _look_out(self, channel: str, after: int, topic: _Topic) -> None:
        """Wake everybody at the next event. Who comes before it waits behind the same offset, or a later one."""
        try:
            await self.journal.arrival(channel, after)
        except JournalError:
            pass  # which they will meet themselves
        finally:
            topic.lookout = None
            self._wake(topic)

    def _wake(self, topic: _Topic) -> None:
        waiting, topic.waiting = topic.waiting, {}
        self._turns.grant(waiting)


def _let_go(waiter: Waiter) -> None:
    if not waiter.done():
        waiter.set_result(None)
