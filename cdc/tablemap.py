"""A table map event: the shape of a table at the moment its rows were written.

Names, signedness, labels and character sets come from here (``binlog_row_metadata=FULL``), never from today's
schema, so that rows from before an ALTER keep the names they had. Format: MySQL's ``Table_map_event``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cdc.errors import UndecodableRow
from cdc.events import read_length

TINY, SHORT, LONG, FLOAT, DOUBLE, NULL, TIMESTAMP, LONGLONG, INT24 = range(1, 10)
DATE, TIME, DATETIME, YEAR = 10, 11, 12, 13
VARCHAR, BIT, TIMESTAMP2, DATETIME2, TIME2 = 15, 16, 17, 18, 19
BLOB_COMPRESSED, VARCHAR_COMPRESSED = 140, 141
VECTOR, JSON, NEWDECIMAL, ENUM, SET = 242, 245, 246, 247, 248
TINY_BLOB, MEDIUM_BLOB, LONG_BLOB, BLOB, VAR_STRING, STRING, GEOMETRY = range(249, 256)

BINARY_COLLATION = 63  # of strings of bytes

_NUMERIC = frozenset({TINY, SHORT, INT24, LONG, LONGLONG, NEWDECIMAL, FLOAT, DOUBLE, YEAR})
_STRINGS = frozenset({STRING, VAR_STRING, VARCHAR, BLOB, TINY_BLOB, MEDIUM_BLOB, LONG_BLOB})
# The types that the log gives a character set, if only "binary".
_CHARACTER_MYSQL = _STRINGS | {VECTOR}
_CHARACTER_MARIADB = _STRINGS | {GEOMETRY, BLOB_COMPRESSED, VARCHAR_COMPRESSED}
_META_SIZE = {
    FLOAT: 1, DOUBLE: 1, VARCHAR: 2, BIT: 2, TIMESTAMP2: 1, DATETIME2: 1, TIME2: 1, VECTOR: 1, JSON: 1, NEWDECIMAL: 2,
    ENUM: 2, SET: 2, TINY_BLOB: 1, MEDIUM_BLOB: 1, LONG_BLOB: 1, BLOB: 1, VAR_STRING: 2, STRING: 2, GEOMETRY: 1,
    BLOB_COMPRESSED: 1, VARCHAR_COMPRESSED: 2,
}  # fmt: skip
_NAMES = 4  # the field of the optional metadata that holds the columns' names
_PLAIN = frozenset({TINY, SHORT, LONG, NULL, TIMESTAMP, LONGLONG, INT24, DATE, TIME, DATETIME, YEAR})


class Column(NamedTuple):
    """One column as the table map tells it. ``meta`` holds the type's own bytes; ``collation`` is None if unsaid."""

    name: str
    type: int
    meta: bytes
    nullable: bool
    unsigned: bool = False
    collation: int | None = None
    labels: tuple[bytes, ...] = ()


class TableName(NamedTuple):
    """Which table a map is for; ``at`` is where its columns begin."""

    table_id: int
    schema: str
    table: str
    at: int


class TableMap(NamedTuple):
    """A table's shape. ``named`` is False when the server logs without ``binlog_row_metadata=FULL``.

    ``key`` are the places of the primary key's columns.
    """

    schema: str
    table: str
    columns: tuple[Column, ...]
    named: bool
    key: tuple[int, ...] = ()


def parse_name(body: bytes) -> TableName:
    """Schema and table only: what decides whether the rest is worth reading."""
    size = body[8]
    schema = body[9 : 9 + size].decode()
    at = 10 + size
    size = body[at]
    return TableName(int.from_bytes(body[:6], "little"), schema, body[at + 1 : at + 1 + size].decode(), at + 2 + size)


def width(meta: bytes) -> int:
    """Bytes of a CHAR or BINARY column: two bits hide, inverted, in the type byte (MySQL bug 37426)."""
    return ((meta[0] << 4 & 0x300) ^ 0x300) + meta[1]


def parse(body: bytes, *, mariadb: bool) -> TableMap:
    """The whole map; raises UndecodableRow on a column type whose metadata has an unknown size."""
    name = parse_name(body)
    count, at = read_length(body, name.at)
    types = body[at : at + count]
    at += count
    meta_size, at = read_length(body, at)
    meta = body[at : at + meta_size]
    at += meta_size
    nullable = body[at : at + (count + 7) // 8]
    at += (count + 7) // 8
    _refuse_unknown(types, name, body[at:])
    kinds = list(_kinds(types, meta))
    extra = _Metadata([kind for kind, _ in kinds], mariadb=mariadb)
    extra.read(body[at:])
    columns = tuple(
        Column(
            extra.names[i] if i < len(extra.names) else f"UNKNOWN_COL{i}",
            kind,
            meta,
            bool(nullable[i >> 3] >> (i & 7) & 1),
            extra.unsigned[i],
            extra.collations[i],
            extra.labels[i],
        )
        for i, (kind, meta) in enumerate(kinds)
    )
    return TableMap(name.schema, name.table, columns, len(extra.names) == count, tuple(extra.key))


def _refuse_unknown(types: bytes, name: TableName, block: bytes) -> None:
    """A column after one of an unknown type cannot be found, in the map or in a row; the names can."""
    for i, kind in enumerate(types):
        if kind not in _META_SIZE and kind not in _PLAIN:
            names = next((_strings(value) for field, value in _fields(block) if field == _NAMES), [])
            column = names[i].decode() if len(names) == len(types) else f"number {i + 1}"
            raise UndecodableRow(
                f"{name.schema}.{name.table}: column {column} (type {kind}) cannot be decoded by this version"
            )


def _kinds(types: bytes, meta: bytes) -> Iterator[tuple[int, bytes]]:
    """Each column's real type and metadata; ENUM and SET are logged as STRING with their type in the metadata."""
    at = 0
    for kind in types:
        size = _META_SIZE.get(kind, 0)
        own = meta[at : at + size]
        at += size
        yield (own[0], own) if kind == STRING and own[0] in (ENUM, SET) else (kind, own)


def _fields(block: bytes) -> Iterator[tuple[int, bytes]]:
    """The optional metadata: a list of (type, length, value)."""
    at = 0
    while at < len(block):
        kind = block[at]
        size, at = read_length(block, at + 1)
        yield kind, block[at : at + size]
        at += size


class _Metadata:
    """What the optional metadata says of each column."""

    def __init__(self, kinds: Sequence[int], *, mariadb: bool) -> None:
        count = len(kinds)
        self.names: list[str] = []
        self.key: list[int] = []
        self.unsigned = [False] * count
        self.collations: list[int | None] = [None] * count
        self.labels: list[tuple[bytes, ...]] = [()] * count
        character = _CHARACTER_MARIADB if mariadb else _CHARACTER_MYSQL
        self._numeric = [i for i, kind in enumerate(kinds) if kind in _NUMERIC]
        self._character = [i for i, kind in enumerate(kinds) if kind in character]
        self._sets = [i for i, kind in enumerate(kinds) if kind == SET]
        self._enums = [i for i, kind in enumerate(kinds) if kind == ENUM]
        self._labelled = sorted(self._sets + self._enums)

    def read(self, block: bytes) -> None:
        for kind, value in _fields(block):
            self._field(kind, value)

    def _field(self, kind: int, value: bytes) -> None:
        if kind == 1:
            for n, i in enumerate(self._numeric):
                self.unsigned[i] = bool(value[n >> 3] >> (7 - (n & 7)) & 1)
        elif kind in (2, 10):
            self._default_collation(self._character if kind == 2 else self._labelled, value)
        elif kind in (3, 11):
            targets = self._character if kind == 3 else self._labelled
            for i, collation in zip(targets, _integers(value), strict=False):
                self.collations[i] = collation
        elif kind == _NAMES:
            self.names = [name.decode() for name in _strings(value)]
        elif kind in (8, 9):
            self.key = _integers(value)[:: kind - 7]  # in 9 each has the length of its prefix behind it
        elif kind in (5, 6):
            for i, labels in zip(self._sets if kind == 5 else self._enums, _label_lists(value), strict=False):
                self.labels[i] = labels

    def _default_collation(self, targets: Sequence[int], value: bytes) -> None:
        """One collation for all, then pairs (place among the targets, collation) for the exceptions."""
        default, *exceptions = _integers(value)
        for i in targets:
            self.collations[i] = default
        for place, collation in zip(exceptions[::2], exceptions[1::2], strict=True):
            self.collations[targets[place]] = collation


def _integers(value: bytes) -> list[int]:
    numbers, at = [], 0
    while at < len(value):
        number, at = read_length(value, at)
        numbers.append(number)
    return numbers


def _strings(value: bytes) -> list[bytes]:
    strings, at = [], 0
    while at < len(value):
        size, at = read_length(value, at)
        strings.append(value[at : at + size])
        at += size
    return strings


def _label_lists(value: bytes) -> list[tuple[bytes, ...]]:
    lists, at = [], 0
    while at < len(value):
        count, at = read_length(value, at)
        labels = []
        for _ in range(count):
            size, at = read_length(value, at)
            labels.append(value[at : at + size])
            at += size
        lists.append(tuple(labels))
    return lists
