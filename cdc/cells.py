"""How each type of column lies in a row image, and the expression that makes JSON of it."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from cdc import charsets, values
from cdc import tablemap as t
from cdc.tablemap import Column


class Cell(NamedTuple):
    """One column of a row image, as a fragment of Python.

    ``fields`` are the struct letters of its fixed bytes; with ``sized`` they hold the length of the bytes that follow.
    ``values`` are expressions over those fields (``{0}``, ``{1}``, … in the order of ``fields``) or, when sized, over
    the bytes that follow (``{0}``); formatted by ``form`` they are the JSON text. ``{labels}`` stands for ``labels``.
    ``usual`` stands for the one of ``values`` where there is a shorter way that raises one of ``cdc.values.UNUSUAL``.
    """

    fields: str
    form: str
    values: tuple[str, ...]
    sized: bool = False
    labels: tuple[bytes, ...] = ()
    usual: str | None = None


class Reading(NamedTuple):
    """What cannot be read from the table map: ``hidden`` is the type behind a column's type, if there is one."""

    bigint_strings: bool
    charset: str | None
    hidden: str | None


_LENGTH = {1: "B", 2: "H", 3: "HB", 4: "I"}
_WHOLE = {1: "B", 2: "H", 3: "HB", 4: "I", 8: "Q"}
_INTEGERS = {t.TINY: "b", t.SHORT: "h", t.INT24: "Hb", t.LONG: "i", t.LONGLONG: "q"}
_BLOB_TYPES = frozenset({t.TINY_BLOB, t.BLOB, t.MEDIUM_BLOB, t.LONG_BLOB, t.BLOB_COMPRESSED})
_VARCHAR_TYPES = frozenset({t.VARCHAR, t.VAR_STRING, t.VARCHAR_COMPRESSED})
_DOCUMENTS = {t.JSON: "document({0})", t.GEOMETRY: "geometry({0})", t.VECTOR: "vector({0})"}
_FRACTIONS = ("", "TENTHS", "HUNDREDTHS", "THOUSANDTHS", "TEN_THOUSANDTHS")
_THREE_BYTES = "{0} | {1} << 16"
_HIDDEN = {("uuid", 16): "uuid({0})", ("inet4", 4): "inet4({0})", ("inet6", 16): "inet6({0})"}
BINARY = "binary"


def cell(column: Column, reading: Reading) -> Cell | None:
    """The cell of a column, None for a type that this version cannot read."""
    return _number(column, reading) or _temporal(column) or _bytes(column, reading) or _labelled(column, reading)


def _number(column: Column, reading: Reading) -> Cell | None:
    kind, meta = column.type, column.meta
    if kind in _INTEGERS:
        form = '"%d"' if kind == t.LONGLONG and reading.bigint_strings else "%d"
        fields = _INTEGERS[kind].upper() if column.unsigned else _INTEGERS[kind]
        return Cell(fields, form, (_THREE_BYTES if kind == t.INT24 else "{0}",))
    if kind == t.FLOAT:
        return Cell("4s", "%b", ("float32({0})",))
    if kind == t.DOUBLE:
        return Cell("d", "%b", ("encode({0})",))
    if kind == t.NEWDECIMAL:
        return Cell(f"{values.decimal_size(*meta)}s", '"%b"', (f"decimal({{0}}, {meta[0]}, {meta[1]})",))
    if kind == t.YEAR:
        return Cell("B", "%d", ("{0} and 1900 + {0}",))
    if kind == t.BIT:
        size = (meta[1] * 8 + meta[0] + 7) // 8
        return Cell(f"{size}s", "%d", ('int.from_bytes({0}, "big")',)) if size > 1 else Cell("B", "%d", ("{0}",))
    return None


def _temporal(column: Column) -> Cell | None:
    kind = column.type
    if kind == t.DATE:
        return Cell("3s", '"%b"', ("DATES[{0}]",))
    if kind not in (t.DATETIME2, t.TIMESTAMP2, t.TIME2):
        return None
    digits = column.meta[0]
    tail = (digits + 1) // 2
    if kind == t.TIME2:
        return Cell(f"{3 + tail}s", '"%b"', (f"time({{0}}, {digits})",))
    fields, form, parts = _fraction(digits)
    if kind == t.DATETIME2:
        return Cell(f"5s{fields}", f'"%b{form}"', ("DATETIMES[{0}]", *parts))
    return Cell(f"4s{fields}", f'"%b{form}Z"', ("TIMESTAMPS[{0}]", *parts))


def _fraction(digits: int) -> tuple[str, str, tuple[str, ...]]:
    """Fields, form and values of the digits behind the second; those that few texts are of are looked up."""
    if not digits:
        return "", "", ()
    if digits < 5:
        return f"{(digits + 1) // 2}s", ".%b", (f"{_FRACTIONS[digits]}[{{1}}]",)
    millionths = "{1} << 16 | {2} << 8 | {3}"
    return "BBB", f".%0{digits}d", (millionths if digits == 6 else f"({millionths}) // 10",)


def _bytes(column: Column, reading: Reading) -> Cell | None:
    """Everything with its length before it."""
    kind, meta = column.type, column.meta
    if kind in _DOCUMENTS:
        return Cell(_LENGTH[meta[0]], "%b", (_DOCUMENTS[kind],), sized=True)
    if kind in _BLOB_TYPES:
        return _string(_LENGTH[meta[0]], _raw(kind), reading)
    if kind in _VARCHAR_TYPES:
        return _string("H" if int.from_bytes(meta, "little") > 255 else "B", _raw(kind), reading)
    return _char(meta, reading) if kind == t.STRING else None


def _raw(kind: int) -> str:
    return "inflated({0})" if kind in (t.BLOB_COMPRESSED, t.VARCHAR_COMPRESSED) else "{0}"


def _char(meta: bytes, reading: Reading) -> Cell | None:
    """CHAR, BINARY, and what MariaDB logs like BINARY. The log strips what a value is padded with."""
    length = t.width(meta)
    fields = "H" if length > 255 else "B"
    if reading.charset != BINARY:
        return _string(fields, "{0}", reading)
    hidden = _HIDDEN.get((reading.hidden or "", length))
    if hidden is not None:
        return Cell(fields, '"%b"', (hidden,), sized=True)
    return _string(fields, f'{{0}}.ljust({length}, b"\\0")', reading)


def _string(fields: str, raw: str, reading: Reading) -> Cell | None:
    """A string whose bytes ``raw`` is the expression of."""
    charset = reading.charset
    if charset is None:
        return None
    if charset == BINARY:
        return Cell(fields, '"%b"', (f"base64({raw})",), sized=True)
    if not charsets.decodable(charset):
        return None
    utf8 = charsets.CODECS.get(charset) == "utf-8"
    if reading.hidden == "json":
        text = raw if utf8 else f"decode_text({raw}, {charset!r}).encode()"
        usual = "check_json({0}) and {0}.strip() if {0}.isascii() else json_text({0})" if text == "{0}" else None
        return Cell(fields, "%b", (f"json_text({text})",), sized=True, usual=usual)
    if not utf8:
        return Cell(fields, "%b", (f"text({raw}, {charset!r})",), sized=True)
    text = f'encode({raw}.decode("utf-8", "replace"))'
    return Cell(fields, "%b", (text,), sized=True, usual=f"encode({raw}.decode())")


def _labelled(column: Column, reading: Reading) -> Cell | None:
    if column.type not in (t.ENUM, t.SET) or column.collation is None:
        return None
    charset = "utf8mb4" if reading.charset in (None, BINARY) else str(reading.charset)
    fields = _WHOLE.get(column.meta[1])
    if not charsets.decodable(charset) or fields is None:
        return None
    labels = tuple(charsets.text(label, charset) for label in column.labels)
    number = _THREE_BYTES if fields == "HB" else "{0}"
    if column.type == t.SET:
        return Cell(fields, "%b", (f"label_set({number}, {{labels}})",), labels=labels)
    # The invalid value 0 is the empty string, as the server prints it.
    return Cell(fields, "%b", ("{labels}[{0}]",), labels=(msgspec.json.encode(""), *labels))
