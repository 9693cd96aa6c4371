"""Types that the log does not name, packs, or shares with no other server."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator

import pytest

from cdc import cells, tablemap, values
from cdc.errors import MalformedEvent, UndecodableRow
from tests.cdc.comparing import Column, compare, texts
from tests.cdc.database import Database, rows
from tests.cdc.images import column, value

SHAPES = ["POINT(1 2)", "LINESTRING(0 0,1 1.5)", "POLYGON((0 0,4 0,4 4,0 0))", "GEOMETRYCOLLECTION(POINT(1 1))"]


def test_geometries_are_their_reference_system_and_wkb(database: Database) -> None:
    """Of every kind, with and without an SRID, beside text whose character set must not be lost."""
    values = [f"ST_GeomFromText('{shape}', {srid})" for shape in SHAPES for srid in (0, 4326)]
    latin = Column("VARCHAR(9) CHARACTER SET latin1", "text", texts("ü"))
    compare(database, [Column("GEOMETRY", "geometry", values), latin, Column("POINT", "geometry", values[:1]), latin])


def test_vectors_are_arrays_of_floats(oracle: Database) -> None:
    """With the shortest digits of 32 bits; text columns around them keep their character sets."""
    vectors = ["TO_VECTOR('[1, 2.5, -3.1]')", "TO_VECTOR('[1e38, 2e-38, 0]')"]
    latin = Column("VARCHAR(9) CHARACTER SET latin1", "text", texts("ü"))
    compare(oracle, [latin, Column("VECTOR(3)", "vector", vectors), latin, Column("TEXT", "text", texts("日本"))])


UUIDS = [
    "123e4567-e89b-12d3-a456-426655440000", "00000000-0000-0000-0000-000000000000",
    "017f22e2-79b0-7cc3-98c4-dc0c0c07398f", "ffffffff-ffff-ffff-ffff-ffffffffff20",
    "1ec9414c-232a-6b00-b3c8-9e6bdeced800",
]  # fmt: skip
INET4 = ["1.2.3.4", "0.0.0.0", "255.255.255.255", "10.0.0.0", "0.0.0.32"]
INET6 = [
    "::", "::1", "2001:db8::ff00:42:8329", "fe80::", "::ffff:1.2.3.4", "::ffff:0.0.0.0", "::1.2.3.4", "::2:3",
    "::1:2:3", "1:0:0:2:0:0:0:3", "1:0:2:3:4:5:6:7", "1:2:3:4:5:6:7:8", "2020:2020:2020:2020:2020:2020:2020:2020",
    "1::", "::ffff:ffff:ffff", "0:0:1::", "64:ff9b::1.2.3.4",
]  # fmt: skip


def test_uuids_and_addresses_are_as_the_server_prints_them(maria: Database) -> None:
    """Also where zeros at the end are stripped in the log; BINARY of the same width stays bytes."""
    columns = [
        Column("UUID", "text", texts(*UUIDS)),
        Column("INET4", "text", texts(*INET4)),
        Column("INET6", "text", texts(*INET6)),
        Column("BINARY(16)", "bytes", ["X'00'", "X'FF'"]),
        Column("BINARY(4)", "bytes", ["X'00'", "X'FF'"]),
    ]
    compare(maria, columns)


def test_compressed_columns_are_what_was_compressed(maria: Database) -> None:
    """Short ones are stored as they are, long ones deflated; of every size, as text and as bytes."""
    texts_ = ["''", "'short'", "REPEAT('ü', 200)", "REPEAT('日本', 40)", "REPEAT('x', 65)"]
    blobs = ["''", "X'00FF'", "REPEAT(X'00FF', 100)", "REPEAT(X'01', 255)"]
    large = ["REPEAT('x', 70000)", "''"]
    columns = [Column(f"{kind} COMPRESSED", "text", texts_) for kind in ("VARCHAR(200)", "VARCHAR(20000)", "TEXT")]
    columns += [Column(f"{kind} COMPRESSED", "bytes", blobs) for kind in ("VARBINARY(255)", "BLOB", "TINYBLOB")]
    columns += [Column(f"{kind} COMPRESSED", "text", large) for kind in ("MEDIUMTEXT", "LONGTEXT")]
    columns.append(Column("VARCHAR(300) COMPRESSED CHARACTER SET latin1", "text", ["REPEAT('é', 250)"]))
    compare(maria, columns)


def test_json_may_be_compressed_or_in_another_character_set(maria: Database) -> None:
    """The check makes it JSON, whatever it is stored in."""
    kinds = ["LONGTEXT COMPRESSED", "VARCHAR(500) CHARACTER SET latin1", "TEXT CHARACTER SET utf16"]
    definitions = ", ".join(f"c{i} {kind} CHECK (json_valid(c{i}))" for i, kind in enumerate(kinds))
    maria.run(f"CREATE TABLE t ({definitions})")
    start = maria.end()
    document = json.dumps({"ü": ["é"] * 40}, ensure_ascii=False)
    maria.run(f"INSERT INTO t VALUES ('{document}', '{document}', '{document}')")
    assert rows(maria.read(start, "t")) == [{f"c{i}": json.loads(document) for i in range(3)}]


@pytest.fixture
def listening(maria: Database) -> Iterator[None]:
    """The server writes down what it is asked."""
    maria.run("SET GLOBAL log_output = 'TABLE'", "TRUNCATE mysql.general_log", "SET GLOBAL general_log = ON")
    yield
    maria.run("SET GLOBAL general_log = OFF", "SET GLOBAL log_output = 'FILE'")


def questions(maria: Database) -> list[str]:
    """What was asked about types that the log does not tell."""
    asked = [str(line[0]) for line in maria.select("SELECT argument FROM mysql.general_log")]
    return [statement for statement in asked if "'inet6'" in statement]


@pytest.mark.usefixtures("listening")
def test_a_shape_is_asked_about_once(maria: Database) -> None:
    """What was learnt stays, through rotations of the log and later connections, also when the table has changed."""
    maria.run("CREATE TABLE t (u UUID, n INT)")
    start = maria.end()
    origin = maria.origin("t")
    maria.run(f"INSERT INTO t VALUES ('{UUIDS[0]}', 1)", "FLUSH LOGS", f"INSERT INTO t VALUES ('{UUIDS[1]}', 2)")
    first = rows(maria._follow(start, origin)[1])
    maria.run("ALTER TABLE t MODIFY u BINARY(16)", "DROP TABLE t")
    assert first == rows(maria._follow(start, origin)[1]) == [{"u": UUIDS[0], "n": 1}, {"u": UUIDS[1], "n": 2}]
    assert len(questions(maria)) == 1


def test_only_what_fits_is_believed(maria: Database) -> None:
    """The table is asked as it is today: a column that cannot have been of that type then is read as the log says."""
    maria.run("CREATE TABLE t (u BINARY(8), j INT, i BINARY(17))")
    start = maria.end()
    maria.run("INSERT INTO t VALUES (X'41', 5, X'00')")
    maria.run("DROP TABLE t", "CREATE TABLE t (u UUID, j JSON, i INET4)")
    assert rows(maria.read(start, "t")) == [{"u": "QQAAAAAAAAA=", "j": 5, "i": "A" * 23 + "="}]


@pytest.mark.usefixtures("listening")
def test_a_table_without_such_columns_is_not_asked_about(maria: Database) -> None:
    """Numbers and dates hide nothing."""
    maria.run("CREATE TABLE t (a INT, d DATETIME)")
    start = maria.end()
    maria.run("INSERT INTO t VALUES (1, NULL)")
    assert rows(maria.read(start, "t")) == [{"a": 1, "d": None}]
    assert questions(maria) == []


@pytest.mark.parametrize(
    "raw",
    [
        b"\x8a\x03", b"\x89\x05\x4b\x4c", b"\x70abc", b"\x89\xffnonsense",
        b"\x89\x02" + zlib.compress(b"aaa", wbits=-15), b"\x89\x04" + zlib.compress(b"aaa", wbits=-15),
    ],
    ids=["cut in its length", "cut in its data", "unknown method", "no deflate", "too long", "too short"],
)  # fmt: skip
def test_damaged_compressed_values_are_errors(raw: bytes) -> None:
    """Nothing unpacks to more or less than it says."""
    with pytest.raises(MalformedEvent):
        values.inflated(raw)


def test_compressed_values_with_zlibs_header() -> None:
    """A server may be told to keep it (column_compression_zlib_wrap)."""
    assert values.inflated(b"\x81\x03" + zlib.compress(b"aaa")) == b"aaa"


def test_damaged_geometries_and_vectors_are_errors() -> None:
    """Too short for what they are."""
    for one, raw in [
        (column(tablemap.GEOMETRY, b"\4"), b"\3\0\0\0abc"),
        (column(tablemap.VECTOR, b"\4"), b"\3\0\0\0abc"),
    ]:
        with pytest.raises(UndecodableRow, match=r"shop\.goods"):
            value(one, raw)


def test_an_unknown_type_has_no_cell() -> None:
    """The caller names it."""
    assert cells.cell(column(201), cells.Reading(bigint_strings=False, charset=None, hidden=None)) is None
