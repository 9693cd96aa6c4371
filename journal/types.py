"""What goes into the journal and what comes out of it.

A *channel* is a named, ordered log. Its events are numbered 1, 2, 3, … without holes; the number is the event's
*offset*. The *epoch* names the journal's life: it changes only when the journal was rebuilt or found to be an older
copy of itself. An offset means nothing without its epoch, which is why cursors are pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

INSERT = "insert"
UPDATE = "update"
DELETE = "delete"  # the message is the row as it was
READ = "read"  # a row read from the table (seed, repair), not from the log
GAP = "gap"  # rows are missing here; the message says why

WHOLE = "whole"  # a transaction by itself
FIRST = "first"  # the first piece of one that is too large to be held
NEXT = "next"  # another
LAST = "last"  # what is left of it: with this all pieces become visible


class Cursor(NamedTuple):
    """A place in one channel: everything up to and including ``offset`` of ``epoch`` has been seen.

    ``Cursor("k3f9", 41)`` and ``Cursor("m2aa", 41)`` have nothing to do with each other.
    """

    epoch: str
    offset: int


class Change(NamedTuple):
    """One row change that has no offset yet. ``message`` is the row as a JSON object, UTF-8.

    ``old`` is a JSON object too: what an update's changed columns were before. It is empty for every other ``op``.
    ``columns`` says what the row looks like, as ``Shape`` does; rows that look alike share it. Empty: not known.
    """

    channel: str
    op: str
    message: bytes
    old: bytes = b""
    columns: bytes = b""

    @property
    def size(self) -> int:
        """Bytes of JSON in it."""
        return len(self.message) + len(self.old)


class Transaction(NamedTuple):
    """Changes committed together: the unit of append.

    ``checkpoint`` is what a reader resumes from once the changes are durable; its format is the writer's own.
    ``committed`` is the source's commit time in Unix seconds. Without changes it moves the checkpoint alone.
    A large one comes as ``FIRST``, any number of ``NEXT`` and one ``LAST``: its ``part``. A piece's checkpoint is not
    used. Pieces whose ``LAST`` has not come when other changes do are forgotten: it never will.
    ``columns`` tells of channels what their rows look like from here on, where no row has said it yet.
    """

    changes: Sequence[Change]
    checkpoint: str
    committed: float
    part: str = WHOLE
    columns: Mapping[str, bytes] = {}


class Event(NamedTuple):
    """A change with its place in its channel; durable once anybody can see it."""

    channel: str
    offset: int
    op: str
    message: bytes
    committed: float
    old: bytes = b""

    @property
    def size(self) -> int:
        """Bytes of JSON in it."""
        return len(self.message) + len(self.old)


class Shape(NamedTuple):
    """What a channel's rows look like from the offset ``first`` on.

    ``columns`` is a JSON array with an object for each: its ``name``, SQL ``type``, whether it is ``nullable`` and
    stands in the primary ``key``.
    """

    first: int
    columns: bytes


class ChannelState(NamedTuple):
    """A channel's bounds: ``floor`` is the oldest offset kept (``head + 1`` when none is), ``head`` the newest.

    ``bytes`` counts the messages kept; ``rate`` is events per second over the last ten seconds.
    """

    floor: int
    head: int
    bytes: int
    rate: float


class JournalReader(Protocol):
    """The reading half of a journal, all that gateway and API know."""

    @property
    def epoch(self) -> str:
        """The name of this journal's life."""

    def channels(self) -> dict[str, ChannelState]:
        """Every channel with its bounds, from memory."""

    def head(self, channel: str) -> int:
        """The newest offset visible to readers of this event loop; raises ``UnknownChannel``."""

    def floor(self, channel: str) -> int:
        """The oldest offset kept, ``head + 1`` when the channel is empty; raises ``UnknownChannel``."""

    def shapes(self, channel: str) -> tuple[Shape, ...]:
        """What its rows look like, oldest first, from the floor on or from where it is known; maybe of the next row.

        The same object until it changes. Raises ``UnknownChannel``.
        """

    async def read(self, channel: str, after: int, limit: int = 1000, max_bytes: int = 1 << 20) -> list[Event]:
        """Events after the offset ``after``, oldest first, never beyond ``head``.

        At most ``limit`` events or about ``max_bytes`` of messages, but at least one event if there is one. The
        page begins at the floor when ``after`` lies below it: comparing the first offset with ``after + 1`` tells.
        """

    async def arrival(self, channel: str, after: int) -> None:
        """Return once there is an event after the offset ``after``, or sooner: look again.

        Sooner when the journal is closed or a new epoch has begun. Raises ``UnknownChannel``.
        """
