from __future__ import annotations

import json

import pytest

from cdc import events as ev
from cdc import tablemap as t
from cdc.committed import Unread
from cdc.errors import MalformedEvent
from cdc.position import Flavour
from cdc.rows import Decoder
from cdc.tablemap import TableMap
from cdc.tables import Capture
from journal.types import GAP, INSERT
from tests.cdc import forge
from tests.cdc.forge import ID, NAME, ORDERS, PARTS, Field, Log, assemble, assembler, gaps, ids, image

both = pytest.mark.parametrize("flavour", ["mariadb", "mysql"])


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
@pytest.mark.parametrize("odd", [ODD["of the future"], ODD["old time"]], ids=["of the future", "old time"])
def test_a_captured_column_that_nobody_decodes_is_a_gap(flavour: Flavour, odd: Field) -> None:
    """One gap for each transaction, on that table's channel only, that names table, column and type."""
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
    assert f"shop.parts: column {odd.name} (type {odd.type}) cannot be decoded" in detail


@both
def test_without_names_such_a_column_is_told_by_its_place(flavour: Flavour) -> None:
    """With binlog_row_metadata=MINIMAL the log has no names."""
    log = Log(flavour)
    log.begin()
    log.add(ev.TABLE_MAP, forge.table_map(8, "shop", "parts", (ID, ODD["of the future"]), named=False))
    log.rows(b"\0anything", table_id=8)
    log.xid()
    ((_, detail),) = gaps(assemble(log, captures=[PARTS]))
    assert "shop.parts: column number 2 (type 201)" in detail


@both
def test_an_update_of_such_a_table_is_no_gap(flavour: Flavour) -> None:
    """Only inserts are promised, so only they can be missing."""
    log = Log(flavour)
    log.begin()
    log.table(8, "shop", "parts", ODD["of the future"])
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
    assert done[0].unread["orders"] == Unread(f"{detail}, at {name}", mendable=True)


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
