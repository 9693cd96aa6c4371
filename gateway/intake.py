"""A client's frames as nearly all of them come: whole, masked, in one piece and of an ordinary kind.

Whatever else may come is left to the library, from the first byte that is not understood here. What is read here, it
would read in the same way: tests hold the two against each other (RFC 6455, section 5.2).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import NamedTuple

try:
    from websockets.speedups import apply_mask
except ImportError:  # the library was built without its part in C
    from websockets.utils import apply_mask

TEXT, PING, PONG = 0x81, 0x89, 0x8A  # FIN and the opcode
_DEFLATED = TEXT | 0x40  # and RSV1 (RFC 7692, section 6)
_KINDS = {TEXT, PING, PONG, _DEFLATED}
_MASKED = 0x80
_SMALL = 125  # bytes of payload that a first length can tell; control frames have no more
_TAIL = b"\x00\x00\xff\xff"


class Whole(NamedTuple):
    """A frame's first byte and its payload as it was meant. It ended at the place ``end`` of what was read."""

    kind: int
    payload: bytes
    end: int


def whole_frames(data: bytes, most: int, deflate: bool) -> Iterator[Whole]:
    """The frames at the beginning of ``data``, up to the first that is not ordinary: the rest is for the library.

    ``most``: bytes of a text. ``deflate``: it may be compressed, each by itself.
    """
    end = 0
    while frame := _frame(data, end, most, deflate):
        yield frame
        end = frame.end


def _frame(data: bytes, start: int, most: int, deflate: bool) -> Whole | None:
    at = start + 2
    if len(data) < at + 4:
        return None
    kind, length = data[start], data[start + 1] ^ _MASKED
    if kind not in _KINDS or (kind == _DEFLATED and not deflate):
        return None
    if length > _SMALL:  # or not masked
        if length != _SMALL + 1 or kind in (PING, PONG):
            return None
        length = int.from_bytes(data[at : at + 2])
        at += 2
    end = at + 4 + length
    if length > most or len(data) < end:
        return None
    payload = apply_mask(data[at + 4 : end], data[at : at + 4])
    if kind == _DEFLATED:
        return _inflated(payload, most, end)
    return Whole(kind, payload, end)


def _inflated(payload: bytes, most: int, end: int) -> Whole | None:
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        text = unpacker.decompress(payload + _TAIL, most)
    except zlib.error:
        return None
    if len(text) >= most or unpacker.unconsumed_tail or unpacker.eof:
        return None  # too large, maybe
    return Whole(TEXT, text, end)
