"""What rows look like, told from the log as they were, and from the table as it is."""

from __future__ import annotations

import json

import msgspec

from cdc import snapshot
from cdc.control import Control
from cdc.schema import normal
from journal.types import SCHEMA
from tests.cdc.database import NAME, Database, rows, schemas
from tests.cdc.following import TABLE, Follow, insert
from tests.cdc.forge import Log, assemble, finish, prepare

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
    "VARCHAR(10) CHARACTER SET latin1": "varchar(10)",
    "VARCHAR(300) CHARACTER SET utf8mb4": "varchar(300)",
    "VARCHAR(20) CHARACTER SET utf16": "varchar(20)",
    "VARCHAR(20) CHARACTER SET ucs2": "varchar(20)",
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
    "SET('x','y')": "set('x','y')",
    "JSON": "json",
    "POINT": "geometry",
    "GEOMETRY": "geometry",
}


def test_every_type_has_its_name(database: Database) -> None:
    """The log says the same as information_schema, without what it does not know; so a seed's rows look like others."""
    columns = ", ".join(f"c{i} {kind}" for i, kind in enumerate(TYPES))
    database.run(f"CREATE TABLE t (id INT, u INT NOT NULL, {columns}, PRIMARY KEY (u, id))")
    start = database.end()
    database.run("INSERT INTO t (id, u) VALUES (1, 1)")
    (told,) = schemas(database.read(start, "t"))
    assert [column["type"] for column in told[2:]] == list(TYPES.values())
    assert [column["name"] for column in told if column["key"]] == ["id", "u"]
    assert [column["name"] for column in told if not column["nullable"]] == ["id", "u"]
    with Control(database.arguments) as control:
        assert json.loads(snapshot.shape(control, NAME, "t", None).described) == told


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
    """Which the log writes in another way."""
    database.run("CREATE TABLE t (a TEXT, b INT, c BLOB, PRIMARY KEY (c(10), a(5)))")
    start = database.end()
    database.run("INSERT INTO t VALUES ('x', 1, 'y')")
    (told,) = schemas(database.read(start, "t"))
    assert [column["key"] for column in told] == [True, False, True]


def test_a_schema_is_told_when_it_changes(database: Database) -> None:
    """Before the first row of each shape, only the carried columns, and not again after a new file or another table."""
    database.run("CREATE TABLE t (id INT PRIMARY KEY, a INT)", "CREATE TABLE u (id INT)")
    start = database.end()
    database.run(
        "INSERT INTO t VALUES (1, 1), (2, 2)",
        "ALTER TABLE t ADD b INT",
        "FLUSH BINARY LOGS",
        "INSERT INTO u VALUES (1)",
        "INSERT INTO t VALUES (3, 3, 3)",
        "ALTER TABLE t MODIFY b VARCHAR(5)",
        "INSERT INTO t VALUES (4, 4, '4')",
    )
    done = database.read(start, "t")
    assert [[column["type"] for column in told] for told in schemas(done)] == [
        ["int", "int"],
        ["int", "int", "int"],
        ["int", "int", "varchar(5)"],
    ]
    assert [change.op for one in done for change in one.changes] == [
        *[SCHEMA, "insert", "insert"],
        *[SCHEMA, "insert"] * 2,
    ]
    told = schemas(database.read(start, "t", columns=("a", "b")))
    assert [[column["name"] for column in one] for one in told] == [["a"], ["a", "b"], ["a", "b"]]


def test_a_schema_that_was_held_back_is_told_again() -> None:
    """What a prepared XA transaction brings arrives at its commit; a row before that must not lack the schema."""
    log = Log("mariadb")
    prepare(log, 1)
    log.insert(2)
    finish(log)
    done = assemble(log)
    assert [[change.op for change in one.changes] for one in done] == [[], [SCHEMA, "insert"], [SCHEMA, "insert"]]


async def test_the_journal_keeps_what_rows_looked_like(database: Database, follow: Follow) -> None:
    """Also what a seed brought, over restarts and alters in between, with the offset of the first row of each shape."""
    database.run(TABLE, *insert(1, 2))
    following = follow(database.origin("t", seed=10))
    async with following:
        await following.count(2)
        database.run(*insert(3))
        await following.count(3)
    database.run(*insert(4), "ALTER TABLE t ADD extra JSON", *insert(5))
    async with following:
        await following.count(5)
        shapes = following.journal.shapes("t")
    names = [[column["name"] for column in json.loads(shape.columns)] for shape in shapes]
    assert [shape.first for shape in shapes] == [1, 5]
    assert names == [["id", "name"], ["id", "name", "extra"]]
    assert msgspec.json.decode(shapes[1].columns)[2] == {
        "name": "extra",
        "type": "json",
        "nullable": True,
        "key": False,
    }


def test_the_rows_are_not_changed_by_it(database: Database) -> None:
    """A schema is no row and no gap."""
    database.run(TABLE)
    start = database.end()
    database.run(*insert(1))
    assert [row["id"] for row in rows(database.read(start, "t"))] == [1]
