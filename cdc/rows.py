"""Row images to JSON text.

``compile_decoder`` turns one table shape into a decoder of its own: everything that depends on the shape alone is
decided there, once, and written down as Python source (``cdc/decoder_source.py``).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from cdc import decoder_source, schema
from cdc.cells import BINARY, Cell, Reading, cell
from cdc.decoder_source import Field
from cdc.errors import MalformedEvent, UndecodableRow
from cdc.events import Rows
from cdc.tablemap import BINARY_COLLATION, Column, TableMap


class Shape(NamedTuple):
    """What a channel wants of a table, and what the table map does not say about it.

    ``columns`` are the column names to deliver (None: all). ``hidden`` maps columns to the type behind the type that
    the log tells: ``json`` in a text type, ``uuid``, ``inet4`` or ``inet6`` in a binary one (MariaDB).
    ``bigint_strings``: 64-bit integers as strings. ``charsets``: collation number → character set name.
    """

    columns: Sequence[str] | None
    hidden: Mapping[str, str]
    bigint_strings: bool
    charsets: Mapping[int, str]


class Decoder:
    """``decoder(body, rows, end)``: the JSON object, UTF-8, of every row image between ``rows.start`` and ``end``.

    Raises UndecodableRow. ``source`` is the Python that does it; ``columns`` are the names delivered, in order;
    ``described`` says what the rows look like (``cdc.schema``).
    """

    def __init__(self, name: str, columns: Sequence[str], count: int, source: str, described: bytes) -> None:
        self.source = source
        self.described = described
        self.columns = columns
        self._name = name
        self._count = count
        self._everything = (1 << count) - 1
        self._usual = self._everything.to_bytes((count + 7) // 8, "little"), b"\xff" * ((count + 7) // 8)
        made = _executed(source)
        self._decode = made["decode"]
        self._texts = made["texts"]

    def __call__(self, body: bytes, rows: Rows, end: int) -> list[bytes]:
        """Decode the images of a write or delete rows event."""
        return self.images(body, rows.start, end, rows.columns, rows.present)

    def images(self, data: bytes, at: int, end: int, columns: int, present: bytes) -> list[bytes]:
        """Decode the images between two places; ``columns`` and ``present`` are the event's."""
        self._check(columns, present)
        try:
            messages: list[bytes] = self._decode(data, at, end)
        except _BROKEN as error:
            raise self._undecodable(error) from error
        return messages

    def texts(self, body: bytes, at: int, columns: int, present: bytes) -> tuple[list[bytes], int]:
        """One image at ``at``: the JSON text of each of ``columns``, and the offset behind the image.

        ``columns`` and ``present`` are the event's, as an update rows event has them for each of its two images.
        """
        self._check(columns, present)
        try:
            texts: list[bytes]
            texts, at = self._texts(body, at)
        except _BROKEN as error:
            raise self._undecodable(error) from error
        if at > len(body):
            raise self._undecodable(MalformedEvent(f"a row image ends at byte {at} of {len(body)}"))
        return texts, at

    def _check(self, columns: int, present: bytes) -> None:
        if columns == self._count and present in self._usual:
            return
        if columns != self._count or int.from_bytes(present, "little") & self._everything != self._everything:
            raise UndecodableRow(f"{self._name}: the row image is not complete; SET GLOBAL binlog_row_image = 'FULL'")

    def _undecodable(self, error: Exception) -> UndecodableRow:
        return UndecodableRow(f"{self._name}: a row cannot be decoded: {error!r}")


_BROKEN = (MalformedEvent, LookupError, ValueError, struct.error, RecursionError)


@lru_cache(maxsize=256)
def _executed(source: str) -> dict[str, Any]:
    """What a source defines; a shape that comes again, as after each rotation of the log, is not compiled again."""
    namespace: dict[str, Any] = {}
    exec(compile(source, "<row decoder>", "exec"), namespace)  # noqa: S102 - written by decoder_source, names escaped
    return namespace


def compile_decoder(table: TableMap, shape: Shape) -> Decoder:
    """A decoder for ``table``; raises UndecodableRow naming the first column that it cannot read."""
    name = f"{table.schema}.{table.table}"
    if not table.named:
        raise UndecodableRow(f"{name}: the log carries no column names; SET GLOBAL binlog_row_metadata = 'FULL'")
    wanted = [shape.columns is None or column.name in shape.columns for column in table.columns]
    fields = [
        Field(column.name, _cell(name, column, shape), column.nullable, one)
        for column, one in zip(table.columns, wanted, strict=True)
    ]
    source = decoder_source.write(name, fields)
    described = schema.of_map(table, shape.columns, shape.hidden, shape.charsets)
    return Decoder(name, [field.name for field in fields if field.wanted], len(fields), source, described)


def _cell(table: str, column: Column, shape: Shape) -> Cell:
    charset = BINARY if column.collation == BINARY_COLLATION else shape.charsets.get(column.collation or 0)
    found = cell(column, Reading(shape.bigint_strings, charset, dict(shape.hidden).get(column.name)))
    if found is None:
        what = f"type {column.type}"
        if charset is not None:
            what += f" in the character set {charset}"
        elif column.collation is not None:
            what += f" with the unknown collation {column.collation}"
        raise UndecodableRow(f"{table}: column {column.name} ({what}) cannot be decoded by this version")
    return found
