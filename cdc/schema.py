"""What a channel's rows look like, for those who ask: name, SQL type, nullability and key of each column. Pure.

Told from the table map, so that rows from before an ALTER have the shape of then. Of a table that is read instead, from
information_schema: both ways give the same text for the same shape, or everybody would be told of a change.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

import msgspec

from cdc import charsets
from cdc import tablemap as t
from cdc.tablemap import Column, TableMap

_BYTES = {
    "utf8mb4": 4, "utf16": 4, "utf16le": 4, "utf32": 4, "gb18030": 4, "utf8mb3": 3, "utf8": 3, "ujis": 3, "eucjpms": 3,
    "ucs2": 2, "big5": 2, "gbk": 2, "gb2312": 2, "sjis": 2, "cp932": 2, "euckr": 2,
}  # fmt: skip
"""Bytes that a character takes at most, where it is more than one: the log counts bytes, SQL characters."""


def text(columns: Iterable[tuple[str, str, bool, bool]]) -> bytes:
    """The schema that a journal keeps: of each column name, type, whether it may be NULL and is in the primary key."""
    return msgspec.json.encode(
        [{"name": name, "type": kind, "nullable": nullable, "key": key} for name, kind, nullable, key in columns]
    )


def of_map(
    table: TableMap, wanted: Collection[str] | None, hidden: Mapping[str, str], charsets: Mapping[int, str]
) -> bytes:
    """The schema of a table map, narrowed to the columns that are ``wanted``; the rest as ``cdc.rows.Shape`` has it."""
    return text(
        (column.name, hidden.get(column.name) or _type(column, charsets), column.nullable, place in table.key)
        for place, column in enumerate(table.columns)
        if wanted is None or column.name in wanted
    )


_INTEGERS = {t.TINY: "tinyint", t.SHORT: "smallint", t.INT24: "mediumint", t.LONG: "int", t.LONGLONG: "bigint"}
_PLAIN = {
    **_INTEGERS, t.FLOAT: "float", t.DOUBLE: "double", t.YEAR: "year", t.DATE: "date", t.JSON: "json",
    t.GEOMETRY: "geometry", t.VECTOR: "vector", t.TIMESTAMP: "timestamp", t.DATETIME: "datetime", t.TIME: "time",
}  # fmt: skip
_TEMPORAL = {t.DATETIME2: "datetime", t.TIMESTAMP2: "timestamp", t.TIME2: "time"}
_SIZES = {1: "tiny", 2: "", 3: "medium", 4: "long"}


def _type(column: Column, charsets: Mapping[int, str]) -> str:
    kind, meta = column.type, column.meta
    if kind in _TEMPORAL:
        return _TEMPORAL[kind] + (f"({meta[0]})" if meta[0] else "")
    if kind == t.BIT:
        return f"bit({meta[1] * 8 + meta[0]})"
    sign = " unsigned" if column.unsigned and kind != t.YEAR else ""
    if kind == t.NEWDECIMAL:
        return f"decimal({meta[0]},{meta[1]}){sign}"
    if kind in _PLAIN:
        return _PLAIN[kind] + sign
    return _string(column, charsets)


def _string(column: Column, names: Mapping[int, str]) -> str:
    kind, meta = column.type, column.meta
    binary = column.collation == t.BINARY_COLLATION
    charset = names.get(column.collation or 0, "")
    if kind in (t.ENUM, t.SET):
        labels = (_label(label, charset) for label in column.labels)
        return f"{'enum' if kind == t.ENUM else 'set'}({','.join(labels)})"
    if kind in (t.VARCHAR, t.VAR_STRING, t.VARCHAR_COMPRESSED):
        size = int.from_bytes(meta, "little") - (kind == t.VARCHAR_COMPRESSED)
        return f"{'varbinary' if binary else 'varchar'}({size // _BYTES.get(charset, 1)})"
    if kind == t.STRING:
        return f"{'binary' if binary else 'char'}({t.width(meta) // _BYTES.get(charset, 1)})"
    return _SIZES.get(meta[0], "") + ("blob" if binary else "text")


_PRINTED = str.maketrans({"\\": "\\\\", "\0": "\\0", "\n": "\\n", "\r": "\\r", "'": "''"})
"""How servers print a label of ENUM and SET."""


def _label(raw: bytes, charset: str) -> str:
    known = charset if charsets.decodable(charset) else "utf8mb4"
    return f"'{charsets.decode_text(raw, known).translate(_PRINTED)}'"


_WIDTH = re.compile(r"^((?:tiny|small|medium|big)?int|year|float|double|vector)\(\d+(?:,\d+)?\)")
_NOISE = re.compile(r" zerofill| /\*.*")
_GEOMETRY = re.compile(r"^(multi)?(point|linestring|polygon)$|^geom(etry)?(collection)?$")


def normal(column_type: str) -> str:
    """information_schema's COLUMN_TYPE as a table map tells it: without what the log does not know."""
    if column_type.startswith(("enum", "set")):
        return column_type
    return _GEOMETRY.sub("geometry", _WIDTH.sub(r"\1", _NOISE.sub("", column_type.lower())))
