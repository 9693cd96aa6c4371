from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import cycle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdc import events as ev
from cdc import pending, shortcut
from cdc import run as run_module
from cdc.assembler import Assembler
from cdc.committed import RUN_BYTES, Committed
from cdc.position import Flavour
from cdc.run import Run
from cdc.shortcut import Shortcut
from journal.types import Change
from tests.cdc import forge
from tests.cdc.forge import Log, finish, ids, image, prepare, reads
from tests.cdc.story import LARGE, Story, Told

both = pytest.mark.parametrize("flavour", ["mariadb", "mysql"])
servers = pytest.mark.parametrize("server", [("mariadb", True), ("mysql", True), ("mysql", False)])


def transaction(log: Log, parts: Sequence[tuple[str, int, int]], end: str) -> None:
    """Rows of some tables: table, kind of event, how many."""
    log.begin()
    for table, kind, count in parts:
        number = 7 + len(table)
        log.table(number, "shop", table)
        images = [image(log.offset + step, "x") for step in range(count)]
        log.rows(*images, table_id=number, kind=kind)
        if count > 1:
            log.rows(*images, table_id=number, kind=kind)
    if end == "xid":
        log.xid()
    elif end:
        log.query(end)


PARTS_OF_ONE = st.tuples(
    st.sampled_from(["orders", "parts", "others"]),
    st.sampled_from([ev.WRITE_ROWS, ev.WRITE_ROWS, ev.WRITE_ROWS_V1, ev.DELETE_ROWS]),
    st.integers(1, 3),
)
ODD: dict[str, Callable[[Log], None]] = {
    "ddl": lambda log: log.ddl("ALTER TABLE orders ADD z INT"),
    "prepare": lambda log: prepare(log, log.offset),
    "finish": lambda log: void(finish(log)),
    "one phase": lambda log: prepare(log, log.offset, one_phase=True),
    "a new format": lambda log: log.add(ev.FORMAT_DESCRIPTION, forge.format_description()),
    "a heartbeat": lambda log: log.add(ev.HEARTBEAT, log.file.encode()),
    "an unknown event": lambda log: log.add(99, b"?"),
    "another domain": lambda log: void(log.gtid(domain=7)),
    "a row of another domain": lambda log: void(log.insert(log.offset, domain=7)),
    "numbers are left out": lambda log: setattr(log, "sequence", log.sequence + 3),
    "a hole": lambda log: setattr(log, "offset", log.offset + 50),
    "a second": lambda log: setattr(log, "now", log.now + 1),
    "a checkpoint": lambda log: log.add(ev.MARIADB_BINLOG_CHECKPOINT, b""),
    "rows that do not decode": lambda log: poison(log),  # noqa: PLW0108 - it is defined below
    "a table that does not decode": lambda log: unknown(log),  # noqa: PLW0108
    "a statement": lambda log: statement(log),  # noqa: PLW0108
}
ONE = st.one_of(
    st.tuples(st.lists(PARTS_OF_ONE, max_size=3), st.sampled_from(["xid", "xid", "xid", "COMMIT", "ROLLBACK", ""])),
    st.sampled_from(sorted(ODD)),
)


def void(_: str) -> None:
    """The name of a transaction is not wanted."""


def poison(log: Log) -> None:
    """A row that ends early."""
    log.begin()
    log.table()
    log.rows(b"\0\1\0\0\0\x50short")
    log.xid()


def unknown(log: Log) -> None:
    """Rows of a table with a column of the future."""
    log.begin()
    log.table(12, "shop", "parts", forge.Field("f", 201))
    log.rows(b"\0anything", table_id=12, columns=1)
    log.xid()


def statement(log: Log) -> None:
    """A write that was logged as a statement."""
    log.begin()
    log.query("INSERT INTO orders VALUES (1)")
    log.xid()


def written(log: Log, contents: Sequence[tuple[list[tuple[str, int, int]], str] | str]) -> list[bytes]:
    """The log with this in it, as it is sent."""
    for content in contents:
        if isinstance(content, str):
            ODD[content](log)
        else:
            transaction(log, *content)
    return log.sent_from(4)


@given(
    server=st.sampled_from([("mariadb", True), ("mysql", True), ("mysql", False)]),
    contents=st.lists(ONE, max_size=12),
    sizes=st.lists(st.integers(1, 2000), min_size=1, max_size=4),
    bounds=st.tuples(st.sampled_from([300, pending.PIECE_BYTES]), st.sampled_from([300, 1000, RUN_BYTES])),
    joins=st.lists(st.booleans(), min_size=1, max_size=5),
    damaged=st.none() | st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 3000), st.integers(1, 255)),
)
@settings(max_examples=200, deadline=None)
def test_the_short_way_tells_what_the_state_machine_tells(
    *,
    server: tuple[Flavour, bool],
    contents: list[tuple[list[tuple[str, int, int]], str] | str],
    sizes: list[int],
    bounds: tuple[int, int],
    joins: list[bool],
    damaged: tuple[float, int, int] | None,
) -> None:
    """Whatever the log holds and wherever reads end: every transaction, piece, error and place are the same.

    Runs of them, however often they may be joined, have the same changes and end as the last of them does.
    """
    flavour, gtids = server
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pending, "PIECE_BYTES", bounds[0])
        patch.setattr(run_module, "RUN_BYTES", bounds[1])
        events = written(Log(flavour, gtids=gtids), contents)
        if damaged:
            where, byte, flip = damaged
            at = int(where * len(events))
            event = bytearray(events[at])
            event[byte % len(event)] ^= flip
            events[at] = bytes(event)
        log = Log(flavour, gtids=gtids)
        by_events = Story(log, Assembler).by_events(events)
        assert Story(log).by_reads(events, *sizes) == by_events
        assert Story(log).by_reads(events, LARGE) == by_events
        for size in (sizes, [LARGE]):
            runs = Story(log).by_reads(events, *size, joins=partial(next, cycle(joins)))
            assert list(as_joined(by_events, runs)) == runs


def lone(log: Log, *images: bytes, table: str = "orders", number: int = 7, **options: int) -> None:
    """A transaction with one event of rows."""
    log.begin()
    log.table(number, "shop", table)
    log.rows(*images, **{"table_id": number} | options)
    log.xid()


def of_two_tables(log: Log) -> None:
    """A transaction with a row of each."""
    log.begin()
    log.table(9, "shop", "parts")
    log.rows(image(2, "y"), table_id=9)
    log.table()
    log.rows(image(1, "x"))
    log.xid()


def instead_of_begin(log: Log, body: bytes) -> None:
    """On MySQL a statement stands where every transaction has its BEGIN."""
    log.gtid()
    if log.flavour == "mysql":
        log.add(ev.QUERY, body)
    log.table()
    log.rows(image(1, "x"))
    log.xid()


def ends_nowhere(log: Log) -> None:
    """A commit that does not say where it ends."""
    lone(log, image(1, "x"))
    last = log.placed[-1]
    log.placed[-1] = last._replace(data=forge.event(ev.XID, bytes(8), end=0, timestamp=log.now))


def cut_rows(log: Log) -> None:
    """Rows of a table that nobody captures, and the event ends before their columns are counted."""
    log.begin()
    log.table(11, "shop", "others")
    log.add(ev.WRITE_ROWS, forge.rows(11, 2, b"")[:9])
    log.xid()


ALIKE: dict[str, Callable[[Log], None]] = {
    "a row": lambda log: lone(log, image(log.offset, "x")),
    "a long row": lambda log: lone(log, image(log.offset, 75 * "x")),
    "two rows": lambda log: lone(log, image(1, "x"), image(2, "y")),
    "no row": lambda log: lone(log),  # noqa: PLW0108 - lists of images end here
    "rows of two tables": of_two_tables,
    "another number": lambda log: lone(log, image(1, "x"), number=8),
    "another table": lambda log: lone(log, image(1, "x"), table="parts", number=9),
    "the number of another table": lambda log: lone(log, image(1, "x"), table="parts"),
    "a table of two channels": lambda log: lone(log, image(1, "x"), table="twice", number=10),
    "a table of none": lambda log: lone(log, image(1, "x"), table="others", number=11),
    "rows of no table": lambda log: lone(log, image(1, "x"), table_id=99),
    "a row of the other version": lambda log: lone(log, image(1, "x"), kind=ev.WRITE_ROWS_V1),
    "a deleted row": lambda log: lone(log, image(1, "x"), kind=ev.DELETE_ROWS),
    "fewer columns": lambda log: lone(log, image(1, "x"), columns=1),
    "a commit that ends nowhere": ends_nowhere,
    "another BEGIN": lambda log: instead_of_begin(log, forge.query("BEGIN", status=b"\0\0\0\0\0")),
    "an empty statement": lambda log: instead_of_begin(log, b""),
    "cut rows": cut_rows,
    "no BEGIN": lambda log: instead_of_begin(log, forge.query("INSERT INTO orders VALUES (1, 'x')")),
}


@servers
@pytest.mark.parametrize("first", sorted(ALIKE))
@pytest.mark.parametrize("bounds", [(250, 700), (pending.PIECE_BYTES, RUN_BYTES)])
def test_what_is_like_the_one_before_is_told_the_same(
    server: tuple[Flavour, bool], first: str, bounds: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Transactions of one event of rows, all alike but for one in the middle, whatever is different about that."""
    monkeypatch.setattr(pending, "PIECE_BYTES", bounds[0])
    monkeypatch.setattr(run_module, "RUN_BYTES", bounds[1])
    for other in sorted(ALIKE | ODD):
        log = Log(server[0], gtids=server[1])
        for content in (first, first, first, other, first, first):
            (ALIKE | ODD)[content](log)
        assert_joined_alike(log, log.sent_from(4), f"{other} among {first}")


@servers
def test_damage_to_one_like_the_one_before_is_noticed(server: tuple[Flavour, bool]) -> None:
    """Whichever byte it is: the run ends before it, and what is told of it is what the state machine tells."""
    log = Log(server[0], gtids=server[1])
    before = 0
    for _ in range(4):
        before = len(log.sent_from(4))
        ALIKE["a row"](log)
    events = log.sent_from(4)
    for at in range(before, len(events)):
        for byte in range(len(events[at])):
            damaged = bytearray(events[at])
            damaged[byte] ^= 1
            assert_joined_alike(log, [*events[:at], bytes(damaged), *events[at + 1 :]], f"byte {byte} of {at}")


def assert_joined_alike(log: Log, events: Sequence[bytes], why: str) -> None:
    """Joined as often as may be, all is told that the state machine tells."""
    by_events = Story(log, Assembler).by_events(events)
    assert Story(log).by_reads(events, LARGE) == by_events, why
    runs = Story(log).by_reads(events, LARGE, joins=lambda: True)
    assert list(as_joined(by_events, runs)) == runs, why


def as_joined(told: Sequence[Told], runs: Sequence[Told]) -> Iterator[Told]:
    """What was told of single transactions, joined where these runs end."""
    ends = {done.end: done for _, done, *_ in runs if isinstance(done, Committed)}
    waiting: list[Committed] = []
    for what, done, file, offset in told:
        if not isinstance(done, Committed):
            yield what, done, file, offset
            continue
        waiting.append(done)
        if done.end in ends:
            yield what, done._replace(**joined(waiting)), file, offset
            waiting = []
    assert not waiting


def joined(transactions: Sequence[Committed]) -> dict[str, object]:
    """The changes of several transactions, and when each of them committed."""
    if len(transactions) == 1:
        return {}
    changes: list[Change] = []
    times = []
    for done in transactions:
        changes += done.changes
        if done.changes:
            times.append((len(changes), done.committed))
    return {"changes": changes, "times": times}


@both
def test_plain_transactions_go_the_short_way(flavour: Flavour) -> None:
    """All but the first with a new table map, also those of several tables and of tables that nobody captures."""
    log = Log(flavour)
    before = len(log.sent_from(4))
    for _ in range(5):
        parts = [("orders", ev.WRITE_ROWS, 1), ("others", ev.WRITE_ROWS_V1, 3)]
        transaction(log, parts, "xid")
    story = Story(log)
    told = story.by_reads(log.sent_from(4), LARGE)
    first = 6 + (flavour == "mysql") + 1
    assert (len([one for one in told if one[0] == "committed"]), story.fed) == (5, before + first)


@both
def test_a_transaction_that_is_cut_goes_the_long_way(flavour: Flavour) -> None:
    """When a read ends in the middle of one, the machine takes it; the next one is taken the short way again."""
    log = Log(flavour)
    for number in range(4):
        log.insert(number)
    events = log.sent_from(4)
    each = 4 + (flavour == "mysql")
    machine = Story(log).machine
    assert isinstance(machine, Shortcut)
    cut = len(events) - each - 2  # in the third
    done = [
        step
        for part in (events[:cut], events[cut:])
        for packets in reads(part, LARGE)
        for step in machine.steps(packets)
    ]
    assert ids([one for _, one in done if one]) == [0, 1, 2, 3]
    assert [kind for kind, one in done[-each:] if one] == [ev.XID, ev.XID]
    assert done[-1][0] == ev.XID
    assert done[-2][1] is not None, "the last was one step"


@servers
def test_the_short_way_is_tried_where_a_transaction_begins(
    server: tuple[Flavour, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nowhere else, though behind MySQL's GTID without a number nothing is open either."""
    tried: list[int] = []

    class Tried(Run):
        def take(self, most: int) -> bool:
            tried.append(self._kinds[self.at])
            return super().take(most)

    monkeypatch.setattr(shortcut, "Run", Tried)
    flavour, gtids = server
    log = Log(flavour, gtids=gtids)
    for number in range(3):
        log.insert(number)  # the first goes the long way, for its table map is new
    Story(log).by_reads(log.sent_from(4), LARGE)
    assert tried == [log.begins_with] * 3


def test_a_transaction_in_the_wrong_place_goes_the_long_way() -> None:
    """One that does not begin where the last one ended has a start of its own."""
    log = Log("mariadb")
    log.insert(1)
    log.insert(2)
    log.add(ev.MARIADB_BINLOG_CHECKPOINT, b"")
    begin = log.offset
    log.insert(3)
    done = [one for what, one, *_ in Story(log).by_reads(log.sent_from(4), LARGE) if what == "committed"]
    assert isinstance(done[-1], Committed)
    assert done[-1].start.offset == begin


@both
def test_a_table_map_that_changed_is_looked_at(flavour: Flavour) -> None:
    """The same table under another number, or with other columns, is not read by what was known."""
    log = Log(flavour)
    log.insert(1)
    log.insert(2)
    log.begin()
    log.table(8, "shop", "orders", forge.ID)
    log.rows(b"\0" + struct.pack("<i", 3), table_id=8, columns=1)
    log.xid()
    log.insert(4)
    done = [one for what, one, *_ in Story(log).by_reads(log.sent_from(4), LARGE) if what == "committed"]
    assert ids([one for one in done if isinstance(one, Committed)]) == [1, 2, 3, 4]


# Runs


def runs(log: Log, size: int = LARGE) -> list[Committed]:
    """What an assembler makes of the log that may join from its first transaction on."""
    told = Story(log).by_reads(log.sent_from(4), size, joins=lambda: True)
    return [done for _, done, *_ in told if isinstance(done, Committed)]


@both
def test_plain_transactions_side_by_side_are_one_run(flavour: Flavour) -> None:
    """The first brings the table map. A checkpoint at the run's end begins one transaction before it."""
    log = Log(flavour)
    names = [log.insert(number, 10 + number) for number in range(1, 6)]
    alone = [done for _, done, *_ in Story(log).by_reads(log.sent_from(4), LARGE) if isinstance(done, Committed)]
    first, run = runs(log)
    assert ids([first]) == [1, 11]
    assert ids([run]) == [2, 12, 3, 13, 4, 14, 5, 15]
    assert (run.start, run.end, run.fingerprint, run.committed) == alone[-1][1:5]
    assert run.fingerprint is not None
    assert run.fingerprint.gtid == names[-1]
    assert list(run.times) == [(2 * n, done.committed) for n, done in enumerate(alone[1:], 1)]


@both
def test_a_run_ends_where_gtids_do_not_go_on(flavour: Flavour) -> None:
    """What is executed is then no single interval, or of another domain or source."""
    log = Log(flavour)
    for number in (1, 2, 3):
        log.insert(number)
    log.sequence += 7
    for number in (4, 5):
        log.insert(number)
    log.insert(6, domain=7)
    log.insert(7)
    found = [ids([run]) for run in runs(log)]
    together = [[2, 3, 4, 5]] if flavour == "mariadb" else [[2, 3], [4, 5]]  # MariaDB's numbers may have holes
    assert found == [[1], *together, [6], [7]]
    last = str(runs(log)[-1].end.gtid)
    assert last == ("0-1-14,7-1-13" if flavour == "mariadb" else f"{forge.UUID}:1-3:11-12:14,7{forge.UUID[1:]}:13")


@both
def test_a_run_ends_where_the_log_has_a_hole(flavour: Flavour) -> None:
    """What begins elsewhere than the last transaction ended has a start of its own."""
    log = Log(flavour)
    for number in (1, 2, 3):
        log.insert(number)
    log.offset += 100
    begin = log.offset
    log.insert(4)
    log.insert(5)
    assert [ids([run]) for run in runs(log)] == [[1], [2, 3], [4], [5]]
    assert runs(log)[2].start.offset == begin


@both
def test_a_run_is_bounded(flavour: Flavour, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what it weighs, whatever one read brings."""
    monkeypatch.setattr(run_module, "RUN_BYTES", 1000)
    log = Log(flavour)
    for number in range(20):
        log.insert(number)
    found = [len(run.changes) for run in runs(log)]
    assert (sum(found), max(found)) == (20, found[1])
    assert 1 < found[1] < 10


@both
def test_a_read_ends_a_run(flavour: Flavour) -> None:
    """What is whole is told before the next bytes have come."""
    log = Log(flavour)
    for number in range(10):
        log.insert(number)
    events = log.sent_from(4)
    machine = Story(log).machine
    assert isinstance(machine, Shortcut)
    (packets,) = reads(events[:-2], LARGE)
    assert [ids([done]) for _, done in machine.steps(packets, lambda: True) if done] == [[0], list(range(1, 9))]
