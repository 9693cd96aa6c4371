"""WebSocket framing of what the server sends: unmasked, unfragmented text frames (RFC 6455, section 5.2).

Frames are made here, and not by ``websockets``, because one run of bytes goes to every subscriber of a channel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from struct import Struct

import msgspec

from gateway.deflate import LEAST, MOST, packed
from gateway.wire import Control
from journal import shared
from journal.texts import Column, Schema, encode, event_text
from journal.types import Event

LIVE_SLICE = 64 * 1024  # bytes written to one connection between two looks at its write buffer
SLICE = 256 * 1024  # the same for one that reads pages: nobody else waits for these

_ENVELOPE = 64  # bytes of a frame around a message, more or less
_TEXT = 0x81  # FIN and opcode 1
_DEFLATED = _TEXT | 0x40  # and RSV1 (RFC 7692, section 6)
_medium = Struct("!BBH").pack
_large = Struct("!BBQ").pack


class Run(shared.Run):
    """Consecutive events of one channel, ready to write; each way of writing them is made once, when asked for.

    ``deflate`` asks for compressed frames, which only clients that have negotiated them understand.
    """

    __slots__ = ("_frames", "_large", "_whole")

    def __init__(self, events: Sequence[Event], size: int) -> None:
        super().__init__(events, size)
        self._large: bool | None = None  # whether any frame is worth compressing
        self._whole: dict[bool, bytes] = {}
        self._frames: dict[bool, list[bytes | None]] = {}

    def whole(self, deflate: bool = False) -> bytes:
        """All frames."""
        deflate = deflate and self._worth_it()
        whole = self._whole.get(deflate)
        if whole is None:
            if deflate:
                whole = b"".join(self._frame(place, True) for place in range(len(self.events)))
            else:
                parts: list[bytes] = []
                for event in self.events:
                    text = event_text(event)
                    parts += (text_header(len(text)), text)
                whole = b"".join(parts)
            self._whole[deflate] = whole
        return whole

    def some(self, places: Sequence[int], deflate: bool = False) -> bytes:
        """The frames of the events at these places."""
        if len(places) == len(self.events):
            return self.whole(deflate)
        deflate = deflate and self._worth_it()
        if len(places) == 1:
            return self._frame(places[0], deflate)
        return b"".join([self._frame(place, deflate) for place in places])

    def _worth_it(self) -> bool:
        if self._large is None:
            self._large = max(event.size for event in self.events) > LEAST - _ENVELOPE
        return self._large

    def _frame(self, place: int, deflate: bool) -> bytes:
        frames = self._frames.get(deflate)
        if frames is None:
            frames = self._frames[deflate] = [None] * len(self.events)
        frame = frames[place]
        if frame is None:
            text = event_text(self.events[place])
            frame = frames[place] = deflated_frame(text) if deflate else text_header(len(text)) + text
        return frame


def deflated_frame(text: bytes) -> bytes:
    """A whole frame around one text, compressed where that makes it smaller."""
    if LEAST <= len(text) <= MOST:
        payload = packed(text)
        if len(payload) < len(text):
            return text_header(len(payload), _DEFLATED) + payload
    return text_header(len(text)) + text


def text_header(length: int, first: int = _TEXT) -> bytes:
    """The header of a text frame with a payload of ``length`` bytes."""
    if length < 126:
        return bytes((first, length))
    if length < 1 << 16:
        return _medium(first, 126, length)
    return _large(first, 127, length)


def control_frame(message: Control) -> bytes:
    """A whole frame around one control message."""
    text = encode(message)
    return text_header(len(text)) + text


@lru_cache(maxsize=256)
def schema_frame(channel: str, columns: bytes) -> bytes:
    """The frame that tells what a channel's rows look like, made once for everybody."""
    return control_frame(Schema(subscription=channel, columns=msgspec.json.decode(columns, type=list[Column])))


def runs(events: Sequence[Event], size: int = LIVE_SLICE) -> Iterator[Run]:
    """Cut events of one channel into runs of about ``size`` bytes, at least one event each."""
    start = total = 0
    for place, event in enumerate(events):
        length = len(event.message) + len(event.old) + _ENVELOPE
        if total and total + length > size:
            yield Run(events[start:place], total)
            start, total = place, 0
        total += length
    if total:
        yield Run(events[start:] if start else events, total)
