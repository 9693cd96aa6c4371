"""Server-sent events as text (HTML standard, section 9.2), each made once for everybody who gets it.

An event's ``id`` is ``epoch:offset``: the cursor of whoever has read up to and with it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from weakref import WeakKeyDictionary

import msgspec

from journal import shared
from journal.filter import Filter
from journal.texts import encode, event_text
from journal.types import GAP, Event

MOST_FILTERS = 64  # whose choice of one page is remembered

BEAT = b":\n\n"  # a comment: proxies see that something comes, browsers pass it over
_BREAK = re.compile(rb"\r\n|\r|\n")


class Lines(shared.Run):
    """A run of events as JSON texts, and as server-sent events."""

    __slots__ = ("_chosen", "_sent", "_whole")

    def __init__(self, events: Sequence[Event], size: int) -> None:
        super().__init__(events, size)
        self._sent: dict[int, bytes] = {}
        self._whole: bytes | None = None
        # Weakly: a filter that nobody has any more must not count as one in use for as long as a page is kept.
        self._chosen: WeakKeyDictionary[Filter, Sequence[int]] = WeakKeyDictionary()

    def choose(self, where: Filter | None) -> Sequence[int]:
        """The places of the events that pass a filter; each filter is asked once, however many have it."""
        if where is None:
            return range(len(self.events))
        chosen = self._chosen.get(where)
        if chosen is None:
            chosen = self.columns.select(where)
            if len(self._chosen) < MOST_FILTERS:
                self._chosen[where] = chosen
        return chosen

    def text(self, place: int) -> bytes:
        """The JSON of one event."""
        return event_text(self.events[place])

    def sent(self, places: Sequence[int], epoch: str) -> bytes:
        """The events at these places, to be sent. A run is of one epoch."""
        if len(places) < len(self.events):
            return b"".join([self._one(place, epoch) for place in places])
        if self._whole is None:
            self._whole = b"".join([self._made(place, epoch) for place in places])
        return self._whole

    def _one(self, place: int, epoch: str) -> bytes:
        sent = self._sent.get(place)
        if sent is None:
            sent = self._sent[place] = self._made(place, epoch)
        return sent

    def _made(self, place: int, epoch: str) -> bytes:
        event = self.events[place]
        return line(self.text(place), name="gap" if event.op == GAP else "", cursor=f"{epoch}:{event.offset}")


def line(text: bytes, *, name: str = "", cursor: str = "") -> bytes:
    """One server-sent event with ``text`` as its data, of the type ``name`` (none: ``message``).

    Line breaks, which a JSON text may have between its parts, are kept as such.
    """
    head = (f"id: {cursor}\n" if cursor else "") + (f"event: {name}\n" if name else "")
    if b"\n" in text or b"\r" in text:
        text = _BREAK.sub(b"\ndata: ", text)
    return b"%bdata: %b\n\n" % (head.encode(), text)


def control(message: msgspec.Struct, *, cursor: str = "") -> bytes:
    """A control text of the wire protocol as an event that is named like its ``type``."""
    return line(encode(message), name=str(message.__struct_config__.tag), cursor=cursor)
