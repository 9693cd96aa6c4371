"""Types that MariaDB's log does not tell, of tables that are altered while their rows wait unread."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pytest

from cdc import events as ev
from cdc import excerpt, hidden, statements, tablemap
from cdc.control import ConnectArgs, Control
from cdc.events import Query
from cdc.position import Written, log_order
from cdc.tablemap import Column, TableMap
from journal.types import GAP
from tests.cdc.database import NAME, Database, rows
from tests.cdc.following import Follow, Following

UUID = "123e4567-e89b-12d3-a456-426655440000"
CREATE = "CREATE TABLE t (id INT PRIMARY KEY, {}, note VARCHAR(40))"


def insert(number: int, value: str) -> str:
    return f"INSERT INTO t VALUES ({number}, {value}, 'n')"


def told(following: Following, name: str = "v") -> list[Any]:
    """The column's values as they were published; a gap by the words of its detail."""
    messages = [json.loads(event.message) for event in following.published]
    return [message.get("detail", message.get(name)) for message in messages]


def ops(following: Following) -> list[str]:
    return [event.op for event in following.published]


class Case(NamedTuple):
    """A column, a value for it, what happens to the table, and what the row must be: read in the log, or now."""

    column: str
    value: str
    alter: Sequence[str]
    expected: Any
    maybe: str = ""


MAYBE_UUID = "UUID or INET6"
AMBIGUOUS = {
    "UUID to text": Case("v UUID", f"'{UUID}'", ["ALTER TABLE t MODIFY v VARCHAR(36)"], UUID, MAYBE_UUID),
    "UUID to INET6": Case("v UUID", f"'{UUID}'", ["ALTER TABLE t DROP v, ADD v INET6 AFTER id"], None, MAYBE_UUID),
    "UUID to bytes": Case("v UUID", f"'{UUID}'", ["ALTER TABLE t CHANGE v v BINARY(16)"], None, MAYBE_UUID),
    "bytes to UUID": Case("v BINARY(16)", "X'00'", ["ALTER TABLE t MODIFY `v` UUID"], None, MAYBE_UUID),
    "INET4 dropped": Case("v INET4", "'1.2.3.4'", ["ALTER TABLE t DROP v"], None, "INET4"),
    "JSON to text": Case("v JSON", "'[1]'", ["ALTER TABLE t MODIFY v LONGTEXT"], "[1]", "JSON"),
    "JSON without its check": Case(
        "v LONGTEXT, CONSTRAINT doc CHECK (json_valid(v))",
        "'[1]'",
        ["ALTER TABLE t DROP CONSTRAINT doc"],
        "[1]",
        "JSON",
    ),
    "text to JSON": Case("v LONGTEXT", "'[1]'", ["ALTER TABLE t MODIFY v JSON"], [1], "JSON"),
    "made anew": Case(
        "v LONGTEXT",
        "'[1]'",
        ["RENAME TABLE t TO old", CREATE.format("v JSON"), "INSERT INTO t SELECT * FROM old"],
        [1],
        "JSON",
    ),
}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("case", AMBIGUOUS.values(), ids=list(AMBIGUOUS))
async def test_what_cannot_be_known_is_a_gap(maria: Database, follow: Follow, case: Case) -> None:
    """Rows of before an ALTER that are first met behind it: one gap that says why, then the rows from the table."""
    maria.run(CREATE.format(case.column))
    async with follow(maria.origin("t", seed=10)) as before:
        await before.live()
        maria.run("INSERT INTO t (id) VALUES (0)")
        await before.count(1)
    maria.run(insert(1, case.value), insert(2, "NULL"), *case.alter)
    maria.run("INSERT INTO t (id, note) VALUES (9, 'last')")
    async with follow(maria.origin("t", seed=10)) as following:  # another process, which has met nothing
        await following.until(lambda: 9 in following.ids())
        await following.live()
        assert following.loop.missing == {}
    gap, *rest = told(following)
    assert gap.startswith(f"{NAME}.t: column v was altered before its rows were read")
    assert f"whether it was {case.maybe} when" in gap
    assert ops(following).count(GAP) == 1
    assert sorted(number for number in following.ids() if number) == [1, 2, 9]
    assert case.expected is None or case.expected in rest


@pytest.mark.parametrize(
    "case",
    [
        Case(
            "v JSON", "'[1]'", ["ALTER TABLE t ADD other INT AFTER v, MODIFY note VARCHAR(50), ADD INDEX (note)"], [1]
        ),
        Case("v UUID", f"'{UUID}'", ["ALTER TABLE t RENAME COLUMN note TO remark"], UUID),
        Case("v BINARY(16)", "X'00'", ["ALTER TABLE t DROP note, RENAME INDEX i TO j"], "A" * 22 + "=="),
        Case("v VARCHAR(9)", "'[1]'", ["ALTER TABLE t MODIFY v VARCHAR(300) CHARACTER SET latin1"], "[1]"),
        Case("v BINARY(8)", "X'00'", ["ALTER TABLE t MODIFY v BINARY(8) DEFAULT X'01'"], "AAAAAAAAAAA="),
        Case("v LONGBLOB", "X'00'", ["ALTER TABLE t MODIFY v BLOB"], "AA=="),
    ],
)
async def test_an_alter_that_changes_nothing_hidden_is_no_gap(maria: Database, follow: Follow, case: Case) -> None:
    """It does not name the column, or the column is of a kind that hides nothing: each row has the value of then."""
    maria.run(CREATE.format(f"{case.column}, INDEX i (id)"))
    following = follow(maria.origin("t"))
    async with following:
        await following.live()
    maria.run(insert(1, case.value), *case.alter, f"INSERT INTO t (id, v) VALUES (2, {case.value})")
    async with following:
        await following.count(2)
    assert ops(following) == ["insert", "insert"]
    assert told(following) == [case.expected] * 2


async def test_what_was_known_once_stays_known(maria: Database, follow: Follow) -> None:
    """Rows of a shape that was met before its ALTER are as they were, also when they are read behind it."""
    maria.run(CREATE.format("v UUID"))
    following = follow(maria.origin("t"))
    async with following:
        await following.live()
        maria.run(insert(1, f"'{UUID}'"))
        await following.count(1)
    maria.run(insert(2, f"'{UUID}'"), "ALTER TABLE t MODIFY v BINARY(16)", insert(3, "X'00'"))
    async with following:
        await following.count(3)
    assert told(following) == [UUID, UUID, "A" * 22 + "=="]


@pytest.mark.parametrize(
    "alter", ["ALTER TABLE t MODIFY v UUID", "DROP TABLE t", "RENAME TABLE t TO s", f"DROP DATABASE {NAME}"]
)
async def test_an_alter_that_the_log_does_not_show_is_met(maria: Database, follow: Follow, alter: str) -> None:
    """Table maps before and behind it are alike: what was learnt before does not count behind it."""
    maria.run(CREATE.format("v BINARY(16)"))
    async with follow(maria.origin("t")) as following:
        await following.live()
        maria.run(insert(1, "X'00'"))
        await following.count(1)
        maria.run(alter, f"CREATE DATABASE IF NOT EXISTS {NAME}", f"USE {NAME}")
        maria.run(CREATE.format("v UUID").replace("TABLE t", "TABLE IF NOT EXISTS t"))
        maria.run(insert(2, f"'{UUID}'"))
        await following.count(2)
    assert told(following) == ["A" * 22 + "==", UUID]


async def test_compressed_statements_are_looked_at_too(maria: Database, follow: Follow) -> None:
    """With log_bin_compress an ALTER is no plain text in the log."""
    maria.run(CREATE.format("v JSON"))
    following = follow(maria.origin("t", seed=10))
    async with following:
        await following.live()
    maria.run("SET GLOBAL log_bin_compress_min_len = 10", "SET GLOBAL log_bin_compress = ON")
    try:
        with maria.session(insert(1, "'[1]'"), "ALTER TABLE t MODIFY v LONGTEXT /* of old */"):
            pass
    finally:
        maria.run("SET GLOBAL log_bin_compress = OFF", "SET GLOBAL log_bin_compress_min_len = 256")
    async with following:
        await following.until(lambda: following.ids() == [1])
    assert ops(following) == [GAP, "read"]


def test_a_table_that_is_older_than_its_rows_vouches_for_itself(
    maria: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log is not read a second time for rows that were written some time after the last ALTER."""
    maria.run(CREATE.format("v UUID"), "CREATE TABLE other (a INT) ENGINE=Aria")
    with Control(maria.arguments) as control:
        defined = control.defined(NAME, "t")
        assert defined is not None
        assert abs(defined[0] - time.time()) < 600
        assert defined[1] == int(maria.value("SELECT @@server_id"))
        assert [control.defined(NAME, name) for name in ("other", "nothing")] == [None, None]
    monkeypatch.setattr(excerpt, "alterations", None)
    start = maria.end()
    maria.run("SET timestamp = UNIX_TIMESTAMP() + 60", insert(1, f"'{UUID}'"))
    assert [row["v"] for row in rows(maria.read(start, "t"))] == [UUID]
    for doubtful in ("timestamp = DEFAULT", "timestamp = UNIX_TIMESTAMP() + 60, server_id = 77"):
        start = maria.end()
        maria.run(f"SET {doubtful}", "DELETE FROM t", insert(1, f"'{UUID}'"))
        with pytest.raises(TypeError):
            maria.read(start, "t")


def test_a_table_whose_text_cannot_be_json_vouches_for_itself_too(
    maria: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A VARCHAR without a check is text today and was text before any ALTER, as far as anybody is told."""
    maria.run("CREATE TABLE t (v VARCHAR(30), w BINARY(8))")
    monkeypatch.setattr(excerpt, "alterations", None)
    start = maria.end()
    maria.run("INSERT INTO t VALUES ('[1]', X'00')", "ALTER TABLE t MODIFY v VARCHAR(31)")
    assert rows(maria.read(start, "t")) == [{"v": "[1]", "w": "AAAAAAAAAAA="}]


def test_an_answer_about_a_log_that_is_no_more_is_not_kept(maria: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log was begun anew while a reader asked: its answer is for places of the log before, where other rows lie."""
    maria.run(CREATE.format("v JSON"))
    asked = []

    def learn(table: TableMap, written: Written, connect: ConnectArgs) -> Mapping[str, str]:
        asked.append(written)
        if len(asked) == 1:
            known.follow("")
        return types(table, written, connect)

    types, known = hidden._learn, hidden.HiddenTypes()
    monkeypatch.setattr(hidden, "_learn", learn)
    known.follow("server")
    table = TableMap(NAME, "t", (Column("v", tablemap.LONG_BLOB, b"\4", nullable=True, collation=45),), named=True)
    written = Written("log.000001", 4, int(time.time()) + 7200, 1)
    for times in (1, 2, 2):
        assert known.of(table, written, maria.arguments) == {"v": "json"}
        assert len(asked) == times


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("ALTER TABLE t MODIFY v INT", True),
        ("alter online ignore table shop.T modify v int", True),
        ("SET STATEMENT max_statement_time=1 FOR ALTER TABLE t ADD x INT", True),
        ("/*!100000 ALTER TABLE `t` ADD x INT */", True),
        ("RENAME TABLE s TO t", True),
        ("DROP DATABASE shop", True),
        ("CREATE OR REPLACE TABLE t (a INT)", True),
        ("ALTER TABLE tt MODIFY v INT", False),
        ("CREATE INDEX i ON t (v)", False),
        ("GRANT SELECT ON shop.t TO x", False),
        ("TRUNCATE t", False),
    ],
)
def test_statements_that_reshape_a_table(sql: str, expected: bool) -> None:
    """By any name that it may stand under; in another schema only when it says so."""
    assert statements.reshapes(Query("shop", sql), "shop", "t") is expected
    assert statements.reshapes(Query("other", sql), "shop", "t") is (expected and "shop" in sql)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("ALTER TABLE t CHANGE `V` w INT", True),
        ("ALTER TABLE t ADD x INT AFTER v", False),
        ("ALTER TABLE t ADD vv INT", False),
        ("ALTER TABLE t DROP CONSTRAINT c", True),
        ("ALTER TABLE t RENAME TO u", True),
        ("ALTER TABLE t RENAME COLUMN a TO b, RENAME INDEX i TO j", False),
        ("DROP TABLE t", True),
    ],
)
def test_statements_that_may_retype_a_column(sql: str, expected: bool) -> None:
    """Those that name it, are about checks, or put another table in its place."""
    assert statements.may_retype(sql, "v") is expected


def test_a_second_look_ends_where_it_was_told(maria: Database) -> None:
    """It tells the events of the types that were asked for between the two places, and none behind them."""
    maria.run("CREATE TABLE t (id INT)")
    start = maria.end()
    maria.run("INSERT INTO t VALUES (1)", "ALTER TABLE t ADD x INT", "INSERT INTO t VALUES (2, 2)")
    end = maria.end()
    maria.run("ALTER TABLE t ADD y INT", "INSERT INTO t VALUES (3, 3, 3)")
    found = list(excerpt.between(maria.arguments, "mariadb", start, end, (ev.QUERY,)))
    assert [ev.parse_query(one.body).sql for one in found] == ["ALTER TABLE t ADD x INT"]
    maps = list(excerpt.between(maria.arguments, "mariadb", start, end, (ev.TABLE_MAP, ev.XID)))
    assert [one.kind for one in maps] == [ev.TABLE_MAP, ev.XID] * 2
    assert maps[-1].end == log_order(end.file, end.offset)
