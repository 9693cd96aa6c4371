"""One client's interest in one channel.

A subscription is a cursor with two modes: it reads pages of the journal (``REPLAYING``) or stands in a group at the
hub (``LIVE``), and may go to and fro between the two any number of times.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

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

    def send(self, data: bytes | memoryview) -> None:
        """Write frames."""

    def descriptor(self) -> int:
        """The socket, for who writes to it what ``send`` would; -1 when something has to be written before."""

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
