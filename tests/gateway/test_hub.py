from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.frames import LIVE_SLICE
from gateway.group import SLICE
from gateway.hub import Hub
from gateway.stats import Stats
from gateway.subscription import Mode, Subscription
from journal.filter import Filters
from journal.types import INSERT, Event
from tests.gateway.recorder import Recorder


@pytest.fixture
def demoted() -> list[Subscription]:
    return []


@pytest.fixture
def turns() -> list[Callable[[], None]]:
    """What the hub has asked the loop for."""
    return []


@pytest.fixture
def hub(demoted: list[Subscription], turns: list[Callable[[], None]]) -> Hub:
    return Hub({"a": 0, "b": 7}, Stats(), turns.append, demoted.append)


def events(channel: str, first: int, last: int, size: int = 0) -> list[Event]:
    message = b'{"x":"%b"}' % (b"x" * size)
    return [Event(channel, offset, INSERT, message, 0.0) for offset in range(first, last + 1)]


def live(hub: Hub, channel: str = "a") -> tuple[Subscription, Recorder]:
    sink = Recorder()
    subscription = Subscription(channel, sink, hub.published(channel))
    assert hub.settle(subscription)
    return subscription, sink


def test_live_subscriptions_get_every_event(hub: Hub) -> None:
    """A batch reaches everybody live on its channels, and nobody else."""
    (_, first), (_, second), (_, other) = live(hub), live(hub), live(hub, "b")
    hub.publish([*events("a", 1, 3), *events("b", 8, 8), *events("a", 4, 4), *events("unknown", 1, 1)])
    assert first.offsets == second.offsets == [1, 2, 3, 4]
    assert other.offsets == [8]
    assert (hub.published("a"), hub.published("b")) == (4, 8)


def test_only_who_has_everything_may_join(hub: Hub) -> None:
    """A subscription whose offset is not the published one is not made live."""
    hub.publish(events("a", 1, 3))
    sink = Recorder()
    behind = Subscription("a", sink, 2)
    assert not hub.settle(behind)
    assert behind.mode is Mode.REPLAYING
    hub.publish(events("a", 4, 4))
    assert sink.frames == []


def test_a_full_buffer_demotes_in_the_middle_of_a_batch(hub: Hub, demoted: list[Subscription]) -> None:
    """A connection that fills up gets no more of a huge batch; its cursor stands where its data ended."""
    (slow, sink), (_, quick) = live(hub), live(hub)
    sink._room = LIVE_SLICE + 1
    hub.publish(events("a", 1, 100, size=LIVE_SLICE // 10))
    assert demoted == [slow]
    assert slow.mode is Mode.REPLAYING
    assert sink.offsets == list(range(1, slow.offset + 1))
    assert 0 < slow.offset < 100
    assert quick.offsets == list(range(1, 101))


def test_leaving_is_for_good(hub: Hub) -> None:
    """After leave, in whatever mode and however often, nothing comes."""
    subscription, sink = live(hub)
    hub.leave(subscription)
    hub.leave(subscription)
    hub.publish(events("a", 1, 2))
    assert sink.frames == []
    assert subscription.mode is Mode.CLOSED
    assert hub._topics["a"].groups == {}


def test_one_filter_serves_clients_with_and_without_compression(hub: Hub) -> None:
    """When the last of one kind leaves, the filter stays for the other, and goes with the last of all."""
    where = Filters().get("a", {"x": ""})
    both = []
    for deflate in (False, True):
        sink = Recorder()
        sink.deflate = deflate
        both.append((Subscription("a", sink, 0, where), sink))
        assert hub.settle(both[-1][0])
    (first, before), (second, after) = both
    hub.publish(events("a", 1, 1))
    hub.leave(first)
    hub.publish(events("a", 2, 2))
    assert (before.offsets, after.offsets) == ([1], [1, 2])
    hub.leave(second)
    assert not hub._topics["a"].filters


def test_events_published_before_are_dropped(hub: Hub) -> None:
    """Publishing the same events twice delivers them once."""
    _, sink = live(hub)
    hub.publish(events("a", 1, 3))
    hub.publish(events("a", 2, 5))
    hub.publish(events("a", 1, 5))
    assert sink.offsets == [1, 2, 3, 4, 5]


def test_a_hole_sends_everybody_to_the_journal(hub: Hub, demoted: list[Subscription]) -> None:
    """When events were not handed over, nobody gets the later ones past them: all read the journal."""
    subscription, sink = live(hub)
    hub.publish(events("a", 3, 5))
    assert demoted == [subscription]
    assert (subscription.offset, sink.frames, hub.published("a")) == (0, [], 5)


@pytest.mark.parametrize("most", [{"most_writes": 6}, {"most_bytes": 6 * LIVE_SLICE}])
def test_a_huge_batch_is_left_to_the_journal(hub: Hub, demoted: list[Subscription], most: dict[str, int]) -> None:
    """After so many writes or bytes in one publish, everybody live reads on in pages, from where their data ended."""
    for name, value in most.items():
        setattr(hub, name, value)
    clients = [live(hub) for _ in range(3)]
    hub.publish(events("a", 1, 100, size=LIVE_SLICE // 2))
    assert sorted(map(id, demoted)) == sorted(id(subscription) for subscription, _ in clients)
    reached = clients[0][0].offset
    assert 1 < reached < 10
    for subscription, sink in clients:
        assert (subscription.mode, subscription.offset) == (Mode.REPLAYING, reached)
        assert sink.offsets == list(range(1, reached + 1))
    assert hub.published("a") == 100


def test_counting(hub: Hub) -> None:
    """Deliveries count one event for one connection."""
    live(hub)
    live(hub)
    hub.publish(events("a", 1, 3))
    assert hub._stats.deliveries == 6
    assert hub._stats.demotions == 0


def test_a_large_group_is_dealt_out_in_slices(hub: Hub, turns: list[Callable[[], None]]) -> None:
    """One slice is written to at once, the others in the next turns; newer rows go out with those they wait for."""
    sinks = [live(hub)[1] for _ in range(2 * SLICE + 1)]
    hub.publish(events("a", 1, 1))
    assert sorted(len(sink.frames) for sink in sinks) == [0] * (SLICE + 1) + [1] * SLICE
    hub.publish(events("a", 2, 2))
    while turns:
        writes = hub._stats.writes
        assert len(turns) == 1
        turns.pop()()
        assert hub._stats.writes - writes < 2 * SLICE
    assert all(sink.offsets == [1, 2] for sink in sinks)
    assert hub._stats.writes == 3 * SLICE + 1


def test_a_small_group_does_not_wait_for_a_large_one(hub: Hub) -> None:
    """Who shares its rows with few gets them at once, whatever else is being dealt out."""
    for _ in range(2 * SLICE):
        live(hub)
    hub.publish(events("a", 1, 1))
    _, other = live(hub, "b")
    hub.publish(events("b", 8, 8))
    assert other.offsets == [8]


def test_too_much_to_wait_for_is_left_to_the_journal(
    hub: Hub, turns: list[Callable[[], None]], demoted: list[Subscription]
) -> None:
    """Slices that wait for more than the bound read it in pages, each from where it was."""
    clients = [live(hub) for _ in range(2 * SLICE)]
    hub.publish(events("a", 1, 1))
    hub.most_waiting = 4 * LIVE_SLICE
    hub.publish(events("a", 2, 100, size=LIVE_SLICE // 2))
    assert len(demoted) == 2 * SLICE
    assert sorted(subscription.offset for subscription, _ in clients) == [0] * SLICE + [1] * SLICE
    assert all(sink.offsets == list(range(1, subscription.offset + 1)) for subscription, sink in clients)
    while turns:
        turns.pop()()


def test_who_cannot_be_written_to_is_cut_off(hub: Hub, turns: list[Callable[[], None]]) -> None:
    """When writing to a slice fails for a reason nobody thought of, its connections end, and the others get theirs."""
    clients = [live(hub)[1] for _ in range(2 * SLICE)]
    hub.publish(events("a", 1, 1))
    waiting = [sink for sink in clients if not sink.frames]
    del waiting[0].frames
    hub.publish(events("a", 2, 2))
    with pytest.raises(AttributeError):
        turns.pop()()
    while turns:
        turns.pop()()
    assert all(sink.aborted for sink in waiting)
    assert all(sink.offsets == [1, 2] for sink in clients if sink not in waiting)


@pytest.mark.parametrize("crowded", [True, False])
def test_in_a_crowd_who_was_live_before_goes_first(hub: Hub, turns: list[Callable[[], None]], *, crowded: bool) -> None:
    """Then each row reaches the oldest slice within two; nobody ever waits for more than twice as many as there are."""
    sinks = [live(hub)[1] for _ in range(10 * SLICE)]
    hub.crowded = lambda: crowded
    late = 0
    for offset in range(1, 50):
        hub.publish(events("a", offset, offset))
        turns.pop()()
        turns.pop()()
        reached = [sink.offsets[-1] if sink.offsets else 0 for sink in sinks[::SLICE]]
        late = max(late, offset - reached[0])
        assert min(reached) >= offset - 10
    assert late == 0 if crowded else late > 1


def test_a_slice_that_is_left_alone_gets_what_it_waits_for_first(hub: Hub, turns: list[Callable[[], None]]) -> None:
    """When the others of its group leave meanwhile, what is newer does not go past what it has yet to get."""
    *others, (_, sink) = [live(hub) for _ in range(SLICE + 1)]
    hub.publish(events("a", 1, 1))
    for subscription, _ in others:
        hub.leave(subscription)
    hub.publish(events("a", 2, 2))
    turns.pop()()
    assert sink.offsets == [1, 2]
    hub.publish(events("a", 3, 3))
    assert sink.offsets == [1, 2, 3]
