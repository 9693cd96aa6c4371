"""Rows that arrive through the log, compared with what SELECT prints."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

from cdc import snapshot
from cdc.control import Control
from tests.cdc.database import NAME, Database, digits, rows

# What a value should look like, made from the text that the server prints for it: a second way to the same JSON that
# shares no code with the first.
EXPECTED: dict[str, Callable[[Any], Any]] = {
    "int": int,
    "text": str,
    "bytes": lambda value: base64.b64encode(value).decode(),
    "double": float,
    "float": lambda value: struct.pack("<f", float(value)),
    "bits": lambda value: int.from_bytes(value, "big"),
    "set": lambda value: value.split(",") if value else [],
    "geometry": lambda value: {
        "srid": int.from_bytes(value[:4], "little"),
        "wkb": base64.b64encode(value[4:]).decode(),
    },
    "vector": lambda value: [
        json.loads(single(number), parse_float=digits)
        for number in struct.unpack(f"<{len(value) // 8}f", bytes.fromhex(value))
    ],
    "datetime": lambda value: value.replace(" ", "T"),
    "timestamp": lambda value: value.replace(" ", "T") + "Z",
    "json": lambda value: json.loads(value, parse_float=digits),
}


class Column(NamedTuple):
    """A column's SQL type, how its values are expected, and values as SQL literals."""

    type: str
    kind: str
    values: Sequence[str]


def single(number: float) -> str:
    """The shortest text of a 32-bit float."""
    return next(
        text for n in range(1, 10) if struct.pack("<f", float(text := f"{number:.{n}g}")) == struct.pack("<f", number)
    )


def texts(*values: str) -> list[str]:
    return ["'{}'".format(value.replace("\\", "\\\\").replace("'", "''")) for value in values]


def compare(database: Database, columns: Sequence[Column], *, mode: str = "") -> list[dict[str, Any]]:
    """Insert every value, and NULL, in one statement; each row of the log must say what SELECT says, and a seed too."""
    database.run(f"SET SESSION sql_mode = '{mode}'")
    definitions = ", ".join(f"c{i} {column.type}" for i, column in enumerate(columns))
    database.run(f"CREATE TABLE t (id INT PRIMARY KEY, {definitions})")
    start = database.end()
    lines = zip_longest(*[[*column.values, "NULL"] for column in columns], fillvalue="NULL")
    inserted = ", ".join(f"({i}, {', '.join(line)})" for i, line in enumerate(lines))
    database.run(f"INSERT INTO t VALUES {inserted}")
    arrived = rows(database.read(start, "t"))
    names = ", ".join(f"HEX(c{i})" if column.kind == "vector" else f"c{i}" for i, column in enumerate(columns))
    printed = database.select(f"SELECT id, {names} FROM t ORDER BY id")
    assert seeded(database) == arrived
    for line, row in zip(printed, arrived, strict=True):
        assert row.pop("id") == int(line[0])
        for column, value, arrival in zip(columns, line[1:], row.values(), strict=True):
            expected = None if value is None else EXPECTED[column.kind](value)
            assert arrival == expected, f"{column.type}: {arrival!r} is not {value!r}"
    return arrived


def seeded(database: Database) -> list[dict[str, Any]]:
    """The rows of table ``t`` as a seed or a repair brings them."""
    with Control(database.arguments, raw=True) as control:
        snapshot.begin(control, database.end())
        shape = snapshot.shape(control, NAME, "t", None)
        found = snapshot.newest(control, shape, 1000, bigint_strings=False)
    return [json.loads(message, parse_float=digits) for message in found]


def normal(kind: str, arrival: Any) -> Any:
    """What arrived in a form that can be compared: numbers with a fraction come as their text."""
    if arrival is None or kind not in ("double", "float"):
        return arrival
    return float(arrival) if kind == "double" else struct.pack("<f", float(arrival))
