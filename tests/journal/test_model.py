"""The journal beside the simplest thing that does the same: a list."""

from __future__ import annotations

import asyncio
import tempfile
from itertools import chain
from pathlib import Path
from typing import Literal, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from journal.schema import ROW_OVERHEAD
from journal.sqlite import SqliteJournal
from journal.types import FIRST, LAST, NEXT, WHOLE, Change, ChannelState, Event, Transaction
from tests.journal.rows import A, B


class Append(NamedTuple):
    """Append transactions of changes: (channel, size) each."""

    batch: list[list[tuple[str, int]]]


class Large(NamedTuple):
    """Append a transaction in pieces, or begin to."""

    pieces: list[list[tuple[str, int]]]
    end: Literal["last", "withdrawn", "closed", "forgotten"]


class Read(NamedTuple):
    """Read a page."""

    channel: str
    after: int
    limit: int
    max_bytes: int


class Trim(NamedTuple):
    """Trim to a size."""

    keep_bytes: int


class Reopen(NamedTuple):
    """Close and open again."""

    how: Literal["closed"]


channels = st.sampled_from([A, B])
sizes = st.one_of(st.integers(0, 60), st.integers(0, 6000))
steps = st.one_of(
    st.builds(Append, st.lists(st.lists(st.tuples(channels, sizes), max_size=12), max_size=4)),
    st.builds(Append, st.lists(st.lists(st.tuples(channels, sizes), max_size=12), max_size=4)),
    st.builds(
        Large,
        st.lists(st.lists(st.tuples(channels, sizes), max_size=12), max_size=4),
        st.sampled_from(["last", "last", "withdrawn", "closed", "forgotten"]),
    ),
    st.builds(Read, channels, st.integers(-2, 120), st.integers(1, 20), st.integers(0, 8000)),
    st.builds(Read, channels, st.integers(-2, 120), st.integers(1, 20), st.integers(0, 8000)),
    st.builds(Trim, st.integers(0, 40_000)),
    st.builds(Reopen, st.just("closed")),
)


def change(channel: str, size: int) -> Change:
    """A change of ``size`` bytes; some of them are of what an update changed."""
    return Change(channel, "update", b"x" * (size - size // 3), b"y" * (size // 3))


class Model:
    """What a journal is: a list of events a channel, of which the oldest may be gone."""

    def __init__(self) -> None:
        self.events: dict[str, list[Event]] = {A: [], B: []}
        self.floors = {A: 1, B: 1}
        self.checkpoint: str | None = None

    def append(self, batch: list[Transaction]) -> list[Event]:
        """Append a batch."""
        appended = []
        for transaction in batch:
            for channel, op, message, old, _ in transaction.changes:
                event = Event(channel, len(self.events[channel]) + 1, op, message, transaction.committed, old)
                self.events[channel].append(event)
                appended.append(event)
            self.checkpoint = transaction.checkpoint
        return appended

    def kept(self, channel: str) -> list[Event]:
        """The events not trimmed."""
        return self.events[channel][self.floors[channel] - 1 :]

    def read(self, step: Read) -> list[Event]:
        """A page."""
        page: list[Event] = []
        for event in self.kept(step.channel):
            if event.offset > step.after:
                size = sum(earlier.size for earlier in page) + event.size
                if len(page) == step.limit or (page and size > step.max_bytes):
                    break
                page.append(event)
        return page

    def state(self, channel: str) -> ChannelState:
        """The channel's bounds."""
        size = sum(event.size for event in self.kept(channel))
        return ChannelState(self.floors[channel], len(self.events[channel]), size, 0.0)

    def stored(self) -> int:
        """What retention by size counts."""
        return sum(event.size + ROW_OVERHEAD for channel in (A, B) for event in self.kept(channel))


def large(changes: list[tuple[str, int]], number: int, part: str) -> Transaction:
    """A part of a large transaction, or all of it."""
    return Transaction([Change(name, "insert", b"x" * size) for name, size in changes], f"{number}", 1.5, part)


def heads(journal: SqliteJournal) -> list[int]:
    """How far readers see."""
    return [journal.head(name) for name in (A, B)]


async def append_large(journal: SqliteJournal, model: Model, step: Large, number: int) -> None:
    """Append the pieces one by one; nothing is visible before the last of them."""
    for place, changes in enumerate([[], *step.pieces]):
        assert await journal.append([large(changes, number, NEXT if place else FIRST)]) == []
        assert heads(journal) == [len(model.events[name]) for name in (A, B)]
    if step.end == "last":
        await journal.append([large([(A, 1)], number, LAST)])
        model.append([large([*chain(*step.pieces), (A, 1)], number, WHOLE)])
    elif step.end == "withdrawn":
        await journal.withdraw()


async def compare(folder: Path, tail_bytes: int, script: list[object]) -> None:
    """Do every step to both, and find them alike after each."""
    model = Model()
    journal = await SqliteJournal.open(folder / "journal.db", [A, B], tail_bytes=tail_bytes)
    for number, step in enumerate(script):
        match step:
            case Append(batch):
                transactions = [
                    Transaction([change(name, size) for name, size in changes], f"{number}", 1.5) for changes in batch
                ]
                assert await journal.append(transactions) == model.append(transactions)
            case Large(_, end):
                await append_large(journal, model, step, number)
                if end == "closed":
                    await journal.close()
                    journal = await SqliteJournal.open(folder / "journal.db", [A, B], tail_bytes=tail_bytes)
            case Read(channel, after, limit, max_bytes):
                page = await journal.read(channel, after, limit, max_bytes)
                assert page == model.read(step)[: len(page)]  # on disk a page may end early, but not be empty
                assert bool(page) == bool(model.read(step))
            case Trim(keep_bytes):
                before = model.stored()
                trimmed = await journal.trim(1e9, keep_bytes)
                model.floors = {name: state.floor for name, state in journal.channels().items()}
                assert model.stored() <= keep_bytes or not any(model.kept(name) for name in (A, B))
                assert (trimmed == 0) == (before <= keep_bytes or before == 0)
            case Reopen():
                await journal.close()
                journal = await SqliteJournal.open(folder / "journal.db", [A, B], tail_bytes=tail_bytes)
        assert journal.checkpoint == model.checkpoint
        assert {name: state._replace(rate=0.0) for name, state in journal.channels().items()} == {
            name: model.state(name) for name in (A, B)
        }
    await journal.close()


@settings(max_examples=60, deadline=None)
@given(tail_bytes=st.sampled_from([0, 2_000, 20_000, 1 << 20]), script=st.lists(steps, max_size=25))
def test_it_does_what_a_list_does(tail_bytes: int, script: list[object]) -> None:
    """Random appends, trims, restarts and reads give what a plain list gives, from memory and from disk alike."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(compare(Path(folder), tail_bytes, script))
