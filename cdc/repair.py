"""What a channel is told behind a gap: the gap, then the rows of the table that the journal does not know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from cdc.fetch import Request, TableChannel
from cdc.position import Owed
from journal.types import GAP, INSERT, READ, Change, Event

_KNOWN = 1000  # rows whose keys say which of a table's the journal has,
_KNOWN_BYTES = 16 << 20  # and about how many bytes of them
_BEHIND_BYTES = 64 << 20
_STEP = 100


class History(Protocol):
    """What a channel has had, as the journal holds it."""

    def head(self, channel: str) -> int:
        """A channel's newest offset, 0 when it never had an event."""

    async def read(self, channel: str, after: int, limit: int = 1000) -> list[Event]:
        """Events after ``after``, oldest first."""


async def repair(journal: History, channel: TableChannel, owed: Owed) -> Request:
    """The rows above those that the journal knew at the gap, which stands before them unless it was told already.

    Rows can have come behind a gap that was told: above them is not where the missing ones are.
    """
    gap = Change(channel.channel, GAP, msgspec.json.encode({"reason": owed.reason, "detail": owed.detail}))
    first = [] if owed.told else [gap]
    head = journal.head(channel.channel)
    upto = head if owed.after is None else min(owed.after, head)
    behind = await _behind(journal, channel.channel, upto, head)
    if behind is None:
        upto, behind = head, []
    known = await _known(journal, channel.channel, upto)
    whole = await _is_whole(journal, channel.channel)
    return Request(channel, known, first, other_log=owed.reason == "reset", whole=whole, behind=behind)


async def _is_whole(journal: History, channel: str) -> bool:
    """Whether retention has taken nothing of the channel yet."""
    if not journal.head(channel):
        return True
    oldest = await journal.read(channel, 0, 1)
    return bool(oldest) and oldest[0].offset == 1


async def _known(journal: History, channel: str, after: int) -> list[bytes]:
    """The newest rows up to an offset, oldest first. Updates and deletes may be of rows of any age."""
    known: list[bytes] = []
    while after > 0 and len(known) < _KNOWN and sum(map(len, known)) < _KNOWN_BYTES:
        upto, after = after, max(0, after - _STEP)
        events = await _between(journal, channel, after, upto)
        if not events:
            break  # older ones are no longer kept
        known[:0] = _rows(events)
    return known


async def _behind(journal: History, channel: str, after: int, upto: int) -> list[bytes] | None:
    """The rows between two offsets; None where they are too many to be held."""
    rows: list[bytes] = []
    size = 0
    while after < upto:
        more = _rows(await _between(journal, channel, after, min(after + _STEP, upto)))
        after += _STEP
        size += sum(map(len, more))
        if size > _BEHIND_BYTES:
            return None
        rows += more
    return rows


def _rows(events: Sequence[Event]) -> list[bytes]:
    return [event.message for event in events if event.op in (INSERT, READ)]


async def _between(journal: History, channel: str, after: int, upto: int) -> list[Event]:
    """Every event after the one and up to the other; a page of the journal may hold less, and begins at its floor."""
    found: list[Event] = []
    while after < upto and (page := await journal.read(channel, after, upto - after)):
        found += [event for event in page if event.offset <= upto]
        after = page[-1].offset
    return found
