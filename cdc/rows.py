"""Row images to JSON text.

``compile_decoder`` turns one table shape into a function from a rows event's images to one JSON object per row. It is
called once per table map; everything that depends on the shape alone is decided there.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import msgspec

from cdc import binary_json, values
from cdc import tablemap as t
from cdc.errors import MalformedEvent, UndecodableRow
from cdc.events import Rows
from cdc.tablemap import Column, TableMap

Reader = Callable[[bytes, int], tuple[bytes, int]]
"""Reads a value at an offset: its JSON text and the offset behind it."""

Decoder = Callable[[bytes, Rows, int], list[bytes]]
"""``decoder(body, rows, end)``: the JSON object, UTF-8, of every row image between ``rows.start`` and ``end``."""


class Shape(NamedTuple):
    """What a channel wants of a table, and what the table map does not say about it.

    ``columns`` are the column names to deliver (None: all). ``json`` names the columns that hold JSON in a text type
    (MariaDB). ``bigint_strings``: 64-bit integers as strings. ``charsets``: collation number → character set name.
    """

    columns: Sequence[str] | None
    json: Collection[str]
    bigint_strings: bool
    charsets: Mapping[int, str]


def compile_decoder(table: TableMap, shape: Shape) -> Decoder:
    """A decoder for ``table``; raises UndecodableRow naming the first column that it cannot read."""
    if not table.named:
        raise UndecodableRow(
            f"{table.schema}.{table.table}: the log carries no column names; SET GLOBAL binlog_row_metadata = 'FULL'"
        )
    readers = [_reader(table, column, shape) for column in table.columns]
    keys = [_key(column, shape) for column in table.columns]
    everything = (1 << len(readers)) - 1

    def decode(body: bytes, rows: Rows, end: int) -> list[bytes]:
        present = int.from_bytes(rows.present, "little") & everything
        if rows.columns != len(readers) or present != everything:
            raise UndecodableRow(
                f"{table.schema}.{table.table}: the row image is not complete; SET GLOBAL binlog_row_image = 'FULL'"
            )
        try:
            return _decode_rows(body, rows.start, end, keys, readers)
        except (MalformedEvent, LookupError, ValueError, struct.error, RecursionError) as error:
            raise UndecodableRow(f"{table.schema}.{table.table}: a row cannot be decoded: {error!r}") from error

    return decode


def _decode_rows(
    body: bytes, at: int, end: int, keys: Sequence[bytes | None], readers: Sequence[Reader]
) -> list[bytes]:
    width = (len(readers) + 7) // 8
    columns = list(zip(keys, readers, range(len(readers)), strict=True))
    messages = []
    while at < end:
        nulls = int.from_bytes(body[at : at + width], "little")
        at += width
        parts = []
        for key, read, i in columns:
            if nulls >> i & 1:
                value = b"null"
            else:
                value, at = read(body, at)
            if key is not None:
                parts.append(key + value)
        messages.append(b"{" + b",".join(parts) + b"}")
    if at != end:
        raise MalformedEvent(f"row images end at byte {at}, not {end}: the shape is not that of the rows")
    return messages


def _key(column: Column, shape: Shape) -> bytes | None:
    if shape.columns is not None and column.name not in shape.columns:
        return None
    return msgspec.json.encode(column.name) + b":"


def _fixed(size: int, render: Callable[[bytes], bytes]) -> Reader:
    def read(body: bytes, at: int) -> tuple[bytes, int]:
        return render(body[at : at + size]), at + size

    return read


def _prefixed(length_size: int, render: Callable[[bytes], bytes]) -> Reader:
    def read(body: bytes, at: int) -> tuple[bytes, int]:
        start = at + length_size
        end = start + int.from_bytes(body[at:start], "little")
        return render(body[start:end]), end

    return read


_INTEGER_SIZE = {t.TINY: 1, t.SHORT: 2, t.INT24: 3, t.LONG: 4, t.LONGLONG: 8}
_BLOB_TYPES = frozenset({t.TINY_BLOB, t.BLOB, t.MEDIUM_BLOB, t.LONG_BLOB})


def _reader(table: TableMap, column: Column, shape: Shape) -> Reader:
    reader = _number(column, shape) or _temporal(column) or _string(column, shape) or _labelled(column, shape)
    if reader is None:
        what = f"type {column.type}"
        if column.collation is not None and column.collation not in shape.charsets:
            what += f" with the unknown collation {column.collation}"
        raise UndecodableRow(
            f"{table.schema}.{table.table}: column {column.name} ({what}) cannot be decoded by this version"
        )
    return reader


def _number(column: Column, shape: Shape) -> Reader | None:
    kind, meta = column.type, column.meta
    if kind in _INTEGER_SIZE:
        size, signed = _INTEGER_SIZE[kind], not column.unsigned
        form = b'"%d"' if kind == t.LONGLONG and shape.bigint_strings else b"%d"
        return _fixed(size, lambda raw: form % int.from_bytes(raw, "little", signed=signed))
    if kind == t.FLOAT:
        return _fixed(4, values.float32)
    if kind == t.DOUBLE:
        return _fixed(8, values.float64)
    if kind == t.NEWDECIMAL:
        return _fixed(values.decimal_size(*meta), lambda raw: values.decimal(raw, *meta))
    if kind == t.YEAR:
        return _fixed(1, lambda raw: b"%d" % (raw[0] and raw[0] + 1900))
    if kind == t.BIT:
        return _fixed((meta[1] * 8 + meta[0] + 7) // 8, lambda raw: b"%d" % int.from_bytes(raw, "big"))
    return None


def _temporal(column: Column) -> Reader | None:
    kind = column.type
    if kind == t.DATE:
        return _fixed(3, lambda raw: b'"%s"' % values.date(int.from_bytes(raw, "little")).encode())
    if kind not in (t.DATETIME2, t.TIMESTAMP2, t.TIME2):
        return None
    digits = column.meta[0]
    tail = (digits + 1) // 2
    if kind == t.DATETIME2:
        return _fixed(5 + tail, lambda raw: values.datetime2(raw, digits))
    if kind == t.TIMESTAMP2:
        return _fixed(4 + tail, lambda raw: values.timestamp2(raw, digits))
    return _fixed(3 + tail, lambda raw: values.time2(raw, digits))


def _string(column: Column, shape: Shape) -> Reader | None:
    kind, meta = column.type, column.meta
    if kind == t.JSON:
        return _prefixed(meta[0], binary_json.to_text)
    render = _rendering(column, shape)
    if render is None:
        return None
    if kind in _BLOB_TYPES:
        return _prefixed(meta[0], render)
    if kind in (t.VARCHAR, t.VAR_STRING):
        return _prefixed(2 if int.from_bytes(meta, "little") > 255 else 1, render)
    if kind == t.STRING:
        # Two bits of the length hide, inverted, in the type byte (MySQL bug 37426).
        length = ((meta[0] << 4 & 0x300) ^ 0x300) + meta[1]
        if column.collation == _BINARY:
            return _prefixed(2 if length > 255 else 1, lambda raw: values.binary(raw.ljust(length, b"\0")))
        return _prefixed(2 if length > 255 else 1, render)
    return None


_BINARY = 63


def _rendering(column: Column, shape: Shape) -> Callable[[bytes], bytes] | None:
    if column.collation is None:
        return None
    if column.collation == _BINARY:
        return values.binary
    charset = shape.charsets.get(column.collation)
    if charset is None or not values.decodable(charset):
        return None
    if column.name in shape.json:
        return lambda raw: json_text(values.decode(raw, charset).encode())
    return lambda raw: values.text(raw, charset)


def json_text(raw: bytes) -> bytes:
    """A text column with ``json_valid``, as it stands; what is no strict JSON after all arrives as a string."""
    try:
        return bytes(msgspec.json.decode(raw, type=msgspec.Raw))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return _lenient_json(raw)


def _lenient_json(raw: bytes) -> bytes:
    """Lone surrogates, which the strict parser refuses, are still JSON to a browser."""
    try:
        json.loads(raw, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return values.text(raw, "utf8mb4")
    return raw.strip()


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _labelled(column: Column, shape: Shape) -> Reader | None:
    if column.type not in (t.ENUM, t.SET) or column.collation is None:
        return None
    charset = shape.charsets.get(column.collation, "utf8mb4")
    if charset == "binary":
        charset = "utf8mb4"
    if not values.decodable(charset):
        return None
    labels = [values.text(label, charset) for label in column.labels]
    size = column.meta[1]
    if column.type == t.ENUM:
        return _fixed(size, lambda raw: _enum(labels, int.from_bytes(raw, "little")))
    return _fixed(size, lambda raw: _set(labels, int.from_bytes(raw, "little")))


def _enum(labels: Sequence[bytes], index: int) -> bytes:
    """The invalid value 0 is the empty string, as the server prints it."""
    return labels[index - 1] if index else b'""'


def _set(labels: Sequence[bytes], bits: int) -> bytes:
    return b"[" + b",".join([label for i, label in enumerate(labels) if bits >> i & 1]) + b"]"
