"""The model of the hand-over: every client sees contiguous offsets from where it asked, each once, whatever happens.

Journal, capture loop and gateway are the real ones (``world.py``); what happens to them, and in which order their steps
run, hypothesis chooses. Each client judges what it is sent (``client.py``).
"""

from __future__ import annotations

import logging
import sys
import tempfile
from functools import partial
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import gateway.batch_write
import gateway.group
import gateway.hub
import gateway.replay
import journal.shared
from gateway.frames import runs
from tests.models.client import Client
from tests.models.world import CHANNELS, World

PAGE_EVENTS, SLICE = 4, 300  # small, so that a few rows make several pages and slices
CLIENTS = 3
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # no disk is waited for where there is one in memory
KILLS_APART = 10  # steps; a process that is always being killed does little else

channels = st.sampled_from(CHANNELS)
who = st.integers(0, CLIENTS - 1)
GAP = -1
# Runs of rows: channel, how many, the size of each. A gap is one event, whatever the number says.
runs_of_rows = st.tuples(channels, st.integers(1, 9), st.sampled_from([0, 0, 20, 150, 700, GAP]))
transactions = st.lists(runs_of_rows, max_size=3)
# What runs next: so many handles of the event loop, or (below 0) the work of one of the threads.
schedules = st.lists(st.sampled_from([1, 1, 2, 5, -1, -1, -2]), max_size=8)
starts = st.one_of(
    st.just("resume"),
    st.just("live"),
    st.builds("last {}".format, st.integers(0, 20)),
    st.builds("ours {}".format, st.integers(0, 40)),
    st.builds("another {}".format, st.integers(0, 40)),
    st.just("beginning"),
)


class Handover(RuleBasedStateMachine):
    """Hypothesis chooses what happens next, down to the single steps of the event loop and of the threads."""

    def __init__(self) -> None:
        super().__init__()
        self._patch = pytest.MonkeyPatch()
        for module in (gateway.replay, journal.shared):
            self._patch.setattr(module, "PAGE_EVENTS", PAGE_EVENTS)
        for name in ("cdc.capture", "gateway.replay"):
            self._patch.setattr(logging.getLogger(name), "disabled", True)
        self._patch.setattr(gateway.replay, "SLICE", SLICE)
        self._patch.setattr(gateway.hub, "runs", partial(runs, size=SLICE))
        self._folder = tempfile.TemporaryDirectory(prefix="rowcast-model-", dir=MEMORY)
        self._since_kill = 0

    @initialize(
        room=st.sampled_from([100, 1_000, 100_000]),
        tail=st.sampled_from([0, 3_000, 1 << 20]),
        kept=st.sampled_from([0, 10, 30]),
        size=st.integers(1, CLIENTS),
        batch=st.booleans(),
        few=st.sampled_from([1, 16]),
    )
    def begin(self, *, room: int, tail: int, kept: int, size: int, batch: bool, few: int) -> None:
        """A journal that holds a few rows, and everybody there; so many make a slice of a group."""
        for module in (gateway.group, gateway.hub, gateway.batch_write):
            self._patch.setattr(module, "SLICE", size)
        self._patch.setattr(gateway.batch_write, "LEAST", 1)
        self._patch.setattr(gateway.hub, "LEAST", few)  # whether small groups wait for the end of a run
        folder = Path(self._folder.name)
        self.world = World(folder, clients=CLIENTS, room=room, tail=tail, page=PAGE_EVENTS, batch=batch)
        self.world.commit([("a", 10)] * kept)
        self.world.settle()
        for client in self.world.clients:
            self._open(client)

    def _open(self, client: Client) -> None:
        if client.link is None:
            client.connect()
            while client.link is not None and not client.open:
                self.world.loop.step()

    def _run(self, schedule: list[int]) -> None:
        self._since_kill += 1
        for what in schedule:
            if what < 0:
                self.world.threads(-what - 1)
            for _ in range(what):
                self.world.loop.step()

    # The source and the process

    @rule(batch=st.lists(transactions, min_size=1, max_size=3), then=schedules)
    def commit(self, batch: list[list[tuple[str, int, int]]], then: list[int]) -> None:
        """Transactions are read from the log."""
        for rows in batch:
            self.world.commit([(name, size) for name, count, size in rows for _ in range(1 if size < 0 else count)])
        self._run(then)

    @rule(then=schedules)
    def go_on(self, then: list[int]) -> None:
        """Nothing new, only time to run."""
        self._run(then)

    @rule()
    def idle(self) -> None:
        """Everything runs until nothing is ready; clients that stalled go on not reading."""
        self.world.loop.idle()

    @rule(who=who, count=st.integers(1, 8), then=schedules)
    def trim(self, who: int, count: int, then: list[int]) -> None:
        """Retention comes by, perhaps under somebody's hands."""
        self.world.trim(count, self.world.clients[who])
        self._run(then)

    @rule(full=st.booleans(), seconds=st.sampled_from([0.3, 1.0, 16.0]))
    def wait(self, full: bool, seconds: float) -> None:
        """Time passes; the journal's disk is full, or has room."""
        self.world.full = full
        self.world.loop.advance(seconds)

    @rule()
    def copy(self) -> None:
        """Somebody makes a backup of the journal."""
        self.world.copy()

    @precondition(lambda self: self._since_kill > KILLS_APART)
    @rule(restore=st.one_of(st.none(), st.integers(0, 2)), witness=st.booleans(), then=schedules)
    def kill(self, restore: int | None, witness: bool, then: list[int]) -> None:
        """Rowcast is killed and started again, perhaps on an older copy of its journal; everybody comes back."""
        followed = [(client, channel) for client in self.world.clients for channel in client.following]
        self.world.kill()
        if restore is not None:
            self.world.restore(restore, witness=witness)
        self.world.start()
        self._since_kill = 0
        for client, channel in followed:
            self._open(client)
            if client.open:
                client.subscribe(channel, **self._where(client, channel, "resume"))
        self._run(then)

    # The clients

    @rule(who=who, channel=channels, start=starts, then=schedules)
    def subscribe(self, who: int, channel: str, start: str, then: list[int]) -> None:
        """Somebody asks for a channel, connecting first if need be."""
        client = self.world.clients[who]
        self._open(client)
        if client.open:
            client.subscribe(channel, **self._where(client, channel, start))
        self._run(then)

    def _where(self, client: Client, channel: str, start: str) -> dict[str, object]:
        kind, _, number = start.partition(" ")
        if kind == "resume" and (cursor := client.cursors.get(channel)):
            return {"epoch": cursor[0], "offset": cursor[1]}
        if kind == "last":
            return {"last": int(number)}
        if kind in ("ours", "another"):
            return {"epoch": self.world.journal.epoch if kind == "ours" else "another", "offset": int(number)}
        return {"offset": 0} if kind == "beginning" else {}

    @rule(who=who, start=starts, count=st.integers(1, 3), then=schedules)
    def overtaken(self, who: int, start: str, count: int, then: list[int]) -> None:
        """Somebody asks while retention has let go of a few events and nobody knows of it yet."""
        client = self.world.clients[who]
        self._open(client)
        channel = self.world.trim(count)
        self._run([2, -1])
        if client.open:
            client.subscribe(channel, **self._where(client, channel, start))
        self._run(then)

    @rule(who=who, channel=channels, then=schedules)
    def unsubscribe(self, who: int, channel: str, then: list[int]) -> None:
        """Somebody has enough, of what it follows if it follows anything."""
        client = self.world.clients[who]
        if client.open:
            client.unsubscribe(channel if channel in client.following else next(iter(client.following), channel))
        self._run(then)

    @rule(who=who)
    def stall(self, who: int) -> None:
        """Somebody reads no more."""
        self.world.clients[who].reads = False

    @rule(who=who, count=st.one_of(st.integers(1, 400), st.just(1 << 20)), then=schedules)
    def read(self, who: int, count: int, then: list[int]) -> None:
        """Somebody reads so much."""
        if (link := self.world.clients[who].link) is not None:
            link.read(count)
        self._run(then)

    @rule(who=who)
    def cut(self, who: int) -> None:
        """A connection breaks, and its client comes back for what it followed."""
        client = self.world.clients[who]
        followed = list(client.following)
        client.cut()
        self._open(client)
        for channel in followed:
            if client.open:
                client.subscribe(channel, **self._where(client, channel, "resume"))

    # What must hold

    @rule()
    def settle(self) -> None:
        """Everybody reads, everything runs: nobody is without anything."""
        self.world.settle()

    @invariant()
    def unbroken(self) -> None:
        """Between any two steps."""
        if hasattr(self, "world"):
            self.world.check()

    def teardown(self) -> None:
        """At the end nobody is without anything either."""
        try:
            if hasattr(self, "world"):
                try:
                    if sys.exc_info()[0] is None:  # else it is broken already
                        self.world.settle()
                finally:
                    self.world.close()
        finally:
            self._patch.undo()
            self._folder.cleanup()
