from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdc import events as ev
from cdc import tablemap as t
from cdc import xa
from cdc.assembler import Committed
from cdc.errors import MalformedEvent, SourceError
from cdc.position import Flavour, Position
from cdc.rows import Decoder
from cdc.tablemap import TableMap
from cdc.tables import Capture
from journal.types import GAP, INSERT
from tests.cdc import forge
from tests.cdc.forge import ID, NAME, ORDERS, Field, Log, assemble, assembler, image

both = pytest.mark.parametrize("flavour", ["mariadb", "mysql"])
PARTS = Capture("parts", "shop", "parts")


def ids(committed: Sequence[Committed], channel: str = "orders") -> list[int]:
    """The rows that arrived, by number."""
    changes = [change for done in committed for change in done.changes if change.channel == channel]
    return [json.loads(change.message)["id"] for change in changes if change.op == INSERT]


def gaps(committed: Sequence[Committed]) -> list[tuple[str, str]]:
    """The gaps that arrived: channel and detail."""
    changes = [change for done in committed for change in done.changes if change.op == GAP]
    assert all(json.loads(change.message)["reason"] == "unreadable" for change in changes)
    return [(change.channel, json.loads(change.message)["detail"]) for change in changes]


# Transactions


@both
def test_a_commit_gives_all_rows_at_once(flavour: Flavour) -> None:
    """Nothing comes before the commit; then every row of every rows event, in order, with names and values."""
    log = Log(flavour)
    name = log.begin()
    log.table()
    log.rows(image(1, "one"), image(2, "zwei"))
    log.rows(image(3, "três"))
    log.xid()
    machine = assembler(log)
    *before, last = [machine.feed(data) for data in log.sent_from(4)]
    assert before == [None] * len(before)
    assert last is not None
    assert [json.loads(change.message) for change in last.changes] == [
        {"id": 1, "name": "one"},
        {"id": 2, "name": "zwei"},
        {"id": 3, "name": "três"},
    ]
    assert {(change.channel, change.op) for change in last.changes} == {("orders", INSERT)}
    assert last.fingerprint.gtid == name


@both
def test_a_rolled_back_transaction_leaves_nothing(flavour: Flavour) -> None:
    """Its rows are dropped, its place in the log is passed."""
    log = Log(flavour)
    log.begin()
    log.table()
    log.rows(image(1, "undone"))
    log.query("ROLLBACK")
    log.insert(2)
    done = assemble(log)
    assert (len(done), ids(done)) == (2, [2])
    assert done[0].end.offset == done[1].start.offset


@both
def test_a_transaction_without_an_end_leaves_nothing(flavour: Flavour) -> None:
    """A server that died in the middle of writing one goes on with the next: it rolled the rows back."""
    log = Log(flavour)
    log.insert(1)
    log.begin()
    log.table()
    log.rows(image(2, "never committed"))
    log.insert(3)
    assert ids(assemble(log)) == [1, 3]


@both
def test_what_was_undone_to_a_savepoint_is_dropped(flavour: Flavour) -> None:
    """Rows behind the savepoint go, those before and after stay; an outer savepoint takes the inner one along."""
    log = Log(flavour)
    log.begin()
    log.table()
    for number, sql in [(1, "SAVEPOINT `a`"), (2, "SAVEPOINT `b`"), (3, "ROLLBACK TO `b`"), (4, "ROLLBACK TO `a`")]:
        log.rows(image(number, "x"))
        log.query(sql)
    log.rows(image(5, "x"))
    log.xid()
    assert ids(assemble(log)) == [1, 5]


@both
def test_a_savepoint_that_is_set_again_moves(flavour: Flavour) -> None:
    """The name stands for its last place."""
    log = Log(flavour)
    log.begin()
    log.table()
    for number, sql in [(1, "SAVEPOINT `a`"), (2, "SAVEPOINT `A`"), (3, "ROLLBACK TO `a`")]:
        log.rows(image(number, "x"))
        log.query(sql)
    log.xid()
    assert ids(assemble(log)) == [1, 2]


@both
def test_savepoints_do_not_outlive_their_transaction(flavour: Flavour) -> None:
    """One that the log does not hold was set before the first row, whatever that name stood for earlier."""
    log = Log(flavour)
    for first in (1, 11):
        log.begin()
        log.table()
        log.rows(image(first, "x"), image(first + 1, "x"))
        if first == 1:
            log.query("SAVEPOINT `a`")
        log.rows(image(first + 2, "x"))
        log.query("ROLLBACK TO `a`")
        log.rows(image(first + 3, "x"))
        log.xid()
    assert ids(assemble(log)) == [1, 2, 4, 14]


@both
def test_updates_and_deletes_are_no_inserts(flavour: Flavour) -> None:
    """Their images are not even looked at."""
    log = Log(flavour)
    log.begin()
    log.table()
    for kind in (ev.UPDATE_ROWS, ev.DELETE_ROWS, ev.UPDATE_ROWS_V1, ev.DELETE_ROWS_V1):
        log.rows(b"\xff" * 9, kind=kind)
    log.rows(image(1, "one"), kind=ev.WRITE_ROWS_V1)
    log.xid()
    assert ids(assemble(log)) == [1]


@both
def test_a_table_without_transactions_ends_with_a_query(flavour: Flavour) -> None:
    """MyISAM and Aria commit by the word, not by an XID."""
    log = Log(flavour)
    log.begin()
    log.table()
    log.rows(image(1, "one"))
    log.query("COMMIT")
    log.insert(2)
    assert [ids([done]) for done in assemble(log)] == [[1], [2]]


@both
def test_ddl_is_a_transaction_of_its_own(flavour: Flavour) -> None:
    """It has no BEGIN and no end, gives nothing, and is counted."""
    log = Log(flavour)
    log.ddl("ALTER TABLE orders ADD z INT")
    log.insert(1)
    log.ddl("TRUNCATE orders")
    done = assemble(log)
    assert [ids([one]) for one in done] == [[], [1], []]
    assert str(done[-1].end.gtid) == ("0-1-3" if flavour == "mariadb" else f"{forge.UUID}:1-3")


def test_mariadb_creates_and_fills_a_table_in_one_transaction() -> None:
    """CREATE … SELECT begins without BEGIN; its statement ends nothing, its rows come with the XID."""
    log = Log("mariadb")
    log.gtid()
    log.query("CREATE TABLE `orders` (\n  `id` int(11) NOT NULL\n)")
    log.table()
    log.rows(image(1, "one"))
    log.xid()
    assert [ids([done]) for done in assemble(log)] == [[1]]


@pytest.mark.parametrize("begin", [True, False])
def test_mysql_creates_and_fills_a_table_in_one_transaction(*, begin: bool) -> None:
    """CREATE … START TRANSACTION ends nothing, whether BEGIN stands before it or not."""
    log = Log("mysql")
    log.gtid()
    if begin:
        log.query("BEGIN")
    log.query("CREATE TABLE `orders` (\n  `id` int NOT NULL\n) START TRANSACTION")
    log.table()
    log.rows(image(1, "one"))
    log.xid()
    assert [ids([done]) for done in assemble(log)] == [[1]]


# Which rows


@both
def test_a_table_is_known_by_schema_and_name(flavour: Flavour) -> None:
    """The table of the same name in another schema is another table, each feeding its own channel."""
    log = Log(flavour)
    log.begin()
    log.table(7, "shop", "orders")
    log.table(8, "test", "orders")
    log.table(9, "shop", "Orders")
    for number, table_id in [(1, 7), (2, 8), (3, 9)]:
        log.rows(image(number, "x"), table_id=table_id)
    log.xid()
    done = assemble(log, captures=[ORDERS, Capture("tests", "test", "orders")])
    assert (ids(done), ids(done, "tests")) == ([1], [2])


@both
def test_one_table_may_feed_two_channels(flavour: Flavour) -> None:
    """Every row goes to both."""
    log = Log(flavour)
    log.insert(1, 2)
    done = assemble(log, captures=[ORDERS, Capture("copy", "shop", "orders")])
    assert (ids(done), ids(done, "copy")) == ([1, 2], [1, 2])


@both
def test_rows_without_their_table_map_are_an_error(flavour: Flavour) -> None:
    """To go on would lose them without a word: the stream began in the middle of a transaction."""
    log = Log(flavour)
    log.begin()
    log.rows(image(1, "one"))
    with pytest.raises(MalformedEvent, match="table map 7 came without it"):
        assemble(log)


@both
def test_a_table_map_is_for_its_transaction_only(flavour: Flavour) -> None:
    """The server sends it again with each one; a number may then mean another table."""
    log = Log(flavour)
    log.insert(1)
    log.begin()
    log.rows(image(2, "two"))
    with pytest.raises(MalformedEvent, match="table map 7 came without it"):
        assemble(log)


@both
def test_an_event_that_only_ends_a_statement_has_no_table(flavour: Flavour) -> None:
    """The servers' dummy table number is no missing table map."""
    log = Log(flavour)
    log.begin()
    log.rows(table_id=0xFFFFFF)
    log.xid()
    assert assemble(log)[0].changes == []


ODD = {
    "vector": Field("v", t.VECTOR, b"\4"),
    "compressed": Field("c", t.BLOB_COMPRESSED, b"\2", collation=45),
    "of the future": Field("f", 201),
    "old time": Field("o", t.DATETIME),
}


@both
@pytest.mark.parametrize("odd", ODD.values(), ids=list(ODD))
def test_a_column_that_nobody_decodes_harms_no_other_table(flavour: Flavour, odd: Field) -> None:
    """A table that is not captured may hold any type, also one whose metadata has an unknown size."""
    log = Log(flavour)
    log.begin()
    log.table(8, "shop", "odd", odd, ID)
    log.rows(b"\0anything", table_id=8)
    log.table()
    log.rows(image(1, "one"))
    log.xid()
    done = assemble(log)
    assert (ids(done), gaps(done)) == ([1], [])


@both
@pytest.mark.parametrize("odd", ODD.values(), ids=list(ODD))
def test_a_captured_column_that_nobody_decodes_is_a_gap(flavour: Flavour, odd: Field) -> None:
    """One gap for each transaction, on that table's channel only, that names table and type."""
    log = Log(flavour)
    log.begin()
    log.table(8, "shop", "parts", odd, ID)
    log.rows(b"\0anything", table_id=8)
    log.rows(b"\0anything", table_id=8)
    log.table()
    log.rows(image(1, "one"))
    log.xid()
    done = assemble(log, captures=[ORDERS, PARTS])
    ((channel, detail),) = gaps(done)
    assert (ids(done), channel) == ([1], "parts")
    assert "shop.parts" in detail
    assert str(odd.type) in detail


@both
def test_an_update_of_such_a_table_is_no_gap(flavour: Flavour) -> None:
    """Only inserts are promised, so only they can be missing."""
    log = Log(flavour)
    log.begin()
    log.table(8, "shop", "parts", ODD["vector"])
    log.rows(b"\0anything", table_id=8, kind=ev.UPDATE_ROWS)
    log.xid()
    assert assemble(log, captures=[PARTS])[0].changes == []


@both
def test_rows_without_names_are_a_gap(flavour: Flavour) -> None:
    """binlog_row_metadata=MINIMAL, set in mid-stream, is named as what is wrong; FULL again, and rows come again."""
    log = Log(flavour)
    log.begin()
    log.add(ev.TABLE_MAP, forge.table_map(7, "shop", "orders", (ID, NAME), named=False))
    log.rows(image(1, "one"))
    log.xid()
    log.insert(2)
    done = assemble(log)
    ((channel, detail),) = gaps(done)
    assert (ids(done), channel) == ([2], "orders")
    assert "binlog_row_metadata = 'FULL'" in detail


@both
def test_a_row_with_columns_left_out_is_a_gap(flavour: Flavour) -> None:
    """binlog_row_image=MINIMAL, set in mid-stream, is named as what is wrong."""
    log = Log(flavour)
    log.begin()
    log.table()
    log.add(ev.WRITE_ROWS, forge.rows(7, 2, b"\0\1\0\0\0", present=b"\xfd"))
    log.xid()
    ((_, detail),) = gaps(assemble(log))
    assert "binlog_row_image = 'FULL'" in detail


@both
def test_a_row_that_does_not_decode_is_a_gap_and_the_stream_lives(flavour: Flavour) -> None:
    """A poison row costs its own channel a gap that names table and transaction; what follows arrives."""
    log = Log(flavour)
    name = log.begin()
    log.table()
    log.rows(b"\0\1\0\0\0\x50short")
    log.rows(image(2, "two"))
    log.xid()
    log.insert(3)
    done = assemble(log)
    ((channel, detail),) = gaps(done)
    assert (ids(done), channel) == ([2, 3], "orders")
    assert "shop.orders" in detail
    gap = next(change for change in done[0].changes if change.op == GAP)
    assert json.loads(gap.message)["position"] == name


@both
def test_a_table_map_is_compiled_once(flavour: Flavour) -> None:
    """The same bytes are the same shape; others, as after an ALTER, are compiled anew; a new file begins afresh."""
    log = Log(flavour)
    log.insert(1)
    log.insert(2)
    log.begin()
    log.table(8, "shop", "orders", ID)
    log.rows(b"\0\3\0\0\0", table_id=8, columns=1)
    log.xid()
    log.add(ev.FORMAT_DESCRIPTION, forge.format_description())
    log.insert(4)
    compiled: list[int] = []

    def compile_decoder(channel: str, table: TableMap) -> Decoder:
        compiled.append(len(table.columns))
        return forge.decoder(channel, table)

    machine = assembler(log)
    machine._known._compile = compile_decoder
    done = [one for one in map(machine.feed, log.sent_from(4)) if one]
    assert (ids(done), compiled) == ([1, 2, 3, 4], [2, 1, 2])


# Writes that are not there


STATEMENTS = [
    ("INSERT INTO orders VALUES (1, 'x')", [ORDERS.channel]),
    ("INSERT INTO parts SELECT * FROM orders", [ORDERS.channel, PARTS.channel]),
    ("INSERT INTO a_view VALUES (1)", [ORDERS.channel, PARTS.channel]),
    ("SET STATEMENT max_statement_time=5 FOR REPLACE INTO parts VALUES (1)", [PARTS.channel]),
    ("SELECT `shop`.`f1`()", [ORDERS.channel, PARTS.channel]),
    ("DO f1()", [ORDERS.channel, PARTS.channel]),
]


@both
@pytest.mark.parametrize(("sql", "channels"), STATEMENTS)
def test_a_write_by_statement_is_a_gap(flavour: Flavour, sql: str, channels: list[str]) -> None:
    """On each channel whose table it names, on all when a view, trigger or function hides it; with the remedy."""
    log = Log(flavour)
    log.begin()
    log.query(sql)
    log.xid()
    log.insert(2)
    done = assemble(log, captures=[ORDERS, PARTS])
    assert [channel for channel, _ in gaps(done)] == channels
    assert all("binlog_format = 'ROW'" in detail for _, detail in gaps(done))
    assert ids(done) == [2]


@both
def test_a_write_by_statement_is_a_gap_also_when_rolled_back(flavour: Flavour) -> None:
    """ROLLBACK is logged when a table without transactions took part, and its rows have remained."""
    log = Log(flavour)
    log.begin()
    log.query("INSERT INTO orders VALUES (1)")
    log.query("ROLLBACK")
    assert [channel for channel, _ in gaps(assemble(log))] == ["orders"]


@both
@pytest.mark.parametrize("kind", [ev.EXECUTE_LOAD_QUERY, ev.INCIDENT, 172, 250])
def test_an_unlisted_event_in_a_transaction_is_a_gap(flavour: Flavour, kind: int) -> None:
    """An event type that is not decoded may hide rows: all channels are told, once, with its number."""
    log = Log(flavour)
    log.begin()
    log.add(kind, b"whatever")
    log.add(kind, b"whatever")
    log.xid()
    log.insert(2)
    done = assemble(log, captures=[ORDERS, PARTS])
    assert [channel for channel, detail in gaps(done) if f"type {kind}," in detail] == ["orders", "parts"]
    assert ids(done) == [2]


@both
@pytest.mark.parametrize("kind", [ev.TRANSACTION_PAYLOAD, ev.INCIDENT, 172])
def test_an_unlisted_event_outside_one_is_its_own_transaction(flavour: Flavour, kind: int) -> None:
    """It has neither BEGIN nor end: the gap must not wait for them, the GTID must count. So with one that is broken."""
    log = Log(flavour)
    log.gtid(standalone=True)
    log.add(kind, b"whatever")
    log.insert(2)
    done = assemble(log)
    assert [len(gaps([one])) for one in done] == [1, 0]
    assert done[0].end.gtid == ("0-1-1" if flavour == "mariadb" else f"{forge.UUID}:1")
    assert done[0].end.offset == done[1].start.offset


@both
@pytest.mark.parametrize("kind", [*sorted(ev.WITHOUT_ROWS), 251])
def test_events_that_never_hold_rows_are_passed_over(flavour: Flavour, kind: int) -> None:
    """Those of the manual, and whatever the server flags as ignorable."""
    log = Log(flavour)
    log.begin()
    log.add(kind, b"whatever", flags=ev.IGNORABLE_FLAG if kind not in ev.WITHOUT_ROWS else 0)
    log.xid()
    log.add(kind, b"whatever", flags=ev.IGNORABLE_FLAG if kind not in ev.WITHOUT_ROWS else 0)
    assert [done.changes for done in assemble(log)] == [[]]


def prepare(log: Log, number: int, *, one_phase: bool = False, xid: bytes = b"x") -> None:
    """An XA transaction up to its XA_PREPARE event, in the flavour's own way."""
    log.gtid()
    if log.flavour == "mysql":
        log.query(f"XA START X'{xid.hex()}',X'',1")
    log.table()
    log.rows(image(number, "x"))
    log.query(f"XA END X'{xid.hex()}',X'',1")
    log.add(ev.XA_PREPARE, bytes([one_phase]) + struct.pack("<III", 1, len(xid), 0) + xid)


def finish(log: Log, verb: str = "COMMIT", xid: bytes = b"x") -> str:
    """The end of a prepared XA transaction."""
    name = log.gtid(standalone=True)
    log.query(f"XA {verb} X'{xid.hex()}',X'',1")
    return name


@both
def test_a_prepared_xa_transaction_that_is_rolled_back_gives_nothing(flavour: Flavour) -> None:
    """Its rows waited, and nothing is missing."""
    log = Log(flavour)
    prepare(log, 1)
    finish(log, "ROLLBACK")
    log.insert(2)
    done = assemble(log)
    assert (len(done), ids(done), gaps(done)) == (3, [2], [])


@both
def test_a_prepared_xa_transaction_comes_when_it_is_committed(flavour: Flavour) -> None:
    """Its rows stand where they became visible, under the commit's name; two that wait at once stay apart."""
    log = Log(flavour)
    prepare(log, 1)
    prepare(log, 10, xid=b"y")
    log.insert(2)
    finish(log, xid=b"y")
    name = finish(log)
    log.insert(3)
    done = assemble(log)
    assert ([ids([one]) for one in done], gaps(done)) == ([[], [], [2], [10], [1], [3]], [])
    assert done[4].fingerprint.gtid == name


@both
def test_the_oldest_prepared_xa_transaction_is_known(flavour: Flavour) -> None:
    """From its prepare to its end every transaction says where a reader must begin so as to have its rows."""
    log = Log(flavour)
    log.insert(1)
    begin = log.offset
    prepare(log, 2)
    second = log.offset
    prepare(log, 3, xid=b"y")
    log.insert(4)
    finish(log)
    finish(log, "ROLLBACK", xid=b"y")
    done = assemble(log)
    held = [one.held.offset if one.held else None for one in done]
    assert held == [None, begin, begin, begin, second, None]
    assert done[1].held == done[1].start


@both
@pytest.mark.parametrize("sql", ["XA COMMIT X'79',X'',1", "XA COMMIT 'of another form'"])
def test_the_commit_of_an_unknown_xa_transaction_is_a_gap(flavour: Flavour, sql: str) -> None:
    """It was prepared before the stream began: nobody knows which channels its rows belong to."""
    log = Log(flavour)
    prepare(log, 1)
    log.gtid(standalone=True)
    log.query(sql)
    done = assemble(log, captures=[ORDERS, PARTS])
    assert [channel for channel, _ in gaps(done)] == ["orders", "parts"]


@both
def test_an_xa_transaction_too_large_to_wait_is_a_gap(flavour: Flavour, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded: what does not fit beside the others becomes a gap on its channel, at its commit."""
    monkeypatch.setattr(xa, "HELD_BYTES", 200)
    log = Log(flavour)
    prepare(log, 1)
    prepare(log, 2, xid=b"y")
    finish(log)
    finish(log, xid=b"y")
    prepare(log, 3)
    finish(log)
    done = assemble(log, captures=[ORDERS, PARTS])
    assert [(ids([one]), [channel for channel, _ in gaps([one])]) for one in done] == [
        ([], []), ([], []), ([1], []), ([], ["orders"]), ([], []), ([3], []),
    ]  # fmt: skip


def test_an_xa_transaction_committed_in_one_phase_gives_its_rows() -> None:
    """MySQL logs it as a prepare that says that it commits."""
    log = Log("mysql")
    prepare(log, 1, one_phase=True)
    log.insert(2)
    done = assemble(log)
    assert (ids(done), gaps(done), done[0].held) == ([1, 2], [], None)


# Positions


@both
def test_boundaries_meet(flavour: Flavour) -> None:
    """Each transaction begins where its GTID event does and ends behind its commit."""
    log = Log(flavour)
    begins = []
    for number in range(3):
        begins.append(log.offset)
        log.insert(number)
    done = assemble(log)
    assert [one.start.offset for one in done] == begins
    assert [one.end.offset for one in done] == [*begins[1:], log.offset]
    assert [one.end.gtid for one in done][:-1] == [one.start.gtid for one in done][1:]


@both
def test_a_new_file_is_followed(flavour: Flavour) -> None:
    """Positions behind a rotate name the next file."""
    first, second = Log(flavour), Log(flavour, file="binlog.000002")
    first.insert(1)
    first.add(ev.ROTATE, (4).to_bytes(8, "little") + b"binlog.000002")
    second.insert(2)
    machine = assembler(first)
    done = [one for one in map(machine.feed, first.sent_from(4) + second.sent_from(4)) if one]
    assert [one.end.file for one in done] == ["binlog.000001", "binlog.000002"]
    assert done[1].start.offset == second.placed[2].begin


@both
def test_a_reader_by_file_learns_the_gtids_where_a_file_begins(flavour: Flavour) -> None:
    """Until then its positions have none; from then on they name every domain or source."""
    log = Log(flavour)
    log.insert(1)
    if flavour == "mariadb":
        log.add(ev.MARIADB_GTID_LIST, struct.pack("<IIIQIIQ", 2, 0, 1, 1, 7, 3, 9))
    else:
        source = bytes.fromhex(forge.UUID.replace("-", ""))
        log.add(ev.PREVIOUS_GTIDS, struct.pack("<Q16sQQQ", 1, source, 1, 1, 2), flags=ev.IGNORABLE_FLAG)
    log.insert(2)
    middle = Position(log.file, log.placed[2].begin)
    done = assemble(log, middle)
    newest = "0-1-2,7-3-9" if flavour == "mariadb" else f"{forge.UUID}:1-2"
    assert [one.end.gtid for one in done] == [None, newest]


def test_without_gtids_only_file_and_offset_count() -> None:
    """MySQL with gtid_mode=OFF: transactions are anonymous, positions and fingerprints have no GTID."""
    log = Log("mysql", gtids=False)
    log.insert(1)
    (done,) = assemble(log)
    assert (ids([done]), done.fingerprint.gtid, done.end) == ([1], None, Position(log.file, log.offset))


def test_a_tagged_gtid_leaves_file_and_offset() -> None:
    """Tags (MySQL 8.3 on) cannot be asked for by GTID; rows arrive, positions go on without."""
    log = Log("mysql")
    log.insert(1)
    begin = log.offset
    log.add(ev.GTID_TAGGED, bytes(40))
    log.query("BEGIN")
    log.table()
    log.rows(image(2, "tagged"))
    log.xid()
    log.insert(3)
    done = assemble(log)
    assert (ids(done), gaps(done)) == ([1, 2, 3], [])
    assert [one.end.gtid for one in done] == [f"{forge.UUID}:1", None, None]
    assert [one.fingerprint.gtid for one in done] == [f"{forge.UUID}:1", None, f"{forge.UUID}:2"]
    assert done[1].start == Position(log.file, begin)


@both
def test_a_heartbeat_only_moves_the_place(flavour: Flavour) -> None:
    """It says how far the server has read, in the middle of nothing."""
    log = Log(flavour)
    machine = assembler(log)
    for data in log.sent_from(4):
        machine.feed(data)
    assert machine.feed(forge.event(ev.HEARTBEAT, b"binlog.000009", end=777, timestamp=0)) is None
    assert (machine.file, machine.offset) == ("binlog.000009", 777)


def test_commit_times_are_as_exact_as_the_server_tells() -> None:
    """Whole seconds of the header on MariaDB, microseconds of the GTID event on MySQL."""
    maria, mysql = Log("mariadb"), Log("mysql")
    maria.insert(1)
    mysql.insert(1)
    assert [one.committed for one in assemble(maria) + assemble(mysql)] == [1700000000.0, 1700000000.123456]


@both
def test_fingerprints_tell_transactions_apart(flavour: Flavour) -> None:
    """Another value, another time or another GTID is another transaction; the same rows cut differently are not."""

    def fingerprint(name: str, *, split: bool = False, timestamp: int = 1700000000) -> object:
        log = Log(flavour, gtids=flavour == "mariadb")
        log.begin()
        log.table()
        if split:
            log.rows(image(1, "x"))
            log.rows(image(2, name))
        else:
            log.rows(image(1, "x"), image(2, name))
        log.add(ev.XID, bytes(8), timestamp=timestamp)
        return assemble(log)[0].fingerprint

    assert fingerprint("a") == fingerprint("a", split=True)
    assert len({fingerprint("a"), fingerprint("b"), fingerprint("a", timestamp=1700000001)}) == 3


# Whatever the stream, whatever the cut

TRANSACTIONS: dict[str, Callable[[Log, int], object]] = {}


def transaction(write: Callable[[Log, int], object]) -> Callable[[Log, int], object]:
    TRANSACTIONS[write.__name__] = write
    return write


@transaction
def insert(log: Log, number: int) -> None:
    log.insert(number)


@transaction
def insert_in_pieces(log: Log, number: int) -> None:
    log.begin()
    log.table()
    for piece in range(4):
        log.rows(image(number * 100 + piece, "piece"))
    log.xid()


@transaction
def insert_elsewhere(log: Log, _: int) -> None:
    log.begin()
    log.table(9, "shop", "other")
    log.rows(b"\0zzz", table_id=9)
    log.xid()


@transaction
def insert_without_transactions(log: Log, number: int) -> None:
    log.begin()
    log.table()
    log.rows(image(number, "MyISAM"))
    log.query("COMMIT")


@transaction
def roll_back(log: Log, number: int) -> None:
    log.begin()
    log.table()
    log.rows(image(number, "undone"))
    log.query("ROLLBACK")


@transaction
def die_in_the_middle(log: Log, number: int) -> None:
    log.begin()
    log.table()
    log.rows(image(number, "half"))


@transaction
def undo_a_part(log: Log, number: int) -> None:
    log.begin()
    log.table()
    log.rows(image(number, "kept"))
    log.query("SAVEPOINT `s`")
    log.rows(image(number, "undone"))
    log.query("ROLLBACK TO `s`")
    log.xid()


@transaction
def alter(log: Log, _: int) -> None:
    log.ddl("ALTER TABLE orders ADD z INT")


@transaction
def write_by_statement(log: Log, _: int) -> None:
    log.begin()
    log.query("INSERT INTO orders VALUES (1)")
    log.xid()


@transaction
def compress(log: Log, number: int) -> None:
    log.gtid()
    log.add(ev.TRANSACTION_PAYLOAD, forge.payload(*forge.insert_events(number)))


@transaction
def compress_badly(log: Log, _: int) -> None:
    log.gtid(standalone=True)
    log.add(ev.TRANSACTION_PAYLOAD, b"zstd")


@transaction
def prepare_xa(log: Log, number: int) -> None:
    prepare(log, number)


@transaction
def commit_xa(log: Log, _: int) -> None:
    finish(log)


@transaction
def roll_back_xa(log: Log, _: int) -> None:
    finish(log, "ROLLBACK")


def seen(done: Sequence[Committed]) -> list[tuple[object, ...]]:
    """What the journal would be given."""
    return [(one.changes, one.end, one.fingerprint, one.committed) for one in done]


@both
@settings(max_examples=30)
@given(st.lists(st.sampled_from(sorted(TRANSACTIONS)), min_size=1, max_size=8), st.booleans())
def test_every_cut_resumes_to_the_same_transactions(flavour: Flavour, names: list[str], by_file: bool) -> None:
    """Cut at any event, a new reader by GTID or by file and offset completes the same list.

    It begins at the last transaction, or at the oldest XA transaction that is prepared, and is sent the last one again.
    """
    log = Log(flavour)
    for number, name in enumerate(names):
        TRANSACTIONS[name](log, number)
    whole = assemble(log, Position(log.file, 4) if by_file else None)
    for cut in range(len(log.placed) + 1):
        machine = assembler(log, Position(log.file, 4) if by_file else None)
        done = [one for one in map(machine.feed, log.sent_from(4)[:cut]) if one]
        assert seen(done) == seen(whole[: len(done)])
        if done:
            begin = done[-1].held or done[-1].start
            again = assemble(log, begin)
            known = [one.start for one in whole].index(begin)
            assert again[len(done) - known - 1].fingerprint == done[-1].fingerprint
            assert seen(done + again[len(done) - known :]) == seen(whole)


# Damage


@both
def test_damage_is_an_error(flavour: Flavour) -> None:
    """An event whose checksum fails is not used."""
    log = Log(flavour)
    log.insert(1)
    begin, data = log.placed[-2]
    log.placed[-2] = forge.Placed(begin, data[:-6] + b"!" + data[-5:])
    with pytest.raises(MalformedEvent, match="fails its checksum"):
        assemble(log)


@both
def test_a_log_without_checksums_is_read(flavour: Flavour) -> None:
    """Each file's format says whether its events have them, and the server's first, artificial event always has."""
    log = Log(flavour)
    log.insert(1)
    log.placed[0] = forge.Placed(4, forge.event(ev.FORMAT_DESCRIPTION, forge.format_description(checksum=False)))
    damaged = log.placed[0].data[:-4] + b"old!"  # servers change the event before they send it
    sent = log.sent_from(4)
    machine = assembler(log)
    done = [machine.feed(data) for data in [sent[0], damaged, *[data[:-4] for data in sent[2:]]]]
    assert ids([one for one in done if one]) == [1]


FUZZED = (
    ID,
    NAME,
    Field("d", t.NEWDECIMAL, b"\x0a\x02"),
    Field("j", t.JSON, b"\4"),
    Field("s", t.STRING, b"\xfe\x28", collation=63),
    Field("t", t.TIME2, b"\3"),
    Field("b", t.BIT, b"\1\1"),
)


@both
@given(st.data())
def test_no_bytes_raise_anything_but_ours(flavour: Flavour, data: st.DataObject) -> None:
    """Events with a right checksum and wrong bytes end in a row, a gap or a SourceError, never in another exception."""
    log = Log(flavour)
    log.begin()
    log.table(7, "shop", "orders", *FUZZED)
    log.rows(b"\0" + b"\1\0\0\0" + b"\2ab" + b"\x80\0\0\0\1\2" + b"\7\0\0\0\0\1\0\7\0\4\0\0" + bytes(20), columns=7)
    log.xid()
    which = data.draw(st.integers(0, len(log.placed) - 1))
    begin, good = log.placed[which]
    header = ev.parse_header(good)
    body = bytearray(good[ev.HEADER_SIZE : -4])
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    size = data.draw(st.integers(0, len(body)) | st.just(len(body)))
    bad = forge.event(header.kind, bytes(body[:size]), end=header.end, flags=header.flags)
    log.placed[which] = forge.Placed(begin, bad)
    with contextlib.suppress(SourceError):
        assemble(log)
