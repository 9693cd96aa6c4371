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
from collections import deque
from collections.abc import Sequence
from typing import cast

from gateway.frames import SLICE, Run, control_frame, schema_frame
from gateway.hub import Hub
from gateway.share import Share
from gateway.stats import Stats
from gateway.subscription import Mode, Subscription
from journal.errors import JournalError
from journal.shapes import in_force
from journal.shared import PAGE_EVENTS, Page, Pages, resumes_at
from journal.texts import Gap, Live
from journal.types import JournalReader, Shape

WORKERS = 4
AT_ONCE = 1  # pages that a worker serves in one turn of the loop, at least
WRITES_A_PAGE = 2  # writes of live rows that take about as long as the writing of one page
KEPT_BYTES = 32 << 20
JOURNAL_FAILED = 4000  # close code: come back

log = logging.getLogger("gateway.replay")


class Replay:
    """Brings subscriptions that are behind up to their channel's head and makes them live."""

    def __init__(self, journal: JournalReader, hub: Hub, stats: Stats, workers: int = WORKERS) -> None:
        self._journal = journal
        self._hub = hub
        self._stats = stats
        self._pages = Pages(journal, Run, stats, page_bytes=SLICE, kept_bytes=KEPT_BYTES)
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

    @property
    def waiting(self) -> int:
        """How many subscriptions wait for a page."""
        return len(self._queue)

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
        first = resumes_at(page, after, self._journal.floor(channel), self._hub.published(channel))
        if first > after + 1:
            self._tell_gap(subscription, first)
        if page is not None:
            self._send(subscription, page)
            subscription.offset = page.run.last

    def _send(self, subscription: Subscription, page: Page[Run]) -> None:
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


def _described(subscription: Subscription, page: Page[Run], places: Sequence[int]) -> bytes:
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
