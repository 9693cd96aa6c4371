"""MySQL's binary JSON to JSON text, each byte looked at once. Format: the comment at the top of ``json_binary.h``.

Documents in one column mostly have the same keys with the same types of values. What follows from those alone, the
*outline* of a container, is worked out once and kept: a struct that reads all value entries, and the text around them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

from cdc import tablemap, values
from cdc.errors import MalformedEvent
from cdc.values import encode

_SMALL_OBJECT, _LARGE_OBJECT, _SMALL_ARRAY, _LARGE_ARRAY, _LITERAL = 0, 1, 2, 3, 4
_DOUBLE, _STRING, _OPAQUE = 11, 12, 15
_LITERALS = {0: b"null", 1: b"true", 2: b"false"}

# Value entries are a type and two bytes, in large containers four: the value itself where it fits, else its offset.
_INLINE = {_LITERAL: "H", 5: "h", 6: "H"}
_INLINE_LARGE = {_LITERAL: "H2x", 5: "h2x", 6: "H2x", 7: "i", 8: "I"}

_KEPT = 2048  # outlines, which a column of documents that are all different would otherwise pile up
_LONGEST = 1024  # bytes of what an outline is known by; longer ones are seldom met again


class _Format(NamedTuple):
    """The two sizes that containers come in: ``head`` reads count and size, ``pair`` a key's offset and length."""

    head: struct.Struct
    pair: struct.Struct
    entry: int
    inline: dict[int, str]
    offset: str


_SMALL = _Format(struct.Struct("<HH"), struct.Struct("<HH"), 3, _INLINE, "H")
_LARGE = _Format(struct.Struct("<II"), struct.Struct("<IH"), 5, _INLINE_LARGE, "I")
_FORMATS = (_SMALL, _LARGE, _SMALL, _LARGE)

Reader = Callable[[bytes, int], bytes]
"""Reads the value at an offset: its JSON text."""


class _Outline(NamedTuple):
    """``form`` takes what ``entries`` reads, after the values that lie elsewhere were read in their places."""

    entries: Callable[[bytes, int], tuple[int, ...]]
    form: bytes
    literals: tuple[int, ...]
    elsewhere: tuple[tuple[int, Reader], ...]


_outlines: tuple[dict[bytes, _Outline], ...] = ({}, {}, {}, {})


def document(data: bytes) -> bytes:
    """The JSON document in ``data`` as text, keys in the server's order; an empty column value reads as null.

    Raises MalformedEvent when it is damaged, or holds a type that this version does not know.
    """
    if not data:
        return b"null"
    try:
        return _reader(data[0])(data, 1)
    except (LookupError, struct.error, TypeError) as error:
        raise MalformedEvent(f"a JSON column holds no document: {error!r}") from error


def _reader(kind: int) -> Reader:
    reader = _READERS.get(kind)
    if reader is None:
        raise MalformedEvent(f"a JSON column holds a value of the unknown type {kind}")
    return reader


def _container(kind: int) -> Reader:
    head, pair, entry, *_ = form = _FORMATS[kind]
    keyed = kind <= _LARGE_OBJECT
    known = _outlines[kind]
    read_head, read_pair = head.unpack_from, pair.unpack_from

    def read(data: bytes, base: int) -> bytes:
        count, _ = read_head(data, base)
        if not count:
            return b"{}" if keyed else b"[]"
        keys = base + head.size
        if keyed:
            at = keys + count * pair.size
            names = at + count * entry
            offset, size = read_pair(data, at - pair.size)  # of the last: names lie in the order of their entries
            mark = data[keys:at] + data[at:names:entry] + data[names : base + offset + size]
        else:
            at = keys
            mark = data[at : at + count * entry : entry]
        outline = known.get(mark)
        if outline is None:
            outline = _outline(form, data[at : at + count * entry : entry], _names(data, base, keys, at, pair))
            _keep(known, mark, outline)
        return _fill(outline, data, base, at)

    return read


def _fill(outline: _Outline, data: bytes, base: int, at: int) -> bytes:
    entries, form, literals, elsewhere = outline
    if not literals and not elsewhere:
        return form % entries(data, at)
    found: list[int | bytes] = [*entries(data, at)]
    for i in literals:
        found[i] = _LITERALS[found[i]]  # type: ignore[index]  # nothing but numbers was read
    for i, read in elsewhere:
        found[i] = read(data, base + found[i])  # type: ignore[operator]  # the same
    return form % tuple(found)


def _names(data: bytes, base: int, at: int, end: int, pair: struct.Struct) -> list[bytes]:
    """The keys of an object, as JSON with their colons."""
    found = []
    for offset, size in pair.iter_unpack(data[at:end]):
        name = data[base + offset : base + offset + size]
        found.append(encode(name.decode("utf-8", "replace")) + b":")
    return found


def _outline(form: _Format, kinds: bytes, names: list[bytes]) -> _Outline:
    letters, texts, literals, elsewhere = ["<"], [], [], []
    for i, kind in enumerate(kinds):
        inline = form.inline.get(kind)
        letters.append("x" + (inline or form.offset))
        texts.append(b"%d" if inline and kind != _LITERAL else b"%b")
        if kind == _LITERAL:
            literals.append(i)
        elif not inline:
            elsewhere.append((i, _reader(kind)))
    if names:
        pairs = [name.replace(b"%", b"%%") + text for name, text in zip(names, texts, strict=True)]
        text = b"{" + b",".join(pairs) + b"}"
    else:
        text = b"[" + b",".join(texts) + b"]"
    return _Outline(struct.Struct("".join(letters)).unpack_from, text, tuple(literals), tuple(elsewhere))


def _keep(known: dict[bytes, _Outline], mark: bytes, outline: _Outline) -> None:
    if len(mark) <= _LONGEST:
        if len(known) >= _KEPT:
            known.clear()
        known[mark] = outline


def _integer(letter: str) -> Reader:
    unpack = struct.Struct("<" + letter).unpack_from
    return lambda data, at: b"%d" % unpack(data, at)[0]


_LINE = 76  # characters of base64 in a line, as the server prints it
_double = struct.Struct("<d").unpack_from


def _string(data: bytes, at: int) -> bytes:
    size = data[at]
    if size < 0x80:
        return encode(data[at + 1 : at + 1 + size].decode("utf-8", "replace"))
    size, at = _size(data, at)
    return encode(data[at : at + size].decode("utf-8", "replace"))


def _size(data: bytes, at: int) -> tuple[int, int]:
    """A length in groups of seven bits, least significant first, and the offset behind it."""
    byte = data[at]
    size, shift = byte & 0x7F, 7
    at += 1
    while byte > 0x7F:
        byte = data[at]
        at += 1
        size |= (byte & 0x7F) << shift
        shift += 7
    return size, at


def _opaque(data: bytes, at: int) -> bytes:
    """A value of an SQL type inside a document: decimals are numbers, dates print as MySQL prints them."""
    kind = data[at]
    size, at = _size(data, at + 1)
    raw = data[at : at + size]
    if kind == tablemap.NEWDECIMAL:
        return values.decimal(raw[2:], raw[0], raw[1])
    if kind in (tablemap.DATE, tablemap.DATETIME, tablemap.TIMESTAMP, tablemap.TIME):
        return b'"%b"' % _temporal(kind, int.from_bytes(raw, "little", signed=True))
    text = values.base64(raw)
    lines = [text[at : at + _LINE] for at in range(0, len(text), _LINE)]
    return b'"base64:type%d:%b"' % (kind, rb"\n".join(lines))


def _temporal(kind: int, packed: int) -> bytes:
    sign = b"-" if packed < 0 else b""
    seconds, micro = divmod(abs(packed), 1 << 24)
    minute, second = seconds >> 6 & 63, seconds & 63
    if kind == tablemap.TIME:
        return b"%b%02d:%02d:%02d.%06d" % (sign, seconds >> 12 & 1023, minute, second, micro)
    months = seconds >> 22
    day = b"%04d-%02d-%02d" % (months // 13, months % 13, seconds >> 17 & 31)
    if kind == tablemap.DATE:
        return day
    return b"%b %02d:%02d:%02d.%06d" % (day, seconds >> 12 & 31, minute, second, micro)


_READERS: dict[int, Reader] = {
    **{kind: _container(kind) for kind in (_SMALL_OBJECT, _LARGE_OBJECT, _SMALL_ARRAY, _LARGE_ARRAY)},
    _LITERAL: lambda data, at: _LITERALS[data[at]],
    **{kind: _integer(letter) for kind, letter in {5: "h", 6: "H", 7: "i", 8: "I", 9: "q", 10: "Q"}.items()},
    _DOUBLE: lambda data, at: encode(_double(data, at)[0]),
    _STRING: _string,
    _OPAQUE: _opaque,
}
