"""WebSocket framing of what the server sends: unmasked, unfragmented text frames (RFC 6455, section 5.2).

Frames are made here, and not by ``websockets``, because one run of bytes goes to every subscriber of a channel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from struct import Struct
from typing import NamedTuple

from gateway.wire import Control, encode, event_text
from journal.types import Event

SLICE = 256 * 1024  # bytes written to one connection between two looks at its write buffer

_TEXT = 0x81  # FIN and opcode 1
_medium = Struct("!BBH").pack
_large = Struct("!BBQ").pack


class Slice(NamedTuple):
    """Consecutive events as frames, ready to write: ``events`` of them, from ``first`` to ``last``."""

    data: bytes
    first: int
    last: int
    events: int


def text_header(length: int) -> bytes:
    """The header of a text frame with a payload of ``length`` bytes."""
    if length < 126:
        return bytes((_TEXT, length))
    if length < 1 << 16:
        return _medium(_TEXT, 126, length)
    return _large(_TEXT, 127, length)


def control_frame(message: Control) -> bytes:
    """A whole frame around one control message."""
    text = encode(message)
    return text_header(len(text)) + text


def slices(events: Sequence[Event], size: int = SLICE) -> Iterator[Slice]:
    """Frame events of one channel and join them into slices of about ``size`` bytes, at least one event each."""
    parts: list[bytes] = []
    total = first = last = 0
    for event in events:
        text = event_text(event)
        if total and total + len(text) > size:
            yield Slice(b"".join(parts), first, last, len(parts) // 2)
            parts.clear()
            total = 0
        if not parts:
            first = event.offset
        parts += (text_header(len(text)), text)
        total += len(text)
        last = event.offset
    if parts:
        yield Slice(b"".join(parts), first, last, len(parts) // 2)
