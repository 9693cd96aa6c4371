from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from gateway.hub import Hub
from gateway.replay import JOURNAL_FAILED, PAGE_EVENTS, Replay
from gateway.stats import Stats
from gateway.subscription import Mode, Subscription
from journal.errors import JournalError
from journal.types import Event
from tests.gateway.memory import MemoryJournal
from tests.gateway.recorder import Recorder, soon
from tests.waiting import until

CHANNEL = "cctv_updates"


class Bench:
    """A journal, a hub and a replay, put together as the gateway does it."""

    def __init__(self, kept: int = 0) -> None:
        self.journal = MemoryJournal([CHANNEL])
        self.journal.append(CHANNEL, [b"{}"] * kept)
        self.stats = Stats()
        self.hub = Hub({CHANNEL: kept}, self.stats, soon)
        self.replay = Replay(self.journal, self.hub, self.stats)
        self.hub.demoted = self.replay.enqueue

    def publish(self, count: int) -> None:
        """Append events and hand them over."""
        self.hub.publish(self.journal.append(CHANNEL, [b"{}"] * count))

    def subscribe(self, offset: int, room: int | None = None) -> tuple[Subscription, Recorder]:
        """Begin after an offset."""
        sink = Recorder(room)
        subscription = Subscription(CHANNEL, sink, offset)
        sink.hub, sink.subscription = self.hub, subscription
        sink.send(self.replay.begin(subscription))
        return subscription, sink


MakeBench = Callable[..., Bench]


def held() -> tuple[asyncio.Event, Callable[[], Awaitable[object]]]:
    """An event, and a delay for the journal that lasts until it is set."""
    go = asyncio.Event()
    return go, go.wait


async def test_at_the_head_it_is_live_at_once() -> None:
    """A subscription that has missed nothing is live before anything else can happen, and told so."""
    bench = Bench(kept=5)
    subscription, sink = bench.subscribe(5)
    assert subscription.mode is Mode.LIVE
    assert sink.frames == [{"type": "live", "subscription": CHANNEL, "offset": 5}]
    assert bench.journal.reads == 0


async def test_pages_then_live() -> None:
    """Everything after the cursor comes from the journal, then `live` once, then what is published."""
    bench = Bench(kept=3 * PAGE_EVENTS)
    subscription, sink = bench.subscribe(10)
    await until(lambda: subscription.mode is Mode.LIVE)
    bench.publish(2)
    assert sink.offsets == list(range(11, 3 * PAGE_EVENTS + 3))
    assert [frame["offset"] for frame in sink.control("live")] == [3 * PAGE_EVENTS]


async def test_events_published_during_a_read_are_not_lost() -> None:
    """What is published while a page is being read comes with the next page."""
    bench = Bench(kept=10)
    go, bench.journal.delay = held()
    subscription, sink = bench.subscribe(0)
    await until(lambda: bench.journal.reads == 1)
    bench.publish(5)
    go.set()
    await until(lambda: subscription.mode is Mode.LIVE)
    assert sink.offsets == list(range(1, 16))


async def test_a_connection_without_room_is_let_go_of_and_comes_back() -> None:
    """No page is read for a full connection; when it has drained, it goes on where it was."""
    bench = Bench(kept=5 * PAGE_EVENTS)
    subscription, sink = bench.subscribe(0, room=1000)
    await until(lambda: sink.paused and not bench.replay._workers)
    assert bench.journal.reads == 1
    while subscription.mode is not Mode.LIVE:
        sink.drain()
        bench.replay.enqueue(subscription)
        await until(lambda: not subscription.queued)
    assert sink.offsets == list(range(1, 5 * PAGE_EVENTS + 1))


async def test_retention_overtakes_a_reader() -> None:
    """Events trimmed in front of a reader leave a gap in their place."""
    bench = Bench(kept=2 * PAGE_EVENTS)
    subscription, sink = bench.subscribe(0, room=1000)
    await until(lambda: sink.paused and not bench.replay._workers)
    bench.journal.trim(CHANNEL, PAGE_EVENTS + 101)
    sink._room = None
    sink.drain()
    bench.replay.enqueue(subscription)
    await until(lambda: subscription.mode is Mode.LIVE)
    gap = {"type": "gap", "subscription": CHANNEL, "after": PAGE_EVENTS, "before": PAGE_EVENTS + 101}
    assert sink.control("gap") == [{**gap, "reason": "retention"}]
    at = sink.frames.index(sink.control("gap")[0])
    assert (sink.frames[at - 1]["offset"], sink.frames[at + 1]["offset"]) == (PAGE_EVENTS, PAGE_EVENTS + 101)
    assert sink.offsets == [*range(1, PAGE_EVENTS + 1), *range(PAGE_EVENTS + 101, 2 * PAGE_EVENTS + 1)]


async def test_retention_takes_everything() -> None:
    """When nothing is left of what a reader wanted, a gap leads to the head, and it is live."""
    bench = Bench(kept=10)
    bench.journal.trim(CHANNEL, 11)
    subscription, sink = bench.subscribe(4)
    await until(lambda: subscription.mode is Mode.LIVE)
    bench.publish(1)
    assert sink.control("gap") == [
        {"type": "gap", "subscription": CHANNEL, "after": 4, "before": 11, "reason": "retention"}
    ]
    assert sink.offsets == [11]


@pytest.mark.parametrize("leave_first", [True, False])
async def test_unsubscribed_while_its_page_is_read(leave_first: bool) -> None:
    """A page that arrives for a closed subscription is thrown away."""
    bench = Bench(kept=10)
    go, bench.journal.delay = held()
    subscription, sink = bench.subscribe(0)
    await until(lambda: bench.journal.reads == 1)
    if leave_first:
        bench.hub.leave(subscription)
    go.set()
    await until(lambda: not bench.replay._workers)
    assert bool(sink.offsets) is not leave_first


@pytest.mark.parametrize("error", [JournalError("disk"), OSError("gone"), RuntimeError("a bug")])
async def test_a_failing_journal_closes_the_connection(error: Exception) -> None:
    """Nobody waits in silence for a page that cannot be read; others are served when the journal is well again."""
    bench = Bench(kept=10)
    bench.journal.error = error
    _, sink = bench.subscribe(0)
    await until(lambda: sink.closed is not None)
    assert sink.closed == (JOURNAL_FAILED, "the journal cannot be read")
    bench.journal.error = None
    _, other = bench.subscribe(0)
    await until(lambda: len(other.offsets) == 10)


async def test_a_journal_that_hides_an_event_closes_the_connection() -> None:
    """An empty page where events are kept is an error, never a silent skip or an endless loop."""
    bench = Bench(kept=10)

    async def nothing(*_: object, **__: object) -> list[Event]:
        return []

    bench.journal.read = nothing  # type: ignore[method-assign]
    _, sink = bench.subscribe(0)
    await until(lambda: sink.closed is not None)
    assert sink.frames == []


async def test_nobody_waits_for_a_long_replay() -> None:
    """Pages are dealt out in turn: a short catch-up ends while a long one is under way."""
    bench = Bench(kept=200 * PAGE_EVENTS)
    bench.replay._most_workers = 1
    long, _ = bench.subscribe(0)
    short, _ = bench.subscribe(200 * PAGE_EVENTS - 10)
    await until(lambda: short.mode is Mode.LIVE)
    assert long.mode is Mode.REPLAYING
    assert long.offset <= 3 * PAGE_EVENTS


async def test_who_is_nearly_there_is_brought_to_the_end() -> None:
    """Rows that come while thousands are served keep nobody from becoming live: its last pages come together."""
    bench = Bench(kept=2 * PAGE_EVENTS)
    bench.replay._most_workers = 1
    crowd = [bench.subscribe(0)[0] for _ in range(50)]
    while crowd[0].mode is not Mode.LIVE:
        if bench.replay._queue and bench.replay._queue[-1].offset:
            bench.publish(PAGE_EVENTS // 10)  # 50 turns bring more than 50 pages hold
        await asyncio.sleep(0)
        assert bench.hub.published(CHANNEL) < 4 * PAGE_EVENTS
    await until(lambda: all(subscription.mode is Mode.LIVE for subscription in crowd))


async def test_a_crowd_shares_its_pages() -> None:
    """Many who come back behind by about the same read each page of the journal about once."""
    bench = Bench(kept=4 * PAGE_EVENTS)
    crowd = [bench.subscribe(n) for n in range(5) for _ in range(8)]
    await until(lambda: all(subscription.mode is Mode.LIVE for subscription, _ in crowd))
    assert all(sink.offsets[-1] == 4 * PAGE_EVENTS for _, sink in crowd)
    assert bench.journal.reads < 20  # 5 first pages and 3 that all share, each by up to four workers at once
    assert bench.stats.page_hits > 140


async def test_nothing_beyond_what_was_published() -> None:
    """Events in the journal that were not published yet wait for it: a page never overtakes the hub."""
    bench = Bench(kept=10)
    events = bench.journal.append(CHANNEL, [b"{}"] * 5)
    subscription, sink = bench.subscribe(0)
    await until(lambda: subscription.mode is Mode.LIVE)
    assert sink.offsets == list(range(1, 11))
    bench.hub.publish(events)
    assert sink.offsets == list(range(1, 16))


async def test_stop_serves_nobody_any_more() -> None:
    """After stop no page is read and nobody is put in the queue."""
    bench = Bench(kept=10)
    go, bench.journal.delay = held()
    _, sink = bench.subscribe(0)
    await until(lambda: bench.journal.reads == 1)
    await bench.replay.stop()
    assert not bench.replay._workers
    bench.subscribe(1)
    go.set()
    await asyncio.sleep(0)
    assert (sink.frames, bench.journal.reads) == ([], 1)
