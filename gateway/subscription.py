"""One client's interest in one channel, and where it begins.

A subscription is a cursor with two modes: it reads pages of the journal (``REPLAYING``) or stands in a group at the
hub (``LIVE``), and may go to and fro between the two any number of times.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from gateway.wire import Subscribe
from journal.filter import Filter

if TYPE_CHECKING:
    from gateway.group import Slice


class Mode(IntEnum):
    """Where a subscription's next event comes from; ``CLOSED`` is final."""

    REPLAYING = 0
    LIVE = 1
    CLOSED = 2


class Sink(Protocol):
    """What a subscription writes to: a connection, or a stand-in for one in tests."""

    paused: bool  # its write buffer is over its bound: no data now
    deflate: bool  # it understands compressed frames; never changes

    def send(self, data: bytes) -> None:
        """Write frames."""

    def fail(self, code: int, reason: str) -> None:
        """Close the connection with a close code."""

    def abort(self) -> None:
        """Drop the connection without a word."""


class Subscription:
    """A channel, a cursor and a mode. While it is live, ``Hub.reached`` knows its offset; ``offset`` is out of date."""

    __slots__ = ("channel", "columns", "mode", "offset", "place", "queued", "sink", "told", "where")

    def __init__(
        self, channel: str, sink: Sink, offset: int, where: Filter | None = None, *, schema: bool = False
    ) -> None:
        self.channel = channel
        self.sink = sink
        self.offset = offset
        self.mode = Mode.REPLAYING
        self.place: Slice | None = None  # in its group, while it is live
        self.where = where
        self.columns: bytes | None = b"" if schema else None  # as its client was told them; None: it does not ask
        self.told = offset  # where a client with a filter knows itself to be, at least
        self.queued = False  # waits for a page, or is being served one: nobody else may move the cursor


class Bounds(NamedTuple):
    """A channel as a new subscriber finds it: ``published`` is the newest offset handed to live subscribers."""

    epoch: str
    floor: int
    published: int


class Opening(NamedTuple):
    """Where a subscription starts. ``gap_after`` and ``gap_reason`` say what is missed, up to the floor.

    ``ahead``: the client has an offset of our epoch that we have not given.
    """

    offset: int
    recovered: bool
    gap_after: int = 0
    gap_reason: str | None = None
    ahead: bool = False


def opening(request: Subscribe, bounds: Bounds) -> Opening:
    """Find a subscription's first offset and what its client has missed for good."""
    before_all = bounds.floor - 1
    cursor = request.cursor
    if cursor is not None:
        # Offsets of another epoch mean nothing here, and an offset above the head was given by a journal that was lost.
        ours = cursor.epoch == bounds.epoch
        if not ours or cursor.offset > bounds.published:
            return Opening(before_all, recovered=False, gap_after=0, gap_reason="epoch", ahead=ours)
        if cursor.offset < before_all:
            return Opening(before_all, recovered=False, gap_after=cursor.offset, gap_reason="retention")
        return Opening(cursor.offset, recovered=True)
    if request.offset is not None:  # 0 without an epoch: the beginning of what is kept
        return Opening(before_all, recovered=True)
    if request.last is not None:
        return Opening(max(bounds.published - request.last, before_all), recovered=True)
    return Opening(bounds.published, recovered=True)
