"""What may go: events past their age, then the oldest of the largest channel until the journal fits its size.

*Age* is counted in seconds the journal has been open for writing, by a monotonic clock, and kept in the file; each
event remembers the journal's age at its append. No wall clock has a say: one that jumps a day ahead would otherwise
throw away a day of history at once, and an outage of ours would count against subscribers who wait for its end
(docs/decisions/0003-retention-by-the-journals-own-age.md).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import apsw
from msgspec.structs import replace

from journal.errors import JournalDamaged
from journal.schema import SET_ASIDE, ChannelRow, State

STEP_EVENTS = 1_000  # at most so many events leave in one commit,
STEP_BYTES = 4 << 20  # and about so many bytes: a few milliseconds of the writer's time

# Rows of one channel have ages that never fall, so those past an age are its oldest: a prefix is all there is to cut.
_CUT = """
SELECT max(id), max(total)
FROM (SELECT id, age, length, sum(length) OVER (ORDER BY id) AS total
      FROM (SELECT id, age, length(message) + length(old) AS length
            FROM event WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?))
WHERE age <= ? AND total - length < ?
"""
_AGE = "SELECT age FROM event WHERE id = ?"


class Cut(NamedTuple):
    """The oldest events of a channel that may go now: up to ``offset``, ``bytes`` of messages in all."""

    channel: ChannelRow
    offset: int
    bytes: int

    @property
    def events(self) -> int:
        """How many events go."""
        return self.offset - self.channel.floor + 1

    def state(self, before: State, age: int) -> State:
        """The state once they are gone."""
        row = replace(self.channel, floor=self.offset + 1, bytes=self.channel.bytes - self.bytes)
        return replace(before, age=age, channels={**before.channels, row.name: row})

    def delete(self, connection: apsw.Connection) -> None:
        """Delete the rows, inside the caller's transaction."""
        keys = (self.channel.key(self.channel.floor), self.channel.key(self.offset))
        connection.execute("DELETE FROM event WHERE id BETWEEN ? AND ?", keys)


def next_cut(connection: apsw.Connection, state: State, age: int, keep_seconds: float, keep_bytes: int) -> Cut | None:
    """The next step towards what may be kept; None when all of it may."""
    kept = [row for row in state.channels.values() if row.count]
    for row in kept:
        if _oldest(connection, row) <= age - keep_seconds:
            return _cut(connection, row, age - keep_seconds, STEP_EVENTS, STEP_BYTES)
    excess = sum(row.stored for row in kept) - keep_bytes
    if excess <= 0 or not kept:
        return None
    # The largest, not the oldest: a busy channel must not push a quiet one out of its history.
    row = max(kept, key=lambda row: row.stored)
    enough = -(-excess * row.count // row.stored)  # events, by their average size
    return _cut(connection, row, math.inf, min(enough, STEP_EVENTS), min(excess, STEP_BYTES))


def _oldest(connection: apsw.Connection, row: ChannelRow) -> int:
    age: int | None = connection.execute(_AGE, (row.key(row.floor),)).get
    if age is None:
        raise JournalDamaged(f"Event {row.floor} of channel {row.name} is missing.", SET_ASIDE)
    return age


def _cut(connection: apsw.Connection, row: ChannelRow, age: float, events: int, size: int) -> Cut:
    bounds = (row.key(row.floor), row.key(row.head))
    ((key, freed),) = connection.execute(_CUT, (*bounds, events, age, size))
    return Cut(row, row.offset(key), freed)
