"""Serving subscriptions that are behind: pages of the journal, as fast as each connection takes them.

A subscription that is behind stands in one queue; a few workers serve one page at a time and put it back: at the end,
or in front when it is nearly there. Otherwise, with thousands in the queue, as many rows come between two of its pages
as a page holds, and it never gets live.
One whose connection has no room is let go of, and comes back when its transport resumes. So there is no task and no
queue for each connection, memory is bounded by the pages in hand, and nobody waits for anybody slow.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_left
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import NamedTuple, cast

from gateway.frames import SLICE, Run, control_frame, schema_frame
from gateway.hub import Hub
from gateway.share import Share
from gateway.stats import Stats
from gateway.subscription import Mode, Subscription
from gateway.wire import Gap, Live
from journal.errors import JournalError
from journal.shapes import in_force
from journal.types import JournalReader, Shape

PAGE_EVENTS = 512  # pages end at multiples of this offset, so that subscribers behind by the same share them
WORKERS = 4
AT_ONCE = 1  # pages that a worker serves in one turn of the loop, at least
WRITES_A_PAGE = 16  # writes of live rows that take about as long as the writing of one page
KEPT_BYTES = 32 << 20
JOURNAL_FAILED = 4000  # close code: come back

_EVENT_OVERHEAD = 640  # bytes of memory that an event of a page takes beside its message

log = logging.getLogger("gateway.replay")


class Page(NamedTuple):
    """A run of events, and what rows of the channel look like. ``whole``: reading again would give no more."""

    run: Run
    whole: bool
    shapes: tuple[Shape, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of memory, at most: the messages, their frames singly and joined, and what filters look at."""
        return 3 * self.run.size + _EVENT_OVERHEAD * len(self.run.events)


class Pages:
    """Reads pages and keeps the last few for others: thousands of clients that return at once need the same ones."""

    def __init__(self, journal: JournalReader, stats: Stats, kept_bytes: int = KEPT_BYTES) -> None:
        self._journal = journal
        self._stats = stats
        self._room = kept_bytes
        self._most = kept_bytes // 4  # a larger page is not worth keeping
        self._kept: OrderedDict[tuple[str, int], Page] = OrderedDict()

    async def read(self, channel: str, after: int, head: int) -> Page | None:
        """The page after ``after``, nothing beyond ``head``; ``None`` when retention has left nothing to read."""
        key = (channel, after)
        page = self._kept.get(key)
        if page is not None and (page.whole or page.run.last == head):
            self._kept.move_to_end(key)
            self._stats.page_hits += 1
            return page
        page = await self._load(channel, after, head)
        if page is not None:
            self._keep(key, page)
        return page

    async def _load(self, channel: str, after: int, head: int) -> Page | None:
        boundary = (after // PAGE_EVENTS + 1) * PAGE_EVENTS
        stop = min(boundary, head)
        shapes = self._journal.shapes(channel)  # now, for retention may take some with the events, and pages are kept
        events = await self._journal.read(channel, after, limit=stop - after, max_bytes=SLICE)
        self._stats.pages += 1
        events = [event for event in events if event.offset <= head]  # the page begins at the floor if that is higher
        if not events:
            return None
        run = Run(events, sum(event.size for event in events))
        return Page(run, run.last >= boundary or run.last < head, shapes)

    def _keep(self, key: tuple[str, int], page: Page) -> None:
        if page.size > self._most:
            return
        replaced = self._kept.pop(key, None)
        self._room += replaced.size if replaced else 0
        self._kept[key] = page
        self._room -= page.size
        while self._room < 0:
            _, oldest = self._kept.popitem(last=False)
            self._room += oldest.size


class Replay:
    """Brings subscriptions that are behind up to their channel's head and makes them live."""

    def __init__(self, journal: JournalReader, hub: Hub, stats: Stats, workers: int = WORKERS) -> None:
        self._journal = journal
        self._hub = hub
        self._stats = stats
        self._pages = Pages(journal, stats)
        self._most_workers = workers
        self._workers: set[asyncio.Task[None]] = set()
        self._queue: deque[Subscription] = deque()
        self._stopped = False
        self._share = Share(stats, AT_ONCE, WRITES_A_PAGE)

    def begin(self, subscription: Subscription) -> bytes:
        """Make it live now if nothing was missed, else put it in the queue; returns what its client is to be told."""
        if self._hub.settle(subscription):
            return self._arrival(subscription)
        self.enqueue(subscription)
        return b""

    def enqueue(self, subscription: Subscription, *, first: bool = False) -> None:
        """Serve it when its turn comes, or next; harmless when it waits already, or needs nothing."""
        if subscription.queued or subscription.mode is not Mode.REPLAYING or self._stopped:
            return
        subscription.queued = True
        if first:
            self._queue.appendleft(subscription)
        else:
            self._queue.append(subscription)
        if not self._workers:
            self._share.forget()
        if len(self._workers) < self._most_workers:
            self._workers.add(asyncio.get_running_loop().create_task(self._work()))

    async def stop(self) -> None:
        """Serve no more pages; when it returns, nobody reads the journal any more."""
        self._stopped = True
        self._queue.clear()
        workers = list(self._workers)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)

    async def _work(self) -> None:
        share = self._share.take()
        try:
            while self._queue:
                subscription = self._queue.popleft()
                if subscription.mode is Mode.REPLAYING and not subscription.sink.paused:
                    await self._advance(subscription)
                    share -= 1
                    if share <= 0:
                        # Pages found in memory come without waiting: the loop gets its turn all the same.
                        await asyncio.sleep(0)
                        share = self._share.take()
                else:
                    subscription.queued = False
        finally:
            # Not by a done callback: until that runs, enqueue() would count on a worker that has looked its last.
            self._workers.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    async def _advance(self, subscription: Subscription) -> None:
        """Serve one page, then make the subscription live or put it back."""
        try:
            if subscription.offset != self._hub.published(subscription.channel):
                await self._serve_page(subscription)
        except Exception as error:  # whatever went wrong, this subscriber must not wait in silence
            known = isinstance(error, (JournalError, OSError))
            log.warning("replay of %s failed: %s", subscription.channel, error, exc_info=not known)
            subscription.sink.fail(JOURNAL_FAILED, "the journal cannot be read")
        finally:
            subscription.queued = False
        if subscription.mode is Mode.REPLAYING and not self._settle(subscription):
            missing = self._hub.published(subscription.channel) - subscription.offset
            self.enqueue(subscription, first=missing <= PAGE_EVENTS)

    async def _serve_page(self, subscription: Subscription) -> None:
        channel, after = subscription.channel, subscription.offset
        page = await self._pages.read(channel, after, self._hub.published(channel))
        if subscription.mode is not Mode.REPLAYING:
            return  # unsubscribed, replaced or gone meanwhile
        first = page.run.first if page else min(self._journal.floor(channel), self._hub.published(channel) + 1)
        if first > after + 1:
            self._tell_gap(subscription, first)
        elif page is None:
            raise JournalError(f"{channel} has no event {after + 1}, though it is kept")
        if page is not None:
            self._send(subscription, page)
            subscription.offset = page.run.last

    def _send(self, subscription: Subscription, page: Page) -> None:
        run = page.run
        places = range(len(run.events)) if subscription.where is None else run.columns.select(subscription.where)
        if subscription.columns is not None:
            data = _described(subscription, page, places)
        else:
            data = run.some(places, subscription.sink.deflate) if places else b""
        if not data:
            return
        subscription.sink.send(data)
        self._stats.deliveries += len(places)
        self._stats.replayed += len(places)
        self._stats.bytes += len(data)

    def _tell_gap(self, subscription: Subscription, before: int) -> None:
        """Retention has overtaken the reader: say so in the place where events are missing."""
        gap = Gap(subscription=subscription.channel, after=subscription.offset, before=before, reason="retention")
        subscription.sink.send(control_frame(gap))
        subscription.offset = before - 1
        self._stats.gaps += 1

    def _settle(self, subscription: Subscription) -> bool:
        if not self._hub.settle(subscription):
            return False
        subscription.sink.send(self._arrival(subscription))
        return True

    def _arrival(self, subscription: Subscription) -> bytes:
        """What a client is told when it has become live."""
        schema = _schema(subscription, in_force(self._journal.shapes(subscription.channel), subscription.offset + 1))
        return schema + control_frame(Live(subscription=subscription.channel, offset=subscription.offset))


def _described(subscription: Subscription, page: Page, places: Sequence[int]) -> bytes:
    """The frames of the events at these places, and in between what they look like wherever that changes."""
    run, deflate = page.run, subscription.sink.deflate
    parts, done = [_schema(subscription, in_force(page.shapes, run.first))], 0
    for shape in page.shapes:
        if run.first < shape.first <= run.last:
            end = bisect_left(places, shape.first - run.first)
            parts += [run.some(places[done:end], deflate), _schema(subscription, shape)]
            done = end
    return b"".join([*parts, run.some(places[done:], deflate)])


def _schema(subscription: Subscription, shape: Shape | None) -> bytes:
    """The frame that tells a shape; nothing for a client that does not ask, or was told the same last."""
    if shape is None or subscription.columns is None or subscription.columns == shape.columns:
        return b""
    subscription.columns = shape.columns
    return schema_frame(subscription.channel, shape.columns)
