"""MySQL's binary JSON to JSON text. Format: the comment at the top of MySQL's ``json_binary.h``."""

from __future__ import annotations

import struct

import msgspec

from cdc import tablemap, values
from cdc.errors import MalformedEvent

_encode = msgspec.json.Encoder().encode
_SMALL_OBJECT, _LARGE_OBJECT, _SMALL_ARRAY, _LARGE_ARRAY, _LITERAL = 0, 1, 2, 3, 4
_INTEGERS = {5: "<h", 6: "<H", 7: "<i", 8: "<I", 9: "<q", 10: "<Q"}
_INLINE = frozenset({_LITERAL, 5, 6})
_INLINE_LARGE = _INLINE | {7, 8}
_LITERALS = {0: b"null", 1: b"true", 2: b"false"}
_DOUBLE, _STRING, _OPAQUE = 11, 12, 15


def document(data: bytes) -> bytes:
    """The JSON document in ``data`` as text, keys in the server's order; an empty column value reads as null."""
    if not data:
        return b"null"
    try:
        return _value(data, data[0], 1)
    except (IndexError, struct.error) as error:
        raise MalformedEvent("a JSON column ends in the middle of its document") from error


def _value(data: bytes, kind: int, at: int) -> bytes:
    if kind <= _LARGE_ARRAY:
        return _container(data, kind, at)
    if kind == _LITERAL:
        return _LITERALS[data[at]]
    if kind in _INTEGERS:
        return b"%d" % struct.unpack_from(_INTEGERS[kind], data, at)[0]
    if kind == _DOUBLE:
        return values.encode(struct.unpack_from("<d", data, at)[0])
    if kind == _STRING:
        size, at = _size(data, at)
        return _encode(data[at : at + size].decode("utf-8", "replace"))
    if kind == _OPAQUE:
        size, start = _size(data, at + 1)
        return _opaque(data[at], data[start : start + size])
    raise MalformedEvent(f"a JSON column holds a value of the unknown type {kind}")


def _container(data: bytes, kind: int, base: int) -> bytes:
    """An object or array; its offsets count from ``base``. Small ones hold 16-bit offsets, large ones 32-bit."""
    large = kind in (_LARGE_OBJECT, _LARGE_ARRAY)
    width, number = (4, "<I") if large else (2, "<H")
    (count,) = struct.unpack_from(number, data, base)
    at = base + 2 * width
    keys: list[bytes] = []
    if kind <= _LARGE_OBJECT:
        for i in range(count):
            offset, size = struct.unpack_from(number + "H", data, at + i * (width + 2))
            keys.append(_encode(data[base + offset : base + offset + size].decode()))
        at += count * (width + 2)
    items = []
    inline = _INLINE_LARGE if large else _INLINE
    for i in range(count):
        entry = at + i * (width + 1)
        item = data[entry]
        where = entry + 1 if item in inline else base + struct.unpack_from(number, data, entry + 1)[0]
        items.append(_value(data, item, where))
    if kind <= _LARGE_OBJECT:
        return b"{" + b",".join([key + b":" + item for key, item in zip(keys, items, strict=True)]) + b"}"
    return b"[" + b",".join(items) + b"]"


def _size(data: bytes, at: int) -> tuple[int, int]:
    """A length in groups of seven bits, least significant first."""
    size = shift = 0
    while True:
        byte = data[at]
        at += 1
        size |= (byte & 0x7F) << shift
        if byte < 0x80:
            return size, at
        shift += 7


def _opaque(kind: int, raw: bytes) -> bytes:
    """A value of an SQL type inside a document: decimals are numbers, dates print as MySQL prints them."""
    if kind == tablemap.NEWDECIMAL:
        return values.decimal(raw[2:], raw[0], raw[1])
    if kind in (tablemap.DATE, tablemap.DATETIME, tablemap.TIMESTAMP, tablemap.TIME):
        return _encode(_temporal(kind, int.from_bytes(raw, "little", signed=True)))
    return _encode(f"base64:type{kind}:" + values.base64(raw).decode())


def _temporal(kind: int, packed: int) -> str:
    sign = "-" if packed < 0 else ""
    seconds, micro = divmod(abs(packed), 1 << 24)
    minute, second = seconds >> 6 & 63, seconds & 63
    if kind == tablemap.TIME:
        return f"{sign}{seconds >> 12 & 1023:02d}:{minute:02d}:{second:02d}.{micro:06d}"
    months = seconds >> 22
    day = f"{months // 13:04d}-{months % 13:02d}-{seconds >> 17 & 31:02d}"
    if kind == tablemap.DATE:
        return day
    return f"{day} {seconds >> 12 & 31:02d}:{minute:02d}:{second:02d}.{micro:06d}"
