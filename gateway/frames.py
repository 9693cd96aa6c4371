"""WebSocket framing of what the server sends: unmasked, unfragmented text frames (RFC 6455, section 5.2).

Frames are made here, and not by ``websockets``, because one run of bytes goes to every subscriber of a channel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from struct import Struct

from gateway.wire import Control, encode, event_text
from journal.columns import Columns
from journal.types import Event

SLICE = 256 * 1024  # bytes written to one connection between two looks at its write buffer

_ENVELOPE = 64  # bytes of a frame around a message, more or less
_TEXT = 0x81  # FIN and opcode 1
_medium = Struct("!BBH").pack
_large = Struct("!BBQ").pack


class Run:
    """Consecutive events of one channel, ready to write; each way of writing them is made once, when asked for."""

    __slots__ = ("_frames", "_whole", "columns", "events", "first", "last", "size")

    def __init__(self, events: Sequence[Event], size: int) -> None:
        self.events = events
        self.first = events[0].offset
        self.last = events[-1].offset
        self.size = size  # bytes of messages, more or less
        self.columns = Columns(events)
        self._whole: bytes | None = None
        self._frames: dict[int, bytes] = {}

    def whole(self) -> bytes:
        """All frames."""
        if self._whole is None:
            parts: list[bytes] = []
            for event in self.events:
                text = event_text(event)
                parts += (text_header(len(text)), text)
            self._whole = b"".join(parts)
        return self._whole

    def some(self, places: Sequence[int]) -> bytes:
        """The frames of the events at these places."""
        if len(places) == 1:
            return self._frame(places[0])
        return self.whole() if len(places) == len(self.events) else b"".join(map(self._frame, places))

    def _frame(self, place: int) -> bytes:
        frame = self._frames.get(place)
        if frame is None:
            text = event_text(self.events[place])
            frame = self._frames[place] = text_header(len(text)) + text
        return frame


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


def runs(events: Sequence[Event], size: int = SLICE) -> Iterator[Run]:
    """Cut events of one channel into runs of about ``size`` bytes, at least one event each."""
    start = total = 0
    for place, event in enumerate(events):
        length = event.size + _ENVELOPE
        if total and total + length > size:
            yield Run(events[start:place], total)
            start, total = place, 0
        total += length
    if total:
        yield Run(events[start:] if start else events, total)
