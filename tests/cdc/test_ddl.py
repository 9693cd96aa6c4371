"""The table changes while its rows wait in the log unread: what was written then arrives as it was then."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cdc.position import Fingerprint
from journal.types import GAP, Transaction
from tests.cdc.database import NAME, Database
from tests.cdc.following import TABLE, Follow, Following, insert

ALL = ("insert", "update", "delete")


def messages(following: Following) -> list[dict[str, Any]]:
    """The rows that were published."""
    return [json.loads(event.message) for event in following.published if event.op != GAP]


def ops(following: Following) -> list[str]:
    return [event.op for event in following.published]


async def test_a_backlog_has_names_order_and_types_of_then(database: Database, follow: Follow) -> None:
    """Added, renamed, moved, retyped, in another character set, dropped: each row has the columns that it had."""
    database.run("CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(10) CHARACTER SET latin1, n SMALLINT)")
    following = follow(database.origin("t"))
    async with following:
        await following.live()
    database.run(
        "INSERT INTO t VALUES (1, '€', -1)",
        "ALTER TABLE t ADD flag ENUM('no', 'yes') DEFAULT 'yes' FIRST",
        "INSERT INTO t (id, name, n) VALUES (2, 'ü', -2)",
        "ALTER TABLE t RENAME COLUMN name TO title, MODIFY n SMALLINT FIRST",
        "INSERT INTO t (id, title, n) VALUES (3, 'ü', -3)",
        "ALTER TABLE t MODIFY title VARCHAR(300) CHARACTER SET utf8mb4, MODIFY n DECIMAL(6,2)",
        "INSERT INTO t (id, title, n) VALUES (4, '日', 4)",
        "ALTER TABLE t MODIFY id BIGINT UNSIGNED, DROP flag",
        "INSERT INTO t (id, title, n) VALUES (18446744073709551615, NULL, NULL)",
    )
    async with following:
        await following.count(5)
    expected = [
        {"id": 1, "name": "€", "n": -1},
        {"flag": "yes", "id": 2, "name": "ü", "n": -2},
        {"n": -3, "flag": "yes", "id": 3, "title": "ü"},
        {"n": "4.00", "flag": "yes", "id": 4, "title": "日"},
        {"n": None, "id": 18446744073709551615, "title": None},
    ]
    assert [list(row.items()) for row in messages(following)] == [list(row.items()) for row in expected]


async def test_a_dropped_table_s_backlog_arrives(database: Database, follow: Follow) -> None:
    """Rows of a table that is gone, and of the one that was made in its place with other columns and the same keys."""
    database.run(TABLE)
    following = follow(database.origin("t", events=ALL))
    async with following:
        await following.live()
    database.run(
        *insert(1, 2),
        "DROP TABLE t",
        "CREATE TABLE t (code VARCHAR(5) PRIMARY KEY, id INT, data JSON)",
        """INSERT INTO t VALUES ('a', 1, '{"x": [1]}')""",
    )
    async with following:
        await following.count(4)
        database.run("UPDATE t SET id = 2", "DROP TABLE t")
        await following.count(6)
        await following.live()
    assert ops(following) == ["insert", "insert", GAP, "insert", "update", GAP]
    assert messages(following)[2:] == [
        {"code": "a", "id": 1, "data": {"x": [1]}},
        {"code": "a", "id": 2, "data": {"x": [1]}},
    ]


@pytest.mark.parametrize(
    ("table", "row"),
    [
        ("CREATE TABLE t (id INT PRIMARY KEY, other INT)", {"id": 1, "other": 7}),  # numbered from 1 again
        ("CREATE TABLE t (code VARCHAR(5) PRIMARY KEY, other INT)", {"code": "1", "other": 7}),  # by another key
        ("CREATE TABLE t (id VARCHAR(5) PRIMARY KEY, other INT)", {"id": "1", "other": 7}),  # of another type
    ],
)
async def test_a_table_made_anew_is_repaired(
    database: Database, follow: Follow, table: str, row: dict[str, Any]
) -> None:
    """Behind a gap the rows that the journal knows are of the table before: those of the new one come all the same."""
    database.run(TABLE)
    following = follow(database.origin("t", seed=10))
    async with following:
        await following.live()
        database.run(*insert(1, 2, 3))
        await following.count(3)
        lost = msgspec.structs.replace(following.checkpoint, last=Fingerprint(None, "of another log"))
        await following.journal.append([Transaction((), lost.encode(), 0.0)])
    database.run("DROP TABLE t", table, "INSERT INTO t VALUES (1, 7)")
    async with following:
        await following.count(5)
        await following.live()
        database.run("INSERT INTO t VALUES (2, 8)")
        await following.count(6)
    assert ops(following) == ["insert", "insert", "insert", GAP, "read", "insert"]
    assert messages(following)[3] == row


async def test_metadata_turned_off_in_mid_stream_is_a_gap(database: Database, follow: Follow) -> None:
    """Without names a row cannot be told: the gap says what mends it, other tables go on, and mended it goes on."""
    database.run(TABLE, "CREATE TABLE u (id INT)")
    async with follow(database.origin("t")) as following:
        await following.live()
        database.run(*insert(1))
        database.run("SET GLOBAL binlog_row_metadata = 'MINIMAL'", "FLUSH TABLES")
        try:
            database.run(*insert(2), "INSERT INTO u VALUES (1)")
            await following.count(2)
        finally:
            database.run("SET GLOBAL binlog_row_metadata = 'FULL'", "FLUSH TABLES")
        database.run(*insert(3))
        await following.count(4)
    assert following.story()[:2] == [1, "unreadable"]
    assert sorted(following.story()[2:]) == [2, 3]  # the table tells of 2
    assert "SET GLOBAL binlog_row_metadata = 'FULL'" in json.loads(following.published[1].message)["detail"]


async def test_an_alter_in_two_phases_loses_nothing(maria: Database, follow: Follow) -> None:
    """MariaDB logs its beginning and its end, with the statements of others in between; one undone changes nothing."""
    maria.run(TABLE)
    async with follow(maria.origin("t")) as following:
        await following.live()
        with maria.session("SET SESSION binlog_alter_two_phase = 1") as session:
            maria.run(*insert(1, 2))
            session.query("ALTER TABLE t ADD extra INT DEFAULT 5")
            maria.run(*insert(3))
            with pytest.raises(Exception, match="Duplicate"):
                session.query("ALTER TABLE t ADD twice INT DEFAULT 1, ADD UNIQUE (twice)")
            maria.run(*insert(4))
        await following.count(4)
    assert following.story() == [1, 2, 3, 4]
    assert [row.get("extra") for row in messages(following)] == [None, None, 5, 5]


async def test_whatever_fills_the_table_arrives(database: Database, follow: Follow, tmp_path: Path) -> None:
    """CREATE … SELECT under the captured name, INSERT … SELECT, REPLACE, LOAD DATA, and TRUNCATE in between."""
    (file := tmp_path / "rows.txt").write_text("7\tseven\n8\teight\n")
    database.run("CREATE TABLE u (id INT, name VARCHAR(20))", "INSERT INTO u VALUES (1, 'a'), (2, 'b')")
    async with follow(database.origin("t", events=ALL)) as following:
        await following.live()
        database.run(
            "CREATE TABLE t (PRIMARY KEY (id)) SELECT id, name FROM u",
            "INSERT INTO t SELECT id + 2, name FROM u",
            "REPLACE INTO t VALUES (4, 'z')",
            "TRUNCATE t",
            "REPLACE INTO t VALUES (5, 'e')",
        )
        with local_infile(database), database.connect(database=NAME, local_infile=True) as session:
            session.query(f"LOAD DATA LOCAL INFILE '{file}' INTO TABLE t")
        await following.count(9)
    assert following.story() == [1, 2, 3, 4, 4, "unreadable", 5, 7, 8]
    assert ops(following) == [*["insert"] * 4, "update", GAP, *["insert"] * 3]
    assert messages(following)[-1] == {"id": 8, "name": "eight"}


@contextmanager
def local_infile(database: Database) -> Iterator[None]:
    """Let clients send files."""
    before = database.value("SELECT @@GLOBAL.local_infile")
    database.run("SET GLOBAL local_infile = 1")
    yield
    database.run(f"SET GLOBAL local_infile = {before}")
