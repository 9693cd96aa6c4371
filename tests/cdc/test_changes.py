"""Updates and deletes, as the log has them, of both servers."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cdc import events as ev
from cdc.tables import Capture
from journal.types import DELETE, INSERT, UPDATE
from tests.cdc.database import NAME, Database, gaps, story
from tests.cdc.forge import ID, Log, assemble, deflated, image, length, rows, table_map
from tests.cdc.forge import NAME as TEXT

ALL = (INSERT, UPDATE, DELETE)
TABLE = "CREATE TABLE t (id INT PRIMARY KEY, a INT, b VARCHAR(20), c JSON)"
ORDERS = Capture("orders", "shop", "orders", ALL)


def test_updates_say_what_changed_and_deletes_what_was(database: Database) -> None:
    """An update gives the row as it is and the changed columns as they were, a delete the row as it was."""
    database.run(TABLE)
    start = database.end()
    database.run(
        """INSERT INTO t VALUES (1, 10, 'one', '{"x": 1}'), (2, 20, NULL, NULL)""",
        "UPDATE t SET a = a + 1",
        """UPDATE t SET b = 'two', c = '{"x": 2}' WHERE id = 2""",
        """UPDATE t SET b = NULL, c = '{"x": 3}' WHERE id = 1""",
        "UPDATE t SET id = 3 WHERE id = 2",
        "UPDATE t SET a = a",
        "DELETE FROM t WHERE id = 1",
    )
    one = {"id": 1, "a": 11, "b": None, "c": {"x": 3}}
    two = {"id": 2, "a": 21, "b": "two", "c": {"x": 2}}
    assert story(database.read(start, "t", events=ALL)) == [
        ("insert", {"id": 1, "a": 10, "b": "one", "c": {"x": 1}}),
        ("insert", {"id": 2, "a": 20, "b": None, "c": None}),
        ("update", {"id": 1, "a": 11, "b": "one", "c": {"x": 1}}, {"a": 10}),
        ("update", {"id": 2, "a": 21, "b": None, "c": None}, {"a": 20}),
        ("update", two, {"b": None, "c": None}),
        ("update", one, {"b": "one", "c": {"x": 1}}),
        ("update", two | {"id": 3}, {"id": 2}),
        ("delete", one),
    ]


@pytest.mark.parametrize("events", [(INSERT,), (UPDATE,), (DELETE,), (INSERT, DELETE)])
def test_a_channel_gets_the_kinds_it_wants(maria: Database, events: tuple[str, ...]) -> None:
    """The others pass without a trace."""
    maria.run(TABLE)
    start = maria.end()
    maria.run("INSERT INTO t (id) VALUES (1)", "UPDATE t SET a = 1", "DELETE FROM t")
    assert [op for op, *_ in story(maria.read(start, "t", events=events))] == list(events)


def test_an_update_of_columns_that_are_not_carried_is_none(database: Database) -> None:
    """Only a change that the subscriber can see is one; ``old`` holds carried columns alone."""
    database.run(TABLE)
    start = database.end()
    database.run("INSERT INTO t VALUES (1, 1, 'x', NULL)", "UPDATE t SET b = 'y'", "UPDATE t SET a = 2, b = 'z'")
    arrived = story(database.read(start, "t", events=ALL, columns=("id", "a")))
    assert arrived == [("insert", {"id": 1, "a": 1}), ("update", {"id": 1, "a": 2}, {"a": 1})]


def test_replace_and_on_duplicate_key_are_what_the_log_has(database: Database) -> None:
    """On an existing row an update; a REPLACE that hits another key than the last deletes and inserts."""
    database.run("CREATE TABLE t (id INT PRIMARY KEY, n INT)")
    start = database.end()
    database.run(
        "REPLACE INTO t VALUES (1, 0)",
        "REPLACE INTO t VALUES (1, 1)",
        "INSERT INTO t VALUES (1, 5) ON DUPLICATE KEY UPDATE n = n + 1",
        "INSERT INTO t VALUES (2, 0) ON DUPLICATE KEY UPDATE n = n + 1",
        "INSERT IGNORE INTO t VALUES (2, 7)",
        "ALTER TABLE t ADD u INT UNIQUE",
        "REPLACE INTO t VALUES (1, 2, 10)",
        "REPLACE INTO t VALUES (2, 3, 10)",
    )
    told = story(database.read(start, "t", events=ALL))
    assert told[:6] == [
        ("insert", {"id": 1, "n": 0}),
        ("update", {"id": 1, "n": 1}, {"n": 0}),
        ("update", {"id": 1, "n": 2}, {"n": 1}),
        ("insert", {"id": 2, "n": 0}),
        ("delete", {"id": 1, "n": 2, "u": None}),
        ("insert", {"id": 1, "n": 2, "u": 10}),
    ]
    assert applied(told) == {2: {"id": 2, "n": 3, "u": 10}}


def applied(told: list[tuple[object, ...]]) -> dict[int, dict[str, int]]:
    """The table that somebody keeps who follows the changes."""
    table: dict[int, dict[str, int]] = {}
    for op, row, *old in told:
        assert isinstance(row, dict)
        if op != INSERT:
            before = row | (old[0] if old else {})  # type: ignore[operator]
            del table[before["id"]]
        if op != DELETE:
            table[row["id"]] = row
    return table


def test_rolled_back_changes_are_none(database: Database) -> None:
    """Nor are those behind a savepoint that was gone back to."""
    database.run(TABLE, "INSERT INTO t (id, a) VALUES (1, 1), (2, 2)")
    start = database.end()
    database.run("BEGIN", "UPDATE t SET a = 9", "ROLLBACK")
    database.run("BEGIN", "DELETE FROM t WHERE id = 1", "SAVEPOINT s", "DELETE FROM t", "ROLLBACK TO s", "COMMIT")
    assert [op for op, *_ in story(database.read(start, "t", events=ALL))] == ["delete"]


def test_generated_columns_change_with_the_others(database: Database) -> None:
    """Virtual and stored alike, before and after."""
    database.run("CREATE TABLE t (id INT PRIMARY KEY, a INT, v INT AS (a * 2) VIRTUAL, s INT AS (a * 3) STORED)")
    start = database.end()
    database.run("INSERT INTO t (id, a) VALUES (1, 1)", "UPDATE t SET a = 2", "DELETE FROM t")
    assert story(database.read(start, "t", events=ALL))[1:] == [
        ("update", {"id": 1, "a": 2, "v": 4, "s": 6}, {"a": 1, "v": 2, "s": 3}),
        ("delete", {"id": 1, "a": 2, "v": 4, "s": 6}),
    ]


def test_packed_changes_are_read(database: Database) -> None:
    """MariaDB packs rows events, MySQL whole transactions."""
    packing = "log_bin_compress" if database.flavour == "mariadb" else "binlog_transaction_compression"
    wide = "x" * 2000
    database.run(f"SET GLOBAL {packing} = 1")
    try:
        with database.session(f"SET SESSION {packing} = 1" if database.flavour == "mysql" else "DO 1") as session:
            database.run("CREATE TABLE t (id INT PRIMARY KEY, a TEXT)")
            start = database.end()
            for sql in (f"INSERT INTO t VALUES (1, '{wide}')", f"UPDATE t SET a = '{wide}y'", "DELETE FROM t"):
                session.query(sql)
            arrived = story(database.read(start, "t", events=ALL))
    finally:
        database.run(f"SET GLOBAL {packing} = 0")
    assert arrived == [
        ("insert", {"id": 1, "a": wide}),
        ("update", {"id": 1, "a": wide + "y"}, {"a": wide}),
        ("delete", {"id": 1, "a": wide + "y"}),
    ]


# What cannot be told


@pytest.mark.parametrize("row_image", ["MINIMAL", "NOBLOB"])
def test_an_incomplete_row_image_is_a_gap(database: Database, row_image: str) -> None:
    """It says what mends it; an insert under MINIMAL may be whole, and then arrives."""
    database.run("CREATE TABLE t (id INT PRIMARY KEY, a INT, c TEXT)")
    start = database.end()
    with database.session(f"SET binlog_row_image = '{row_image}'") as session:
        for sql in ("INSERT INTO t VALUES (1, 1, 'x')", "UPDATE t SET a = 2", "DELETE FROM t"):
            session.query(sql)
    done = database.read(start, "t", events=ALL)
    assert story(done) == [("insert", {"id": 1, "a": 1, "c": "x"})]
    text = "test_cdc.t: the row image is not complete; SET GLOBAL binlog_row_image = 'FULL'"
    assert gaps(done) == [("t", text)] * 2


def test_partial_json_is_a_gap_that_names_it(oracle: Database) -> None:
    """MySQL may log what changed in a document instead of the document; a channel of inserts is not concerned."""
    oracle.run(TABLE, """INSERT INTO t VALUES (1, 1, 'x', '{"a": 1, "b": "a long text that is not logged again"}')""")
    start = oracle.end()
    with oracle.session("SET binlog_row_value_options = 'PARTIAL_JSON'") as session:
        session.query("UPDATE t SET c = JSON_SET(c, '$.a', 2)")
    oracle.run("UPDATE t SET a = 2")
    done = oracle.read(start, "t", events=ALL)
    ((channel, why),) = gaps(done)
    assert channel == "t"
    assert why.startswith("test_cdc.t: ")
    assert why.endswith("SET GLOBAL binlog_row_value_options = ''")
    assert [op for op, *_ in story(done)] == ["update"]
    assert gaps(oracle.read(start, "t")) == []


EMPTYING = [
    "TRUNCATE t",
    "truncate table `t`",
    "/* why */ TRUNCATE TABLE test_cdc.t",
    "DROP TABLE u, t",
    "DROP TABLE IF EXISTS `test_cdc`.`t`",
    "ALTER TABLE t TRUNCATE PARTITION p0",
    "ALTER TABLE t DROP PARTITION p0",
    "DROP DATABASE test_cdc",
]
HARMLESS = ["TRUNCATE u", "DROP TABLE u", "ALTER TABLE t ADD x INT", "ALTER TABLE t DROP a", "DROP TABLE other.t"]


def test_rows_that_vanish_unlogged_are_a_gap(database: Database) -> None:
    """TRUNCATE and DROP log no deletes: a channel that carries deletes is told, one without is not concerned."""
    database.run("DROP DATABASE IF EXISTS other")
    start = database.end()
    for sql in (*HARMLESS, *EMPTYING):
        database.run(
            f"CREATE DATABASE IF NOT EXISTS {NAME}",
            f"USE {NAME}",
            "CREATE DATABASE IF NOT EXISTS other",
            "CREATE TABLE IF NOT EXISTS other.t (a INT)",
            "CREATE TABLE IF NOT EXISTS t (id INT, a INT) PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (10),"
            " PARTITION p1 VALUES LESS THAN (20))",
            "CREATE TABLE IF NOT EXISTS u (a INT)",
            "INSERT INTO t (id) VALUES (11)",
            sql,
        )
    database.run(f"CREATE DATABASE {NAME}", f"USE {NAME}", "DROP DATABASE other")
    told = gaps(database.read(start, "t", events=ALL))
    assert [why.partition(": ")[2] for _, why in told] == [sql.split()[0] for sql in EMPTYING]  # browsers see no more
    assert {channel for channel, _ in told} == {"t"}
    assert gaps(database.read(start, "t")) == []


# Forged: what our servers do not write


@contextmanager
def transaction(log: Log) -> Iterator[None]:
    """A transaction over shop.orders."""
    log.begin()
    log.table()
    yield
    log.xid()


def test_both_versions_of_the_events_are_read() -> None:
    """Version 1 lacks the extra data before the bitmaps; MariaDB's packed kinds unpack to either."""
    before, after = image(1, "old"), image(1, "new")
    log = Log("mariadb")
    for update, delete in ((ev.UPDATE_ROWS_V1, ev.DELETE_ROWS_V1), (ev.UPDATE_ROWS, ev.DELETE_ROWS)):
        with transaction(log):
            log.rows(before, after, kind=update)
            log.rows(after, kind=delete)
    for packed, update in ((167, ev.UPDATE_ROWS_V1), (170, ev.UPDATE_ROWS)):
        body = rows(7, 2, b"", update)
        with transaction(log):
            log.add(packed, body + deflated(before + after))
    done = assemble(log, captures=[ORDERS])
    changed = ("update", {"id": 1, "name": "new"}, {"name": "old"})
    gone = ("delete", {"id": 1, "name": "new"})
    assert (story(done), gaps(done)) == ([changed, gone, changed, gone, changed, changed], [])


def test_an_update_without_its_second_half_is_a_gap() -> None:
    """The images come in pairs: half a pair is no update, and the stream lives on."""
    log = Log("mysql")
    with transaction(log):
        log.rows(image(1, "old"), kind=ev.UPDATE_ROWS)
    log.insert(2)
    done = assemble(log, captures=[ORDERS])
    assert [why for _, why in gaps(done)] == ["shop.orders: an update lacks the row as it became"]
    assert story(done) == [("insert", {"id": 2, "name": "row 2"})]


def test_images_of_different_columns_are_a_gap() -> None:
    """Newer servers may leave unchanged columns out of the second image alone."""
    log = Log("mariadb")
    with transaction(log):
        body = (7).to_bytes(6, "little") + b"\1\0\2\0" + length(2) + b"\xff" + b"\x01"
        log.add(ev.UPDATE_ROWS, body + image(1, "old") + b"\0" + struct.pack("<i", 1))
    done = assemble(log, captures=[ORDERS])
    assert [why for _, why in gaps(done)] == [
        "shop.orders: the row image is not complete; SET GLOBAL binlog_row_image = 'FULL'"
    ]


def test_a_shape_that_cannot_be_read_is_no_gap_for_what_is_not_wanted() -> None:
    """A channel of inserts hears nothing of deletes in a table without column names."""
    log = Log("mysql")
    log.begin()
    log.add(ev.TABLE_MAP, table_map(7, "shop", "orders", (ID, TEXT), named=False))
    log.rows(image(1, "x"), kind=ev.DELETE_ROWS)
    log.xid()
    assert gaps(assemble(log, captures=[ORDERS._replace(events=(INSERT,))])) == []
    assert len(gaps(assemble(log, captures=[ORDERS]))) == 1
