"""Random tables with random rows: what arrives is what SELECT returns, and what a seed would bring."""

from __future__ import annotations

import json
from typing import NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.cdc.comparing import EXPECTED, normal, seeded
from tests.cdc.database import Database, rows


class Kind(NamedTuple):
    """A column type, how its values are expected, and SQL literals for it."""

    type: str
    expected: str
    literals: st.SearchStrategy[str]


def integers(low: int, high: int) -> st.SearchStrategy[str]:
    return st.integers(low, high).map(str)


def binaries(size: int) -> st.SearchStrategy[str]:
    return st.binary(max_size=size).map(lambda raw: f"X'{raw.hex()}'")


def strings(size: int, *, codec: str = "utf-8") -> st.SearchStrategy[str]:
    letters = st.characters(codec=codec, exclude_characters="\0" if codec != "utf-8" else "")
    return st.text(letters, max_size=size).map(lambda text: f"_utf8mb4 X'{text.encode().hex()}'")


def dates(form: str, *, year: st.SearchStrategy[int]) -> st.SearchStrategy[str]:
    parts = [year, st.integers(0, 12), st.integers(0, 28), *[st.integers(0, n) for n in (23, 59, 59, 999_999)]]
    return st.tuples(*parts).map(lambda numbers: "'" + form.format(*numbers) + "'")


def point(x: str, y: str) -> str:
    return f"ST_GeomFromText('POINT({x} {y})')"


_DAY, _CLOCK = "{:04}-{:02}-{:02}", " {:02}:{:02}:{:02}.{:06}"
documents = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(st.characters(codec="utf-8"), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
).map(lambda value: f"_utf8mb4 X'{json.dumps(value).encode().hex()}'")

KINDS = [
    Kind("TINYINT", "int", integers(-128, 127)),
    Kind("SMALLINT UNSIGNED", "int", integers(0, 65535)),
    Kind("MEDIUMINT", "int", integers(-(2**23), 2**23 - 1)),
    Kind("INT UNSIGNED ZEROFILL", "int", integers(0, 2**32 - 1)),
    Kind("BIGINT", "int", integers(-(2**63), 2**63 - 1)),
    Kind("BIGINT UNSIGNED", "int", integers(0, 2**64 - 1)),
    Kind("DECIMAL(12,4)", "text", st.decimals(-99999999, 99999999, places=4).map(str)),
    Kind("DECIMAL(30,0)", "text", integers(-(10**30) + 1, 10**30 - 1)),
    Kind("DOUBLE", "double", st.floats(allow_nan=False, allow_infinity=False).map(repr)),
    Kind("FLOAT", "float", st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False).map(repr)),
    Kind("BIT(13)", "bits", integers(0, 2**13 - 1)),
    Kind("CHAR(10) CHARACTER SET latin1", "text", strings(10, codec="latin-1")),
    Kind("VARCHAR(40)", "text", strings(40)),
    Kind("VARCHAR(300) CHARACTER SET utf16", "text", strings(40)),
    Kind("TEXT", "text", strings(300)),
    Kind("BINARY(5)", "bytes", binaries(5)),
    Kind("VARBINARY(300)", "bytes", binaries(300)),
    Kind("BLOB", "bytes", binaries(40)),
    Kind("ENUM('a','b','ü')", "text", st.sampled_from(["'a'", "'b'", "'ü'", "0"])),
    Kind("SET('x','y','ü')", "set", st.sampled_from(["''", "'y,x'", "'ü'", "7"])),
    Kind("DATE", "text", dates(_DAY, year=st.integers(0, 9999))),
    Kind("DATETIME", "datetime", dates(_DAY + " {:02}:{:02}:{:02}", year=st.integers(0, 9999))),
    Kind("DATETIME(3)", "datetime", dates(_DAY + _CLOCK, year=st.integers(0, 9998))),
    Kind("DATETIME(6)", "datetime", dates(_DAY + _CLOCK, year=st.integers(0, 9998))),
    Kind("TIMESTAMP(5)", "timestamp", st.integers(1, 2**31 - 2).map(lambda n: f"FROM_UNIXTIME({n}.12345)")),
    Kind("TIME(4)", "text", st.integers(-3_020_398, 3_020_398).map(lambda n: f"SEC_TO_TIME({n}.5)")),
    Kind("YEAR", "int", st.integers(1901, 2155).map(str)),
    Kind("JSON", "json", documents),
    Kind("POINT", "geometry", st.tuples(integers(-99, 99), integers(0, 99)).map(lambda at: point(*at))),
]

tables = st.lists(st.sampled_from(KINDS), min_size=1, max_size=9).flatmap(
    lambda kinds: st.tuples(
        st.just(kinds),
        st.lists(st.tuples(*[kind.literals | st.just("NULL") for kind in kinds]), min_size=1, max_size=6),
        st.sets(st.integers(0, len(kinds) - 1)),
    )
)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(tables)
def test_random_rows_arrive_as_they_are(
    database: Database, table: tuple[list[Kind], list[tuple[str, ...]], set[int]]
) -> None:
    """Columns of any types side by side, some required; through the log, and by a seed, value by value."""
    kinds, drawn, required = table
    lines = [line for line in drawn if all(line[i] != "NULL" for i in required)]
    definitions = [f"c{i} {kind.type} {'NOT ' * (i in required)}NULL" for i, kind in enumerate(kinds)]
    database.run("SET SESSION sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00'", "DROP TABLE IF EXISTS t")
    database.run(f"CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, {', '.join(definitions)})")
    start = database.end()
    for line in lines:
        database.run(f"INSERT INTO t VALUES (NULL, {', '.join(line)})")
    arrived = rows(database.read(start, "t"))
    assert seeded(database) == arrived
    chosen = ", ".join(f"c{i} + 0e0" if kind.type == "FLOAT" else f"c{i}" for i, kind in enumerate(kinds))
    printed = database.select(f"SELECT {chosen} FROM t ORDER BY id")
    for row, values in zip(arrived, printed, strict=True):
        del row["id"]
        for kind, value, arrival in zip(kinds, values, row.values(), strict=True):
            expected = None if value is None else EXPECTED[kind.expected](value)
            assert normal(kind.expected, arrival) == expected, kind.type
