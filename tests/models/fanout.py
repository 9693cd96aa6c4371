"""The model of dealing out: each live subscription gets what its filter lets pass, once and in order, slice by slice.

The hub alone, without a loop: hypothesis chooses when its turns come, and what happens between two of them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import gateway.group
import gateway.hub
from gateway.frames import runs
from gateway.hub import Hub
from gateway.stats import Stats
from gateway.subscription import Mode, Subscription
from journal.filter import Filters
from journal.types import INSERT, Event
from tests.gateway.recorder import Recorder

CHANNEL = "a"
PIECE = 150  # bytes: two or three events
MOST = 9  # subscriptions at a time

which = st.integers(0, MOST - 1)


class Member:
    """A subscription, what it was sent, and what it reads in pages."""

    def __init__(self, hub: Hub, where: int | None, *, deflate: bool) -> None:
        self.sink = Recorder()
        self.sink.deflate = deflate
        self.where = where
        self.start = hub.published(CHANNEL)
        chosen = None if where is None else Filters().get(CHANNEL, {"n": where})
        self.subscription = Subscription(CHANNEL, self.sink, self.start, chosen)
        self.seen: list[int] = []

    def take(self) -> None:
        """Look at what has come."""
        self.seen += self.sink.offsets
        self.sink.frames.clear()

    def due(self, first: int, last: int) -> list[int]:
        """The offsets that its filter lets pass, both ends included."""
        return [offset for offset in range(first, last + 1) if self.where in (None, offset % 2)]


class Fanout(RuleBasedStateMachine):
    """Rows are ``offset % 2``, and half of the subscriptions want one kind of them."""

    def __init__(self) -> None:
        super().__init__()
        self._patch = pytest.MonkeyPatch()
        self._patch.setattr(gateway.group, "LIVE_SLICE", PIECE)
        self._patch.setattr(gateway.hub, "runs", partial(runs, size=PIECE))
        self.members: list[Member] = []

    @initialize(size=st.integers(1, 4), waiting=st.sampled_from([2 * PIECE, 1 << 20]))
    def begin(self, size: int, waiting: int) -> None:
        """So many make a slice, and so much may wait."""
        for module in (gateway.group, gateway.hub):
            self._patch.setattr(module, "SLICE", size)
        self.size = size
        self.turns: list[Callable[[], None]] = []
        self.stats = Stats()
        self.hub = Hub({CHANNEL: 0}, self.stats, self.turns.append)
        self.hub.most_waiting = waiting
        self.hub.crowded = lambda: self.crowd
        self.crowd = False
        self.head = 0

    @rule(
        where=st.sampled_from([None, None, None, 0]),
        deflate=st.sampled_from([False, False, False, True]),
        count=st.integers(1, 4),
    )
    def join(self, where: int | None, deflate: bool, count: int) -> None:
        """Some come, and have everything."""
        for _ in range(min(count, MOST - len(self.members))):
            self.members.append(Member(self.hub, where, deflate=deflate))
            assert self.hub.settle(self.members[-1].subscription)

    @rule(which=which, count=st.integers(1, 4))
    def leave(self, which: int, count: int) -> None:
        """Some who came one after the other go; nothing comes after that."""
        for member in self.members[which : which + count]:
            self.members.remove(member)
            self.hub.leave(member.subscription)
            member.sink.closed = (1000, "")

    @rule(count=st.integers(1, 9), hole=st.sampled_from([0, 0, 0, 0, 2]))
    def publish(self, count: int, hole: int) -> None:
        """Rows come, once in a while with some missing before them."""
        first = self.head + 1 + hole
        self.head = first + count - 1
        rows = [Event(CHANNEL, n, INSERT, b'{"n":%d}' % (n % 2), 0.0) for n in range(first, self.head + 1)]
        self._sound(self.hub.publish, rows)

    @rule()
    def turn(self) -> None:
        """The loop comes round: few are written to."""
        if self.turns:
            before = self.stats.writes
            self._sound(self.turns.pop())
            assert self.stats.writes - before < 2 * self.size, "a turn wrote to more than two slices"

    def _sound(self, function: Callable[..., None], *args: object) -> None:
        try:
            function(*args)
        except Exception as error:
            raise AssertionError(f"the hub raised {error!r}") from error

    @rule(crowd=st.booleans())
    def crowd_in(self, crowd: bool) -> None:
        """Many are on their way back, or no more."""
        self.crowd = crowd

    @rule(which=which, paused=st.booleans())
    def pause(self, which: int, paused: bool) -> None:
        """Somebody's buffer is full, or has room."""
        if which < len(self.members):
            self.members[which].sink.paused = paused

    @rule(which=which, count=st.integers(1, 20))
    def read(self, which: int, count: int) -> None:
        """Somebody that is behind is sent a page, and joins when that was the last."""
        if which < len(self.members) and self.members[which].subscription.mode is Mode.REPLAYING:
            member, subscription = self.members[which], self.members[which].subscription
            end = min(subscription.offset + count, self.head)
            member.take()
            member.seen += member.due(subscription.offset + 1, end)
            subscription.offset = end
            assert self.hub.settle(subscription) is (end == self.head)

    @rule()
    def settle(self) -> None:
        """Everything is dealt out: who is live has everything, and nothing is kept."""
        while self.turns:
            self.turn()
        for member in self.members:
            if member.subscription.mode is Mode.LIVE:
                assert self.hub.reached(member.subscription) == self.head, "left behind"
        for group in self.hub._topics[CHANNEL].groups.values():
            assert group.size == 0, "bytes are kept that nobody waits for"

    @invariant()
    def exact(self) -> None:
        """Everybody was sent what it is said to have reached, no more and no less; who waits has a turn to come."""
        for member in self.members:
            member.take()
            reached = self.hub.reached(member.subscription)
            assert member.seen == member.due(member.start + 1, reached), f"sent {member.seen}, reached {reached}"
            if member.subscription.mode is Mode.LIVE:
                assert reached == self.head or len(self.turns) == 1, "it waits, and no turn is to come"

    def teardown(self) -> None:
        """At the end, everything is dealt out."""
        if hasattr(self, "hub"):
            self.settle()
        self._patch.undo()
