"""What rows look like: told by the log as they were, by the tables as they are, and kept with the rows."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cdc import snapshot
from cdc.committed import Committed
from cdc.control import Control
from cdc.present import look
from cdc.schema import normal
from tests.cdc.database import NAME, Database
from tests.cdc.following import TABLE, Follow, Following, insert

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "dataformat.md").read_text()
SHOWN = dict(re.findall(r"^\| `([^`]+)` \| `([^`]+)` \|$", DOCUMENT, re.MULTILINE))
TYPES = {
    "TINYINT": "tinyint",
    "SMALLINT UNSIGNED": "smallint unsigned",
    "MEDIUMINT": "mediumint",
    "INT(7) UNSIGNED ZEROFILL": "int unsigned",
    "BIGINT UNSIGNED": "bigint unsigned",
    "BOOLEAN": "tinyint",
    "DECIMAL(12,3)": "decimal(12,3)",
    "DECIMAL(5,0) UNSIGNED": "decimal(5,0) unsigned",
    "FLOAT": "float",
    "FLOAT(7,2)": "float",
    "DOUBLE UNSIGNED": "double unsigned",
    "BIT(12)": "bit(12)",
    "YEAR": "year",
    "DATE": "date",
    "DATETIME": "datetime",
    "DATETIME(3)": "datetime(3)",
    "TIMESTAMP(6) NULL": "timestamp(6)",
    "TIME(1)": "time(1)",
    "CHAR(60)": "char(60)",
    "CHAR(255) CHARACTER SET utf8mb4": "char(255)",
    "CHAR(3) CHARACTER SET utf8mb3": "char(3)",
    "VARCHAR(10) CHARACTER SET latin1": "varchar(10)",
    "VARCHAR(300) CHARACTER SET utf8mb4": "varchar(300)",
    "VARCHAR(20) CHARACTER SET utf16": "varchar(20)",
    "VARCHAR(20) CHARACTER SET ucs2": "varchar(20)",
    "VARCHAR(20) CHARACTER SET gbk": "varchar(20)",
    "VARCHAR(20) CHARACTER SET sjis": "varchar(20)",
    "VARCHAR(20) COLLATE utf8mb4_bin": "varchar(20)",
    "BINARY(16)": "binary(16)",
    "VARBINARY(20)": "varbinary(20)",
    "TINYTEXT": "tinytext",
    "TEXT": "text",
    "MEDIUMTEXT": "mediumtext",
    "LONGTEXT": "longtext",
    "TINYBLOB": "tinyblob",
    "BLOB": "blob",
    "LONGBLOB": "longblob",
    "ENUM('a','it''s','ü') CHARACTER SET latin1": "enum('a','it''s','ü')",
    r"ENUM('back\\slash','new\nline','return\r','zero\0','x,y')": None,
    "SET('x','y')": "set('x','y')",
    "JSON": "json",
    "POINT": "geometry",
    "GEOMETRY": "geometry",
}
ONLY = {
    "mariadb": {
        "UUID": "uuid",
        "INET4": "inet4",
        "INET6": "inet6",
        "VARCHAR(90) COMPRESSED": "varchar(90)",
        "TEXT COMPRESSED": "text",
        "BLOB COMPRESSED": "blob",
    },
    "mysql": {"VECTOR(3)": "vector", "GEOMETRYCOLLECTION": "geometry"},
}


def schemas(committed: Sequence[Committed]) -> list[Any]:
    """What the rows that arrived look like, wherever that changed."""
    told: list[bytes] = []
    for change in [change for done in committed for change in done.changes]:
        if change.columns and told[-1:] != [change.columns]:
            told.append(change.columns)
    return [json.loads(one) for one in told]


def known(following: Following) -> list[tuple[int, list[str]]]:
    """The shapes in the journal: from which offset on, and name and type of each column."""
    return [
        (shape.first, [f"{column['name']} {column['type']}" for column in json.loads(shape.columns)])
        for shape in following.journal.shapes("t")
    ]


def test_every_type_has_its_name(database: Database) -> None:
    """The log says the same as information_schema, without what it does not know, and as the document."""
    assert len(SHOWN) > 15
    types = TYPES | ONLY[database.flavour] | SHOWN
    columns = ", ".join(f"c{i} {kind}" for i, kind in enumerate(types))
    database.run(f"CREATE TABLE t (id INT, u INT NOT NULL, {columns}, PRIMARY KEY (u, id))")
    start = database.end()
    database.run("INSERT INTO t (id, u) VALUES (1, 1)")
    (told,) = schemas(database.read(start, "t"))
    with Control(database.arguments) as control:
        assert json.loads(snapshot.shape(control, NAME, "t", None).described) == told
    named = zip((column["type"] for column in told[2:]), types.values(), strict=True)
    assert [name for name, expected in named if expected not in (None, name)] == []
    assert [column["name"] for column in told if column["key"]] == ["id", "u"]
    assert [column["name"] for column in told if not column["nullable"]] == ["id", "u"]


def test_noise_is_left_out() -> None:
    """What servers print and do not log."""
    printed = [
        "int(11)",
        "bigint(20) unsigned zerofill",
        "year(4)",
        "varchar(9) /*M!100301 COMPRESSED*/",
        "geomcollection",
    ]
    assert [normal(one) for one in printed] == ["int", "bigint unsigned", "year", "varchar(9)", "geometry"]
    assert normal("enum('A zerofill','int(3)')") == "enum('A zerofill','int(3)')"


def test_a_key_may_be_of_prefixes(database: Database) -> None:
    """Which the log writes in another way. Without one, servers take a unique key that cannot be NULL for it."""
    database.run("CREATE TABLE t (a TEXT, b INT, c BLOB, PRIMARY KEY (c(10), a(5)))")
    database.run("CREATE TABLE u (a INT UNIQUE, b INT NOT NULL UNIQUE)")
    start = database.end()
    database.run("INSERT INTO t VALUES ('x', 1, 'y')", "INSERT INTO u VALUES (1, 1)")
    keys = [[column["key"] for column in told] for told in schemas(database.read(start, "t", "u"))]
    assert keys == [[True, False, True], [False, True]]
    with Control(database.arguments) as control:
        columns = look(control, database.origin("t", "u").channels, gtids=True).columns
    assert [[column["key"] for column in json.loads(columns[name])] for name in ("t", "u")] == keys


def test_every_change_says_how_its_row_looks(database: Database) -> None:
    """Inserts, updates and deletes, with the columns that the channel carries; a new log file changes nothing."""
    database.run("CREATE TABLE t (id INT PRIMARY KEY, a INT)")
    start = database.end()
    database.run(
        "INSERT INTO t VALUES (1, 1), (2, 2)",
        "ALTER TABLE t ADD b INT",
        "FLUSH BINARY LOGS",
        "UPDATE t SET b = 3 WHERE id = 1",
        "ALTER TABLE t MODIFY b VARCHAR(5)",
        "DELETE FROM t",
    )
    done = database.read(start, "t", events=("insert", "update", "delete"))
    assert [[column["type"] for column in told] for told in schemas(done)] == [
        ["int", "int"],
        ["int", "int", "int"],
        ["int", "int", "varchar(5)"],
    ]
    told = schemas(database.read(start, "t", columns=("a", "b"), events=("insert", "update", "delete")))
    assert [[column["name"] for column in one] for one in told] == [["a"], ["a", "b"], ["a", "b"]]


async def test_the_journal_keeps_what_rows_looked_like(database: Database, follow: Follow) -> None:
    """A backlog's shapes begin where its rows do, whatever the table is by now; the newest are those of the table.

    Another character set or display width is no other shape: text arrives as UTF-8 all the same.
    """
    database.run("CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(10) CHARACTER SET latin1)")
    following = follow(database.origin("t"))
    async with following:
        await following.live()
        assert known(following) == [(1, ["id int", "name varchar(10)"])]
    database.run(
        "INSERT INTO t VALUES (1, 'a')",
        "ALTER TABLE t ADD flag ENUM('no', 'yes') FIRST",
        "INSERT INTO t (id) VALUES (2)",
        "ALTER TABLE t RENAME COLUMN name TO title, MODIFY id INT FIRST",
        "INSERT INTO t (id) VALUES (3)",
        "ALTER TABLE t CONVERT TO CHARACTER SET utf8mb4, MODIFY id INT(9)",
        "INSERT INTO t (id) VALUES (4)",
        "ALTER TABLE t MODIFY title VARCHAR(300), DROP flag",
        "INSERT INTO t (id) VALUES (5)",
        "DROP TABLE t",
        "CREATE TABLE t (code VARCHAR(5) PRIMARY KEY, id INT)",
        "INSERT INTO t VALUES ('x', 6)",
        "ALTER TABLE t ADD later JSON",
    )
    async with following:
        await following.count(6)
        await following.live()
        assert known(following) == [
            (1, ["id int", "name varchar(10)"]),
            (2, ["flag enum('no','yes')", "id int", "name varchar(10)"]),
            (3, ["id int", "flag enum('no','yes')", "title varchar(10)"]),
            (5, ["id int", "title varchar(300)"]),
            (6, ["code varchar(5)", "id int"]),
            (7, ["code varchar(5)", "id int", "later json"]),
        ]


async def test_a_seed_s_rows_look_like_those_that_follow(database: Database, follow: Follow) -> None:
    """What is read from the table and what the log brings are of one shape."""
    database.run(TABLE, *insert(1, 2))
    following = follow(database.origin("t", seed=10))
    async with following:
        await following.count(2)
        database.run(*insert(3))
        await following.count(3)
        assert known(following) == [(1, ["id int", "name varchar(200)"])]


async def test_an_alter_is_known_before_its_first_row(database: Database, follow: Follow) -> None:
    """When the statement has been read the table is asked again; also for a table that did not exist before."""
    database.run(TABLE)
    following = follow(database.origin("t"))
    async with following:
        await following.live()
        database.run(*insert(1), "ALTER TABLE t ADD extra JSON")
        await following.until(lambda: len(known(following)) == 2)
        database.run("DROP TABLE t", "CREATE TABLE t (n INT)")
        await following.until(lambda: known(following)[-1] == (2, ["n int"]))
        database.run("RENAME TABLE t TO gone", "CREATE TABLE t (m INT)")
        await following.until(lambda: known(following)[-1] == (2, ["m int"]))
        assert known(following)[:-1] == [(1, ["id int", "name varchar(200)"])]


@pytest.mark.parametrize("privileges", ["SELECT", "SELECT, INSERT"])
def test_who_may_only_read_sees_the_same(database: Database, privileges: str) -> None:
    """The account of a reader needs no more than SELECT for it, the key included; without it, it sees nothing."""
    database.run(TABLE)
    everything = database.arguments
    reader = everything | {"user": "described", "password": "d"}
    channels = database.origin("t").channels
    database.run("DROP USER IF EXISTS described", "CREATE USER described IDENTIFIED BY 'd'")
    database.run("GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO described")
    try:
        with Control(reader) as control:
            assert look(control, channels, gtids=True).columns == {}
        database.run(f"GRANT {privileges} ON {NAME}.t TO described")
        with Control(reader) as control, Control(everything) as root:
            seen, there = (look(one, channels, gtids=True).columns for one in (control, root))
        assert seen == there
    finally:
        database.run("DROP USER described")
