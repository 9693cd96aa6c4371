"""Rows that a SELECT returned, as the same JSON that the log's row images become."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from cdc import values
from cdc.errors import UndecodableRow
from cdc.values import json_text

Render = Callable[[bytes], bytes]
"""A column value as the server prints it (UTF-8, or raw bytes of a binary type) to JSON text."""

_encode = msgspec.json.Encoder().encode
_INTEGERS = frozenset({"tinyint", "smallint", "mediumint", "int", "year", "bit"})
_TEXTS = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum"})
_GEOMETRIES = frozenset(
    {
        "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon",
        "geometrycollection", "geomcollection",
    }
)  # fmt: skip
_BINARY = frozenset({"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"})


class SelectedColumn(NamedTuple):
    """One column as information_schema tells it; ``type`` without length; ``json`` for JSON in a text type too."""

    name: str
    type: str
    json: bool


def expression(column: SelectedColumn) -> str:
    """What to select so that nothing is lost in print: the server shows FLOAT with six digits, BIT as bytes."""
    quoted = "`" + column.name.replace("`", "``") + "`"
    if column.type == "float":
        return f"{quoted} + 0e0"
    return f"{quoted} + 0" if column.type == "bit" else quoted


def renderer(columns: Sequence[SelectedColumn], *, bigint_strings: bool) -> Callable[[Sequence[bytes | None]], bytes]:
    """A function from one selected row to its JSON object; raises UndecodableRow for a type that has no JSON."""
    keys = [_encode(column.name) + b":" for column in columns]
    renders = [_render(column, bigint_strings=bigint_strings) for column in columns]

    def render(row: Sequence[bytes | None]) -> bytes:
        parts = [
            key + (b"null" if value is None else one(value)) for key, one, value in zip(keys, renders, row, strict=True)
        ]
        return b"{" + b",".join(parts) + b"}"

    return render


def _render(column: SelectedColumn, *, bigint_strings: bool) -> Render:
    kind = column.type
    if column.json:
        return json_text
    if kind in _INTEGERS or (kind == "bigint" and not bigint_strings):
        return lambda raw: b"%d" % int(raw)
    found = _OTHERS.get(kind)
    if found is None:
        if kind in _TEXTS:
            return lambda raw: _encode(raw.decode("utf-8", "replace"))
        if kind in _BINARY:
            return _base64
        if kind in _GEOMETRIES:
            return values.geometry
        raise UndecodableRow(f"column {column.name} ({kind}) cannot be read from the table by this version")
    return found


def _base64(raw: bytes) -> bytes:
    return _quoted(values.base64(raw))


def _quoted(raw: bytes) -> bytes:
    return b'"' + raw + b'"'


def _without_zeros(raw: bytes) -> bytes:
    """A ZEROFILL column is printed with zeros that its value does not have."""
    if not raw.startswith(b"0"):
        return raw
    stripped = raw.lstrip(b"0")
    return stripped if stripped[:1].isdigit() else b"0" + stripped


_OTHERS: dict[str, Render] = {
    "bigint": _quoted,
    "decimal": lambda raw: _quoted(_without_zeros(raw)),
    "float": lambda raw: values.float32(values.pack_float(float(raw))),
    "double": lambda raw: values.encode(float(raw)),
    "date": _quoted,
    "datetime": lambda raw: _quoted(raw.replace(b" ", b"T")),
    "timestamp": lambda raw: _quoted(raw.replace(b" ", b"T") + b"Z"),
    "time": _quoted,
    "uuid": _quoted,
    "inet4": _quoted,
    "inet6": _quoted,
    "vector": values.vector,
    "set": lambda raw: _encode(raw.decode().split(",") if raw else []),
}
