from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.filters import FilterIndex
from gateway.group import Group
from gateway.hub import Hub
from gateway.limits import Timing
from gateway.replay import PAGE_EVENTS, Replay
from gateway.server import Gateway
from gateway.stats import Stats
from gateway.subscription import Mode, Subscription
from journal.columns import Columns
from journal.filter import Filter, Filters
from journal.types import GAP, INSERT, Event
from tests.gateway.clients import client
from tests.gateway.conftest import MakeGateway
from tests.gateway.memory import MemoryJournal
from tests.gateway.recorder import Recorder, soon
from tests.gateway.stored import StoredJournal
from tests.journal.selecting import Row, Where, concerned, event, message, passes, rows, wheres
from tests.waiting import until

CHANNEL = "cctv_updates"


def row(cctv_id: int, **more: Any) -> bytes:
    return message({"cctv_id": cctv_id, **more})


# Who gets what


def matched(
    index: FilterIndex, batch: Sequence[Event], groups: Mapping[Filter, Sequence[Group]]
) -> dict[Filter, list[int]]:
    """What each filter's groups get, which must be the same for all of them."""
    hits = [(each, list(places)) for found, places in index.match(Columns(batch)) for each in found]
    assert len(hits) == len({each for each, _ in hits}), "a group is found twice"
    known = {where: [places for each, places in hits if each in those] for where, those in groups.items()}
    assert all(places == [places[0]] * len(groups[where]) for where, places in known.items() if places)
    assert sum(map(len, known.values())) == len(hits), "a group that was not added"
    return {where: places[0] for where, places in known.items() if places}


@given(st.lists(rows, min_size=1, max_size=8), st.lists(wheres, max_size=8), st.data())
def test_the_index_finds_what_each_filter_finds(rows: list[Row], wheres: list[Where], data: st.DataObject) -> None:
    """Whatever filters came and went, those that are left get exactly the events that pass them."""
    filters, index = Filters(), FilterIndex()
    added = {found: where for where in wheres if (found := filters.get("c", where)) is not None}
    groups: dict[Filter, list[Group]] = {each: [] for each in added}
    for each in [*added, *(data.draw(st.lists(st.sampled_from(list(added)), unique=True)) if added else [])]:
        groups[each].append(Group(deflate=bool(groups[each])))
        index.add(each, groups[each][-1])
    for each in data.draw(st.lists(st.sampled_from([*added, *added]))) if added else []:
        if each in added:
            index.remove(each, groups[each].pop(0))
            if not groups[each]:
                del added[each], groups[each]
    batch = [event(n, row) for n, row in enumerate(rows, 1)]
    expected = {each: [n for n, row in enumerate(rows) if concerned(row, where)] for each, where in added.items()}
    assert matched(index, batch, groups) == {each: places for each, places in expected.items() if places}
    assert bool(index) is bool(added)


def test_a_gap_passes_every_filter() -> None:
    """A gap among the events reaches everybody, with the rows before and after it that pass."""
    index, filters = FilterIndex(), Filters()
    wanted = [filters.get("c", where) for where in ({"cctv_id": 3}, {"cctv_id": [4, 5]}, {"cctv_id": {"gt": 4}})]
    groups = {each: [Group()] for each in wanted if each is not None}
    for each, (group,) in groups.items():
        index.add(each, group)
    batch = [Event("c", n, INSERT, row(n), 0.0) for n in range(6)]
    batch[1] = Event("c", 1, GAP, b'{"reason":"reset"}', 0.0)
    found = matched(index, batch, groups)
    assert [found[each] for each in wanted if each] == [[1, 3], [1, 4, 5], [1, 5]]


# Delivery: a client that reconnects at random, live, replaying and in between


class FilteredClient:
    """Remembers what its subscriptions were sent, and the last offset that it knows of."""

    def __init__(self, where: Where) -> None:
        self.where = where
        self.seen: list[int] = []
        self.gaps: list[int] = []
        self.cursor = 0
        self.subscription: Subscription | None = None
        self.sink = Recorder()

    def take(self) -> None:
        """Read what has come, as far as there is anything."""
        for frame in self.sink.frames:
            self.cursor = frame["before"] - 1 if "before" in frame else frame["offset"]
            if "channel" in frame:
                self.seen.append(self.cursor)
            elif frame["type"] == "gap":
                self.gaps.append(self.cursor)
        self.sink.frames.clear()


class Bench:
    """A journal, hub and replay, and clients with filters."""

    def __init__(self, clients: list[FilteredClient]) -> None:
        self.journal = MemoryJournal([CHANNEL])
        self.journal.delay = lambda: asyncio.sleep(0)
        self.stats = Stats()
        self.hub = Hub({CHANNEL: 0}, self.stats, soon)
        self.replay = Replay(self.journal, self.hub, self.stats)
        self.hub.demoted = self.replay.enqueue
        self.filters = Filters()
        self.clients = clients

    def connect(self, client: FilteredClient, room: int | None) -> None:
        """Come back after the last offset seen, with as much room in the buffer."""
        if client.subscription is not None:
            client.take()
            self.hub.leave(client.subscription)
        client.sink = Recorder(room)
        where = self.filters.get(CHANNEL, client.where)
        client.subscription = Subscription(CHANNEL, client.sink, client.cursor, where)
        client.sink.send(self.replay.begin(client.subscription))

    def publish(self, rows: list[Row]) -> None:
        """Append and hand out; a row that says so is a gap."""
        for row in rows:
            self.hub.publish(self.journal.append(CHANNEL, [message(row)], GAP if row == GAP_ROW else INSERT))

    def read(self, client: FilteredClient) -> None:
        """Take what waits, and go on."""
        if client.sink.drain() and client.subscription is not None:
            self.replay.enqueue(client.subscription)

    def tell(self, client: FilteredClient) -> None:
        """Let it know its progress."""
        if client.subscription is not None:
            client.take()
            client.cursor = self.hub.reached(client.subscription)

    async def settle(self) -> None:
        """Everybody reads until they are live."""
        for each in self.clients:
            if each.subscription is None:
                self.connect(each, None)
            subscription = each.subscription
            assert subscription is not None
            while subscription.mode is not Mode.LIVE or each.sink.paused:
                self.read(each)
                await until(lambda: not subscription.queued)  # noqa: B023 - awaited before the next turn
                assert each.sink.closed is None
            each.take()
            assert self.hub.reached(subscription) == self.journal.head(CHANNEL)


GAP_ROW = {"reason": "reset"}
turns = st.one_of(
    st.tuples(st.just("publish"), st.lists(st.one_of(rows, rows, st.just(GAP_ROW)), min_size=1, max_size=6)),
    st.tuples(st.just("connect"), st.integers(0, 2), st.sampled_from([None, 1, 150])),
    st.tuples(st.sampled_from(["read", "tell"]), st.integers(0, 2)),
    st.tuples(st.just("wait"), st.integers(1, 4)),
)


async def _run(wheres: list[Where], plan: list[Any]) -> tuple[Bench, list[Row]]:
    clients = [FilteredClient(where) for where in wheres]
    bench, published = Bench(clients), []
    for name, *values in plan:
        if name == "publish":
            published += values[0]
            bench.publish(values[0])
        elif name == "wait":
            for _ in range(values[0]):
                await asyncio.sleep(0)
        elif name == "connect":
            bench.connect(clients[values[0]], values[1])
        elif name == "tell":
            bench.tell(clients[values[0]])
        else:
            bench.read(clients[values[0]])
    await bench.settle()
    return bench, published


@settings(deadline=None, max_examples=60)
@given(st.lists(wheres, min_size=3, max_size=3), st.lists(turns, max_size=25))
def test_filtered_delivery_is_the_plain_predicate(wheres: list[Where], plan: list[Any]) -> None:
    """Live, replayed, demoted and reconnected at random: each sees the rows that pass its filter, once, in order."""
    bench, published = asyncio.run(_run(wheres, plan))
    gaps = [offset for offset, row in enumerate(published, 1) if row == GAP_ROW]
    for each in bench.clients:
        passing = [offset for offset, row in enumerate(published, 1) if row != GAP_ROW and passes(row, each.where)]
        assert (each.seen, each.gaps) == (passing, gaps)


# Over sockets


async def test_live_and_replayed_rows_are_filtered(gateway: Gateway, journal: StoredJournal) -> None:
    """A filter holds for what is kept and for what comes; `live` says how far everything was looked at."""
    gateway.publish(await journal.append(CHANNEL, [row(n % 10, data={"label": "car"}) for n in range(1, 3001)]))
    async with client(gateway) as web:
        where = {"cctv_id": [3, 7], "data.label": {"like": "c%"}}
        answer = await web.ask(type="subscribe", channel=CHANNEL, where=where, offset=0)
        assert answer["type"] == "subscribed"
        assert await web.take_events(600) == [n for n in range(1, 3001) if n % 10 in {3, 7}]
        assert await web.take() == {"type": "live", "subscription": CHANNEL, "offset": 3000}
        for n in (1, 3):
            gateway.publish(await journal.append(CHANNEL, [row(n, data={"label": label}) for label in ("dog", "cat")]))
        assert await web.take_events(1) == [3004]
    assert gateway.stats.deliveries == 601


async def test_a_gap_reaches_filtered_clients(gateway: Gateway, journal: StoredJournal) -> None:
    """Live or replaying, a gap of the source passes every filter."""
    gateway.publish(await journal.append(CHANNEL, [row(1)] * 3))
    gateway.publish(await journal.append(CHANNEL, [b'{"reason":"purged"}'], op=GAP))
    gap = {"type": "gap", "subscription": CHANNEL, "after": 3, "before": 5, "reason": "purged"}
    async with client(gateway) as web:
        await web.ask(type="subscribe", channel=CHANNEL, where={"cctv_id": 9}, offset=0)
        assert [await web.take(), (await web.take())["type"]] == [gap, "live"]
        gateway.publish(await journal.append(CHANNEL, [b'{"reason":"purged"}'], op=GAP))
        assert await web.take() == {**gap, "after": 4, "before": 6}


async def test_a_filter_that_rarely_matches_is_told_its_progress(
    make_gateway: MakeGateway, journal: StoredJournal
) -> None:
    """With the heartbeat it is told up to where nothing was for it, once; who has no filter is not."""
    gateway = await make_gateway()
    async with client(gateway) as web, client(gateway) as plain:
        await web.ask(type="subscribe", channel=CHANNEL, where={"cctv_id": 3})
        await plain.ask(type="subscribe", channel=CHANNEL)
        assert [(await each.take())["type"] for each in (web, plain)] == ["live", "live"]
        gateway.publish(await journal.append(CHANNEL, [row(5)] * 4))
        for _ in range(2):
            gateway._heartbeat()
        beat = {"type": "heartbeat", "source": "live", "lag_ms": 12}
        assert await web.take() == beat
        assert await web.take() == {"type": "progress", "subscription": CHANNEL, "offset": 4}
        assert await web.take() == beat
        assert await web.ask(type="ping") == {"type": "pong"}
        assert await plain.take_events(4) == [1, 2, 3, 4]
        assert [await plain.take(), await plain.take(), await plain.ask(type="ping")] == [beat, beat, {"type": "pong"}]


async def test_progress_is_told_while_replaying(make_gateway: MakeGateway, journal: StoredJournal) -> None:
    """A long look through the journal that finds nothing shows where it is: a lost connection does not lose that."""
    gateway = await make_gateway(timing=Timing(heartbeat=0.01, ping=3600.0, silence=7200.0))
    gateway.publish(await journal.append(CHANNEL, [row(5)] * 3 * PAGE_EVENTS))
    async with client(gateway) as web:
        journal.closes_after = journal.reads + 2
        await web.say(type="subscribe", channel=CHANNEL, where={"cctv_id": 3}, offset=0)
        progress = (await web.take_until("progress"))[-1]
        journal.closes_after = None
        journal.open_gate.set()
        assert progress["offset"] in (PAGE_EVENTS, 2 * PAGE_EVENTS)
        frames = await web.take_until("live")
    assert frames[-1]["offset"] == 3 * PAGE_EVENTS


async def test_columns_that_are_known_are_held_against_the_filter(make_gateway: MakeGateway) -> None:
    """Where the settings name a channel's columns, a filter on another is refused."""
    gateway = await make_gateway(columns={CHANNEL: ("id", "data")}.get)
    async with client(gateway) as web:
        answer = await web.ask(type="subscribe", channel=CHANNEL, where={"cctv_id": 3})
        assert (answer["code"], answer["reason"]) == ("bad_filter", "where.cctv_id: no column cctv_id")
        for channel, where in ((CHANNEL, {"data.cctv_id": 3}), ("scraped_updates", {"cctv_id": 3})):
            answer = await web.ask(type="subscribe", channel=channel, where=where)
            assert (answer["type"], (await web.take())["type"]) == ("subscribed", "live")


# Costs


@pytest.fixture
def bench() -> Bench:
    return Bench([])


def subscribed(bench: Bench, where: Where, offset: int) -> tuple[Subscription, Recorder]:
    sink = Recorder()
    subscription = Subscription(CHANNEL, sink, offset, bench.filters.get(CHANNEL, where))
    sink.send(bench.replay.begin(subscription))
    return subscription, sink


async def test_nobody_waits_for_a_filter_that_finds_nothing(bench: Bench) -> None:
    """A look through many pages without a match gives way after each: a short catch-up ends before it."""
    bench.publish([])
    bench.hub.publish(bench.journal.append(CHANNEL, [row(1)] * 200 * PAGE_EVENTS))
    bench.replay._most_workers = 1
    long, nothing = subscribed(bench, {"cctv_id": 3}, 0)
    short, _ = subscribed(bench, {"cctv_id": 4}, 200 * PAGE_EVENTS - 10)
    await until(lambda: short.mode is Mode.LIVE)
    assert long.mode is Mode.REPLAYING
    assert long.offset <= 3 * PAGE_EVENTS
    assert nothing.frames == []
    await bench.replay.stop()


async def test_a_crowd_with_different_filters_shares_its_pages(bench: Bench) -> None:
    """Many come back with a filter each: every page is read about once, not once for each of them."""
    bench.hub.publish(bench.journal.append(CHANNEL, [row(n % 100) for n in range(4 * PAGE_EVENTS)]))
    crowd = [subscribed(bench, {"cctv_id": n}, 0) for n in range(100)]
    await until(lambda: all(subscription.mode is Mode.LIVE for subscription, _ in crowd))
    for n, (_, sink) in enumerate(crowd):
        assert sink.offsets == [offset for offset in range(1, 4 * PAGE_EVENTS + 1) if (offset - 1) % 100 == n]
    assert bench.journal.reads < 20


def test_equality_is_looked_up(bench: Bench) -> None:
    """Ten thousand filters on one column are not gone through: only those whose value is there are touched."""
    index, filters = FilterIndex(), Filters()
    kept = [filters.get("c", {"cctv_id": n}) for n in range(10_000)]
    groups = {each: [Group()] for each in kept if each is not None}
    for each, (group,) in groups.items():
        index.add(each, group)
    batch = [Event("c", n, INSERT, row(n % 3), 0.0) for n in range(10)]
    assert matched(index, batch, groups) == {kept[n]: list(range(n, 10, 3)) for n in range(3)}
    assert not index._groups
    assert len(index._exact[("cctv_id",)]) == 10_000
