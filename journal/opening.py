"""Where a reader of a channel begins, and what it has missed for good: the same for every way of reading."""

from __future__ import annotations

from typing import NamedTuple

from journal.types import Cursor

MAX_LAST = 10_000  # the most events one reader may ask back with "last"
MAX_OFFSET = 2**63 - 1


class Start(NamedTuple):
    """Where a reader wants to begin: behind a cursor, with the newest ``last``, or with everything that is kept.

    Nothing of these: with what comes from now on.
    """

    cursor: Cursor | None = None
    last: int | None = None
    everything: bool = False


class Bounds(NamedTuple):
    """A channel as a new reader finds it: ``head`` is the newest offset that others have been sent, or may be."""

    epoch: str
    floor: int
    head: int


class Opening(NamedTuple):
    """Where a reader starts. ``gap_after`` and ``gap_reason`` say what is missed, up to the floor.

    ``ahead``: the client has an offset of our epoch that we have not given.
    """

    offset: int
    recovered: bool
    gap_after: int = 0
    gap_reason: str | None = None
    ahead: bool = False


def opening(start: Start, bounds: Bounds) -> Opening:
    """Find a reader's first offset and what its client has missed for good."""
    before_all = bounds.floor - 1
    cursor = start.cursor
    if cursor is not None:
        # Offsets of another epoch mean nothing here, and an offset above the head was given by a journal that was lost.
        ours = cursor.epoch == bounds.epoch
        if not ours or cursor.offset > bounds.head:
            return Opening(before_all, recovered=False, gap_after=0, gap_reason="epoch", ahead=ours)
        if cursor.offset < before_all:
            return Opening(before_all, recovered=False, gap_after=cursor.offset, gap_reason="retention")
        return Opening(cursor.offset, recovered=True)
    if start.everything:
        return Opening(before_all, recovered=True)
    if start.last is not None:
        return Opening(max(bounds.head - start.last, before_all), recovered=True)
    return Opening(bounds.head, recovered=True)
