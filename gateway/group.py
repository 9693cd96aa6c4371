"""Live subscriptions that get the same bytes, in slices, and how far each slice was written to. No I/O of its own."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import NamedTuple

from gateway.frames import LIVE_SLICE
from gateway.subscription import Sink, Subscription

SLICE = 100  # connections written to in one go: less than a millisecond

_births = count()


class Part(NamedTuple):
    """Bytes for a whole group: so many ``events``, all that its filter lets pass up to the offset ``last``."""

    data: bytes
    events: int
    last: int


class Slice:
    """Members of a group that were all sent the same: what lies behind ``sent`` while it ``waits``, else everything.

    Who was ``born`` first has been live longest.
    """

    __slots__ = ("born", "group", "members", "next", "sent", "waits")

    def __init__(self, group: Group) -> None:
        self.group = group
        self.born = next(_births)
        self.members: dict[Sink, Subscription] = {}  # to write to them is to touch the sinks alone
        self.waits = False
        self.sent = 0  # counts only while it waits, and so does
        self.next = 0  # the number of the part to be written next


class Group:
    """Its parts are made once, and kept until no slice waits for them. ``size`` is that of all kept, in bytes.

    ``few`` are the members of the only slice, while that has everything: they are written to at once. With thousands
    of groups each object on the way to a connection is memory that is cold, so they stand here by themselves.
    """

    __slots__ = ("_first", "_open", "_parts", "deflate", "few", "size", "slices")

    def __init__(self, *, deflate: bool = False) -> None:
        self.deflate = deflate
        self.few: tuple[Sink, ...] | None = None
        self.slices: list[Slice] = []  # in the order of their beginning
        self.size = 0
        self._parts: list[Part] = []
        self._first = 0  # the number of the first of them
        self._open: Slice | None = None  # the last that may have had room and everything

    @property
    def members(self) -> list[Subscription]:
        """Everybody, in any order."""
        return [member for place in self.slices for member in place.members.values()]

    def find(self, sinks: Sequence[Sink]) -> list[Subscription]:
        """The members that write to these."""
        return [place.members[sink] for place in self.slices for sink in sinks if sink in place.members]

    def join(self, subscription: Subscription) -> None:
        """Take in somebody who has everything: into a slice that has, too."""
        place = self._open
        if place is None or place.waits or len(place.members) >= SLICE:
            place = self._open = Slice(self)
            self.slices.append(place)
        place.members[subscription.sink] = subscription
        self._look()
        subscription.place = place

    def leave(self, subscription: Subscription) -> None:
        """Let a member go."""
        place = subscription.place
        assert place is not None
        subscription.place = None
        del place.members[subscription.sink]
        if not place.members:
            self.slices.remove(place)
            if self._open is place:
                self._open = None
            self._trim()
        self._look()

    def add(self, part: Part, published: int) -> list[Slice]:
        """Keep a part that follows on the offset ``published``; returns the slices that had everything until now."""
        self._parts.append(part)
        self.size += len(part.data)
        begun = [place for place in self.slices if not place.waits]
        for place in begun:
            place.waits = True
            place.sent = published
            place.next = self._end - 1
        self._look()
        return begun

    def due(self, place: Slice) -> tuple[Part, int]:
        """What to write to a slice that waits, at most about ``LIVE_SLICE`` bytes, and how many parts that are."""
        start = place.next - self._first
        end, size = start + 1, len(self._parts[start].data)
        while end < len(self._parts) and size + len(self._parts[end].data) <= LIVE_SLICE:
            size += len(self._parts[end].data)
            end += 1
        parts = self._parts[start:end]
        if len(parts) == 1:
            return parts[0], 1
        data, events = b"".join([part.data for part in parts]), sum(part.events for part in parts)
        return Part(data, events, parts[-1].last), len(parts)

    def written(self, place: Slice, part: Part, count: int) -> None:
        """What ``due`` gave was written; the slice waits no more if that was all."""
        place.sent = part.last
        place.next += count
        if place.next == self._end:
            place.waits = False
            if len(place.members) < SLICE:
                self._open = place
            self._look()
        self._trim()

    def _look(self) -> None:
        """See whether there is but one slice, with everything."""
        alone = len(self.slices) == 1 and not self.slices[0].waits
        self.few = tuple(self.slices[0].members) if alone else None

    @property
    def _end(self) -> int:
        return self._first + len(self._parts)

    def _trim(self) -> None:
        """Let go of parts that nobody waits for."""
        oldest = min((place.next for place in self.slices if place.waits), default=self._end)
        if count := oldest - self._first:
            self.size -= sum(len(part.data) for part in self._parts[:count])
            del self._parts[:count]
            self._first = oldest
