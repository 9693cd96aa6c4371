"""MySQL's binary JSON to JSON text, each byte looked at once. Format: the comment at the top of ``json_binary.h``.

Documents in one column mostly have the same keys with the same types of values. What follows from those alone, the
*outline* of a container, is worked out once and kept: a struct that reads all value entries, and the text around them.
A small container whose outline was met often gets a reader of its own (``cdc/json_source.py``); the next one is read by
the latest of these that fits, and all others by their outline. docs/decisions/0024-readers-for-json-outlines.md
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from cdc import json_source, tablemap, values
from cdc.errors import MalformedEvent
from cdc.values import encode

_SMALL_OBJECT, _LARGE_OBJECT, _SMALL_ARRAY, _LARGE_ARRAY, _LITERAL = 0, 1, 2, 3, 4
_DOUBLE, _STRING, _OPAQUE = json_source.DOUBLE, json_source.STRING, 15
_LITERALS = {0: b"null", 1: b"true", 2: b"false"}

# Value entries are a type and two bytes, in large containers four: the value itself where it fits, else its offset.
_INLINE = {_LITERAL: "H", 5: "h", 6: "H"}
_INLINE_LARGE = {_LITERAL: "H2x", 5: "h2x", 6: "H2x", 7: "i", 8: "I"}

_KEPT = 2048  # outlines, which a column of documents that are all different would otherwise pile up
_LONGEST = 1024  # bytes of what an outline is known by; longer ones are seldom met again

_OFTEN = 256  # times that an outline is met before it gets a reader: those take longer than writing one, a millisecond
_WIDEST = 32  # values of a container with a reader of its own
_TOGETHER = 16  # containers inside one that get readers with it
_TRIED = 4  # readers that are tried on one container, before it is read by its outline
_READERS_KEPT = 64  # by the first key; four times as many at most


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


@dataclass(slots=True)
class _Outline:
    """``form`` takes what ``entries`` reads, after the values that lie elsewhere were read in their places.

    It is empty for an array of numbers that are all in their entries. ``met`` counts up to ``_OFTEN``.
    """

    entries: Callable[[bytes, int], tuple[int, ...]]
    form: bytes
    literals: tuple[int, ...]
    elsewhere: tuple[tuple[int, Reader], ...]
    met: int = 0


class _Found(NamedTuple):
    """A container of values: ``at`` is where its entries begin, ``mark`` what its outline follows from."""

    number: int
    at: int
    mark: bytes
    outline: _Outline


_outlines: tuple[dict[tuple[int, bytes], _Outline], ...] = ({}, {}, {}, {})
"""Of each kind of container, by count and mark."""

_readers: dict[bytes, Reader] = {}
"""The first to try on a small object, by its first key's offset (which tells the number of values) and length."""

_tried: dict[bytes, int] = {}
"""How many of these are tried, one after the other."""


def document(data: bytes) -> bytes:
    """The JSON document in ``data`` as text, keys in the server's order; an empty column value reads as null.

    Raises MalformedEvent when it is damaged, or holds a type that this version does not know.
    """
    if not data:
        return b"null"
    try:
        if data[0] == _SMALL_OBJECT:  # as nearly all are
            return _readers.get(data[5:9], _by_outline)(data, 1)
        return _reader(data[0])(data, 1)
    except (LookupError, struct.error, TypeError) as error:
        raise MalformedEvent(f"a JSON column holds no document: {error!r}") from error


def _reader(kind: int) -> Reader:
    reader = _READERS.get(kind)
    if reader is None:
        raise MalformedEvent(f"a JSON column holds a value of the unknown type {kind}")
    return reader


def _small_object(data: bytes, base: int) -> bytes:
    return _readers.get(data[base + 4 : base + 8], _by_outline)(data, base)


def _finder(kind: int) -> Callable[[bytes, int, int], _Found]:
    head, pair, entry, *_ = form = _FORMATS[kind]
    keyed = kind <= _LARGE_OBJECT
    known = _outlines[kind]
    read_pair = pair.unpack_from

    def find(data: bytes, base: int, count: int) -> _Found:
        keys = base + head.size
        if keyed:
            at = keys + count * pair.size
            names = at + count * entry
            offset, size = read_pair(data, at - pair.size)  # of the last: names lie in the order of their entries
            mark = data[keys:at] + data[at:names:entry] + data[names : base + offset + size]
        else:
            at = keys
            mark = data[at : at + count * entry : entry]
        outline = known.get((count, mark))
        if outline is None:
            kinds = data[at : at + count * entry : entry]
            if len(kinds) != count:
                raise MalformedEvent("a JSON column holds a container that ends early")
            outline = _outline(form, kinds, _names(data, base, keys, at, pair))
            if len(mark) <= _LONGEST and (not keyed or _in_order(form, data[keys:at], count, len(data) - base)):
                _keep(known, (count, mark), outline)
        return _Found(count, at, mark, outline)

    return find


def _container(kind: int) -> Reader:
    find, read_head = _FINDERS[kind], _FORMATS[kind].head.unpack_from
    empty = b"{}" if kind <= _LARGE_OBJECT else b"[]"

    def read(data: bytes, base: int) -> bytes:
        count, _ = read_head(data, base)
        if not count:
            return empty
        found = find(data, base, count)
        outline = found.outline
        if kind == _SMALL_OBJECT:
            outline.met += 1
            if outline.met == _OFTEN:
                outline.met = 0
                _give_reader(found, data, base)
        return _fill(outline, data, base, found.at)

    return read


def _fill(outline: _Outline, data: bytes, base: int, at: int) -> bytes:
    form, literals, elsewhere = outline.form, outline.literals, outline.elsewhere
    if not form:
        return encode(outline.entries(data, at))
    if not literals and not elsewhere:
        return form % outline.entries(data, at)
    found: list[int | bytes] = [*outline.entries(data, at)]
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


def _in_order(form: _Format, keys: bytes, count: int, most: int) -> bool:
    """Whether the names lie one after the other behind the entries, within ``most`` bytes: a mark holds all of them."""
    place = form.head.size + len(keys) + count * form.entry
    for offset, size in form.pair.iter_unpack(keys):
        if offset != place:
            return False
        place += size
    return place <= most


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
        text = b"[" + b",".join(texts) + b"]" if literals or elsewhere else b""
    return _Outline(struct.Struct("".join(letters)).unpack_from, text, tuple(literals), tuple(elsewhere))


def _keep(known: dict[tuple[int, bytes], _Outline], key: tuple[int, bytes], outline: _Outline) -> None:
    if len(known) >= _KEPT:
        known.clear()
    known[key] = outline


# Readers of their own, for small objects that were met often and what is in them


def _give_reader(found: _Found, data: bytes, base: int) -> None:
    """Let a reader be tried first on objects that may have the outline of this one, then those that are there."""
    if found.number > _WIDEST:
        return
    key = data[base + 4 : base + 8]
    if len(_readers) >= _READERS_KEPT:
        _readers.clear()
        _tried.clear()
    tried = _tried.get(key, 0) % _TRIED
    otherwise = _readers.get(key, _by_outline) if tried else _by_outline
    _readers[key] = _written(_SMALL_OBJECT, found, data, base, otherwise, iter(range(_TOGETHER)))
    _tried[key] = tried + 1


def _written(  # noqa: PLR0917 - a container, where it is, what reads others, and how many more may be written
    kind: int, found: _Found, data: bytes, base: int, otherwise: Reader, spare: Iterator[int]
) -> Reader:
    count, at, mark, outline = found
    keys = 4 * count if kind == _SMALL_OBJECT else 0
    kinds, names = mark[keys : keys + count], mark[keys + count :]
    unpack = struct.Struct(json_source.fields(kinds, keys, len(names))).unpack_from
    told = (count, mark[:keys], *kinds, names) if keys else (count, *kinds)
    places = dict(zip(range(count), json_source.OFFSETS.iter_unpack(data[at : at + 3 * count]), strict=True))
    nested = {f"read_{i}": _nested(kinds[i], data, base + places[i][0], spare) for i, _ in outline.elsewhere}
    shared = {"error": struct.error, "literals": _LITERALS, "encode": encode, "double": _double, "string": _string}
    own = {"unpack": unpack, "outline": told, "form": outline.form, "otherwise": otherwise}
    return json_source.executed(kinds, keyed=bool(keys), names=shared | own | nested)


def _nested(kind: int, data: bytes, at: int, spare: Iterator[int]) -> Reader:
    """What reads a value inside one with a reader of its own."""
    general = _READERS[kind]
    if kind not in (_SMALL_OBJECT, _SMALL_ARRAY):
        return general
    count, _ = _SMALL.head.unpack_from(data, at)
    if not 0 < count <= _WIDEST or next(spare, None) is None:
        return general
    found = _FINDERS[kind](data, at, count)
    if _outlines[kind].get((count, found.mark)) is not found.outline:
        return general  # one that is not kept, for its mark does not tell all
    return _written(kind, found, data, at, general, spare)


def _integer(letter: str) -> Reader:
    unpack = struct.Struct("<" + letter).unpack_from
    return lambda data, at: b"%d" % unpack(data, at)[0]


_LINE = 76  # characters of base64 in a line, as the server prints it
_double = struct.Struct("<d").unpack_from


def _string(data: bytes, at: int) -> bytes:
    size = data[at]
    at += 1
    if size > 0x7F:
        size, at = _size(data, at - 1)
    raw = data[at : at + size]
    try:
        return encode(raw.decode())
    except UnicodeDecodeError:
        return encode(raw.decode("utf-8", "replace"))


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


_FINDERS = [_finder(kind) for kind in (_SMALL_OBJECT, _LARGE_OBJECT, _SMALL_ARRAY, _LARGE_ARRAY)]
_by_outline = _container(_SMALL_OBJECT)

_READERS: dict[int, Reader] = {
    _SMALL_OBJECT: _small_object,
    **{kind: _container(kind) for kind in (_LARGE_OBJECT, _SMALL_ARRAY, _LARGE_ARRAY)},
    _LITERAL: lambda data, at: _LITERALS[data[at]],
    **{kind: _integer(letter) for kind, letter in {5: "h", 6: "H", 7: "i", 8: "I", 9: "q", 10: "Q"}.items()},
    _DOUBLE: lambda data, at: encode(_double(data, at)[0]),
    _STRING: _string,
    _OPAQUE: _opaque,
}
