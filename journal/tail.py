"""The newest events of a channel, in memory.

Most readers are a moment behind, not a day: what they ask for is here and costs no disk and no thread. The tail is
always the *end* of the channel without a hole, so an offset says where in the list its event stands.
"""

from __future__ import annotations

from collections.abc import Sequence

from journal.types import Event

EVENT_OVERHEAD = 256  # bytes of memory an event takes beside its message (tuple, offset, time, the list's slot)


class Tail:
    """At most ``limit`` bytes of the newest events; an event larger than that is not held at all."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._events: list[Event] = []
        self._size = 0

    def __len__(self) -> int:
        return len(self._events)

    def extend(self, events: Sequence[Event]) -> None:
        """Add the channel's next events, and let go of the oldest beyond the limit.

        Events may lie between the tail and these, which went to disk in pieces: then the tail begins anew.
        """
        if self._events and events and events[0].offset != self._events[-1].offset + 1:
            self._events.clear()
            self._size = 0
        self._events.extend(events)
        self._size += sum(map(_size, events))
        self._drop()

    def read(self, after: int, limit: int, max_bytes: int) -> list[Event] | None:
        """Events after ``after`` as ``JournalReader.read`` gives them; None when they do not all lie here."""
        if not self._events or after < self._events[0].offset - 1:
            return None
        start = after - self._events[0].offset + 1
        page = self._events[start : start + limit]
        left = max_bytes
        for index, event in enumerate(page):
            left -= event.size
            if left < 0:
                return page[: max(index, 1)]
        return page

    def forget(self, floor: int) -> None:
        """Let go of events below ``floor``: they have been trimmed."""
        if self._events and self._events[0].offset < floor:
            dropped = self._events[: floor - self._events[0].offset]
            self._size -= sum(map(_size, dropped))
            del self._events[: len(dropped)]

    def _drop(self) -> None:
        count = 0
        while self._size > self._limit:
            self._size -= _size(self._events[count])
            count += 1
        del self._events[:count]


def _size(event: Event) -> int:
    return event.size + EVENT_OVERHEAD
