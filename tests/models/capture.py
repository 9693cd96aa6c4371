"""The model of the capture: whatever the log holds and wherever the stream breaks, each committed row arrives once.

Assembler, overlap, backfill and the capture loop's drain are the real ones; the server's log is forged, event by event,
and beside it stands what it means (``tests/cdc/forge.py``). The link is cut at any event, the process killed behind
any append, and the next connection begins at the checkpoint.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import accumulate
from typing import Any, Literal

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from cdc import events as ev
from cdc import pending
from cdc.backfill import Backfill, Bounds, TableRows
from cdc.capture import CaptureLoop
from cdc.committed import PIECE_BYTES, Committed, Piece
from cdc.errors import PositionLost, StreamLost
from cdc.fetch import TableChannel
from cdc.framing import Packets
from cdc.handoff import Handoff
from cdc.position import Checkpoint, GtidState, Position
from cdc.present import Present
from cdc.reader import Origin, Overlap, Reader
from journal.types import FIRST, GAP, LAST, NEXT, Change, Event, Transaction
from tests.cdc.forge import (
    ORDERS,
    PARTS,
    Log,
    assembler,
    deflated,
    finish,
    image,
    insert_events,
    payload,
    prepare,
    reads,
    rows,
)
from tests.models.loop import SteppedLoop

CHANNELS = ("orders", "parts")
_ORIGIN = Origin({}, [TableChannel(name, "shop", name) for name in CHANNELS], 1)
_TABLES = {channel.channel: channel.source for channel in _ORIGIN.channels}
_UNFED = {"parts": _TABLES["parts"]}

tables = st.sampled_from(["orders", "orders", "parts", "others"])
counts = st.integers(1, 3)
snapshots = st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))  # between what places, and where in truth
sizes = st.lists(st.integers(30, 3000) | st.just(1 << 20), min_size=1, max_size=3)  # of the reads, in bytes
Ending = Literal["xid", "COMMIT"]


class Journal:
    """What the capture loop appends to: a list."""

    def __init__(self) -> None:
        self.checkpoint: str | None = None
        self.transactions: list[Transaction] = []
        self._pieces: list[Change] = []

    async def append(self, batch: Sequence[Transaction]) -> list[Event]:
        """Keep a batch."""
        for transaction in batch:
            self._take(transaction)
        return []

    def _take(self, transaction: Transaction) -> None:
        if transaction.changes and transaction.part not in (NEXT, LAST):
            self._pieces = []
        if transaction.part in (FIRST, NEXT):
            self._pieces += transaction.changes
            return
        self.checkpoint = transaction.checkpoint
        pieces = self._pieces if transaction.part == LAST else []
        if pieces or transaction.changes:
            self.transactions.append(transaction._replace(changes=[*pieces, *transaction.changes]))
            self._pieces = []

    def forget_pieces(self) -> None:
        """As at the begin of every connection."""
        self._pieces = []

    def head(self, channel: str) -> int:
        """How much of a channel is visible."""
        return sum(change.channel == channel for done in self.transactions for change in done.changes)

    async def read(self, channel: str, after: int, limit: int = 1000) -> list[Event]:
        """Not asked for."""
        raise NotImplementedError


class Stream:
    """A connection to the forged log that breaks after some events; stands in for ``BinlogSource``.

    A read may hold some transactions or a part of one: the reader takes those by another way than these.
    """

    def __init__(self, events: Sequence[bytes], sizes: Sequence[int]) -> None:
        self._events = events
        self._sizes = sizes

    def reads(self) -> Iterator[Packets]:
        """The events in reads of these sizes, then the end."""
        yield from reads(self._events, *self._sizes)
        raise StreamLost("cut")


class Basket:
    """What the reader puts, to be handed on in pieces of the test's choice; stands in for the thread's ``Handoff``."""

    def __init__(self) -> None:
        self.put_here: list[Committed | Piece] = []

    def put(self, item: Committed | Piece) -> None:
        """Keep it."""
        self.put_here.append(item)

    def call(self, *_: object) -> None:
        """Nobody listens."""


class Capture(RuleBasedStateMachine):
    """Hypothesis writes the log and breaks the reading of it."""

    @initialize(
        server=st.sampled_from([("mariadb", True), ("mysql", True), ("mysql", False)]),
        seed=st.booleans(),
        in_pieces=st.booleans(),
    )
    def begin(self, server: tuple[Literal["mariadb", "mysql"], bool], seed: bool, in_pieces: bool) -> None:
        """An empty log, perhaps a table whose rows are to be fetched, perhaps each event too large to be held."""
        flavour, gtids = server
        self._patch = pytest.MonkeyPatch()
        self._patch.setattr(pending, "PIECE_BYTES", 1 if in_pieces else PIECE_BYTES)
        self.in_pieces = in_pieces
        self._patch.setattr(logging.getLogger("cdc.capture"), "disabled", True)
        self._patch.setattr("cdc.reader.look", lambda *_, **__: Present(self._end, dict.fromkeys(CHANNELS, b"[]")))
        self.log = Log(flavour, gtids=gtids)
        self.loop = SteppedLoop()
        self.journal = Journal()
        end = Position(self.log.file, self.log.offset, self.log.start.gtid)
        self.first = Checkpoint(flavour, "", end, end, tables=_UNFED if seed else _TABLES)
        self.committed: list[dict[str, list[int | None]]] = []  # by transaction and channel; None is a gap
        self.ends: list[int] = []  # where each ended
        self.prepared: dict[bytes, int] = {}
        self.number = 0
        self.seeding = seed
        self.seeded: int | None = None if seed else 0  # so many transactions were in the snapshot

    def _numbers(self, count: int) -> list[int]:
        self.number += count
        return list(range(self.number - count + 1, self.number + 1))

    def _means(self, **found: list[int | None]) -> None:
        """The log goes on to here, and this is what it meant."""
        self.committed.append({name: found.get(name, []) for name in CHANNELS})
        self.ends.append(self.log.offset)

    def _write(self, table: str, numbers: Sequence[int], kind: int = ev.WRITE_ROWS) -> None:
        self.log.table(7 + len(table), "shop", table)
        self.log.rows(*[image(number, "x") for number in numbers], table_id=7 + len(table), kind=kind)

    # What the server logs

    @rule(parts=st.lists(st.tuples(tables, counts), max_size=3), end=st.sampled_from(["xid", "COMMIT"]))
    def insert(self, parts: list[tuple[str, int]], end: Ending) -> None:
        """A transaction over any tables, with or without an engine that has transactions."""
        self.log.begin()
        found: dict[str, list[int | None]] = {name: [] for name in CHANNELS}
        for table, count in parts:
            numbers = self._numbers(count)
            self._write(table, numbers)
            found.setdefault(table, []).extend(numbers)
        self._commit(end)
        self._means(**found)

    @rule(count=st.integers(1, 5))
    def insert_one_by_one(self, count: int) -> None:
        """As legacy writers do; these come as one where nobody needs to look at each."""
        for number in self._numbers(count):
            self.log.insert(number)
            self._means(orders=[number])

    def _commit(self, end: Ending) -> None:
        if end == "xid":
            self.log.xid()
        else:
            self.log.query("COMMIT")

    @precondition(lambda self: not (self.seeding and self.in_pieces))  # that would be a gap too
    @rule(before=counts, undone=counts, after=counts, table=st.sampled_from(CHANNELS))
    def savepoint(self, before: int, undone: int, after: int, table: str) -> None:
        """Some rows, some that are undone, some more. What was passed on in pieces is not kept in part."""
        self.log.begin()
        kept = self._numbers(before)
        self._write(table, kept)
        self.log.query("SAVEPOINT `s`")
        self._write(table, self._numbers(undone))
        self.log.query("ROLLBACK TO `s`")
        more = self._numbers(after)
        self._write(table, more)
        self.log.xid()
        self._means(**{table: [None, *more] if self.in_pieces else [*kept, *more]})

    @precondition(lambda self: not self.seeding)  # where a gap stands among rows that are fetched is nobody's promise
    @rule(count=counts)
    def roll_back(self, count: int) -> None:
        """It is logged because a table without transactions took part: nobody knows which rows remained."""
        self.log.begin()
        self._write("orders", self._numbers(count))
        self.log.query("ROLLBACK")
        self._means(orders=[None])

    @rule(sql=st.sampled_from(["CREATE TABLE t (a INT)", "ALTER TABLE parts ADD b INT", "FLUSH TABLES"]))
    def define(self, sql: str) -> None:
        """A statement that is a transaction of its own."""
        self.log.ddl(sql)
        self._means()

    @rule(count=counts)
    def compress(self, count: int) -> None:
        """A compressed transaction."""
        numbers = self._numbers(count)
        if self.log.flavour == "mysql":
            self.log.gtid()
            self.log.add(ev.TRANSACTION_PAYLOAD, payload(*insert_events(*numbers)))
        else:
            self.log.begin()
            self.log.table()
            images = b"".join(image(number, "x") for number in numbers)
            self.log.add(166, rows(7, 2, b"", ev.WRITE_ROWS_V1) + deflated(images))
            self.log.xid()
        self._means(orders=[*numbers])

    @rule(name=st.sampled_from([b"a", b"b"]))
    def prepare(self, name: bytes) -> None:
        """An XA transaction up to its prepare."""
        if name not in self.prepared:
            (self.prepared[name],) = self._numbers(1)
            prepare(self.log, self.prepared[name], xid=name)
            self._means()

    @rule(name=st.sampled_from([b"a", b"b"]), verb=st.sampled_from(["COMMIT", "COMMIT", "ROLLBACK"]))
    def finish(self, name: bytes, verb: str) -> None:
        """Its end."""
        if name in self.prepared:
            number = self.prepared.pop(name)
            finish(self.log, verb, name)
            self._means(orders=[number] if verb == "COMMIT" else [])

    @rule(hole=st.sampled_from([0, 40]), left_out=st.integers(0, 3))
    def leave_out(self, hole: int, left_out: int) -> None:
        """Events that are not sent to readers, and GTIDs that were given to no transaction."""
        self.log.offset += hole
        self.log.sequence += left_out

    # How it is read

    @rule(cut=st.floats(0, 1), pieces=st.lists(st.integers(1, 4), max_size=6), snapshot=snapshots, sizes=sizes)
    def read(self, cut: float, pieces: list[int], snapshot: tuple[float, float, float], sizes: list[int]) -> None:
        """A connection from the checkpoint to a cut at any event, and a kill behind any append."""
        found = self._connection(cut, snapshot, sizes)
        self._append(found, pieces)
        self._check()

    @rule(snapshot=snapshots, sizes=sizes)
    def read_all(self, snapshot: tuple[float, float, float], sizes: list[int]) -> None:
        """A connection that lasts until everything has arrived."""
        self._append(self._connection(1.0, snapshot, sizes), [1_000])
        self._check(everything=True)

    @property
    def checkpoint(self) -> Checkpoint:
        """Where the next connection begins."""
        text = self.journal.checkpoint
        return Checkpoint.decode(text) if text else self.first

    def _connection(
        self, cut: float, snapshot: tuple[float, float, float], sizes: Sequence[int]
    ) -> list[Committed | Piece]:
        checkpoint = self.checkpoint
        basket = Basket()
        reader = Reader(_ORIGIN, checkpoint, basket, lambda _: None, lambda: None)  # type: ignore[arg-type]
        sent = self.log.sent_from(checkpoint.resume.offset)
        reader._source = Stream(sent[: round(cut * len(sent))], sizes)  # type: ignore[assignment]
        overlap, backfill = Overlap(checkpoint), self._backfill(checkpoint, snapshot)
        pass_on = partial(reader._pass_on, overlap=overlap, backfill=backfill)
        machine = assembler(self.log, checkpoint.resume, (ORDERS, PARTS), pass_on)
        control: Any = None  # asked on heartbeats only
        reader._present = Present(self._end, {"orders": b"[]"})
        try:
            reader._pump(machine, overlap, backfill, self._end, control)
        except StreamLost:
            return basket.put_here
        except PositionLost as error:
            raise AssertionError(f"a position was lost: {error}") from error
        raise AssertionError("the stream ended in silence")

    @property
    def _end(self) -> Position:
        return Position(self.log.file, self.log.offset)

    def _backfill(self, checkpoint: Checkpoint, snapshot: tuple[float, float, float]) -> Backfill:
        """The rows of the table as it was somewhere between two places of the log, and nobody knows where."""
        if "orders" in checkpoint.tables:
            return Backfill({}, Bounds(lambda _: True, Position("", 0)), done=True)
        passed = sum(end <= checkpoint.end.offset for end in self.ends)  # the table has what the log had by then
        before, taken, after = sorted(passed + round(share * (len(self.ends) - passed)) for share in snapshot)
        self._snapshot = taken
        keys = sorted(n for found in self.committed[:taken] for n in found["orders"] if n is not None)
        places = [self.first.end.offset, *self.ends]
        table = TableRows([b'{"id":%d}' % key for key in keys], {(key,) for key in keys}, ("id",))
        held = Bounds(lambda done: done.end.offset <= places[before], Position(self.log.file, places[after]))
        return Backfill({"orders": table}, held)

    def _append(self, found: Sequence[Committed | Piece], pieces: Sequence[int]) -> None:
        """Hand over so many at a time, and let the capture loop append them; what is left when it is killed is lost."""
        self.journal.forget_pieces()
        loop = CaptureLoop(_ORIGIN, self.journal, lambda _: None, lambda *_: None, derived_id=False)
        handoff = Handoff(self.loop)
        checkpoint = self.checkpoint
        waiting = set(CHANNELS) - set(checkpoint.tables)
        self.loop.call(self.loop.create_task, loop._drain(handoff, checkpoint, waiting))
        self.loop.idle()
        left = list(found)
        for count in pieces:
            for item in left[:count]:
                handoff.put(item)
            del left[:count]
            self.loop.idle()
            if self.seeded is None and "orders" in self.checkpoint.tables:
                self.seeded = self._snapshot
        self.loop.advance(1.5)  # a checkpoint without rows is due
        self.loop.idle()
        self.loop.abandon()

    # What must hold

    def _check(self, *, everything: bool = False) -> None:
        self._check_place()
        for channel in CHANNELS:
            expected = _said_once(self._expected(channel))
            arrived = _said_once([number for found in self._arrived(channel) for number in found])
            assert arrived == expected[: len(arrived)], f"{channel}: {arrived} arrived, {expected} were committed"
            if everything:
                assert len(arrived) == len(expected), f"{channel}: {expected[len(arrived) :]} are missing"
        if not self.seeding:  # else what waits for the rows comes with them
            whole = _rows_of([found["orders"] for found in self.committed])
            arrived_whole = _rows_of(self._arrived("orders"))
            assert set(_ends(arrived_whole)) <= set(_ends(whole)), "a transaction did not arrive in one piece"

    def _check_place(self) -> None:
        """A checkpoint ends with a transaction, begins before that one alone, and knows what was executed."""
        checkpoint = self.checkpoint
        if checkpoint.last is None:
            return
        count = self.ends.index(checkpoint.end.offset) + 1
        begin, _ = self.log.names[count - 1]
        assert checkpoint.start.offset == begin, "a checkpoint does not begin with its last transaction"
        for place, executed in ((checkpoint.start, count - 1), (checkpoint.end, count)):
            if self.log.gtids:
                state = GtidState.parse(self.log.flavour, "")
                for _, name in self.log.names[:executed]:
                    state.advance(name)
                assert place.gtid == str(state), "a checkpoint does not know what was executed"

    def _expected(self, channel: str) -> list[int | None]:
        taken = (self.seeded or 0) if channel == "orders" else 0
        if self.seeded is None and channel == "orders":
            return []
        read = sorted(n for found in self.committed[:taken] for n in found[channel] if n is not None)
        return [*read, *(n for found in self.committed[taken:] for n in found[channel])]

    def _arrived(self, channel: str) -> list[list[int | None]]:
        found = [
            [_number(change.op, change.message) for change in transaction.changes if change.channel == channel]
            for transaction in self.journal.transactions
        ]
        return [numbers for numbers in found if numbers]

    def teardown(self) -> None:
        """Nothing is left behind."""
        if hasattr(self, "_patch"):
            self._patch.undo()


def _number(op: str, message: bytes) -> int | None:
    return None if op == GAP else int(json.loads(message)["id"])


def _said_once(numbers: Sequence[int | None]) -> list[int | None]:
    """A gap behind a gap says nothing more, and may be left out."""
    return [
        number for place, number in enumerate(numbers) if number is not None or numbers[place - 1 : place] != [None]
    ]


def _ends(transactions: Sequence[Sequence[int]]) -> Iterator[int]:
    """After how many rows each of them ends."""
    return accumulate(map(len, transactions))


def _rows_of(transactions: Sequence[Sequence[int | None]]) -> list[list[int]]:
    """The transactions that have rows, without their gaps."""
    rows = [[number for number in found if number is not None] for found in transactions]
    return [found for found in rows if found]
