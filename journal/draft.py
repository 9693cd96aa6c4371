"""A batch on its way to its commit. No I/O but ``insert``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import apsw
from msgspec.structs import replace

from journal.errors import JournalError, UnknownChannel
from journal.schema import ChannelRow, event_checksum
from journal.types import LAST, PIECE, WHOLE, Event, Transaction

_COLUMNS = 7
# Rows of one batch go in few statements, not one each: see docs/decisions/0002-few-steps-into-sqlite.md.
_ROW = "INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?)"
_MORE = ", (?, ?, ?, ?, ?, ?, ?)"
_INSERT = {rows: _ROW + _MORE * (rows - 1) for rows in (1, 2, 4, 8, 16, 32, 64, 128)}
_LARGEST = max(_INSERT)


class Draft:
    """Gives a batch's changes their offsets and makes their rows, starting from the bounds of the last commit.

    ``events`` and ``by_channel`` are what becomes visible with it. ``pending`` is each channel's newest event of a
    transaction that is not whole yet: where that began in an earlier batch, this one event stands among ``events`` for
    all of those when the last piece comes. The others are on disk, and not in memory any more.
    """

    def __init__(self, channels: Sequence[ChannelRow], age: int, pending: Mapping[str, Event]) -> None:
        if any(row.pending and row.name not in pending for row in channels):
            raise JournalError("Pieces of a transaction that was never finished have to be withdrawn first.")
        self.age = age
        self.events: list[Event] = []
        self.by_channel: dict[str, list[Event]] = {row.name: [] for row in channels}
        self.pending = dict(pending)
        self._earlier = pending
        self._channels = {row.name: row for row in channels}
        self._last = {row.name: row.last for row in channels}
        self._hidden: list[Event] = []  # of this batch
        self._revealed = False
        self._values: list[int | str | bytes] = []

    def add(self, transaction: Transaction) -> None:
        """Give the transaction's changes their offsets; raises ``UnknownChannel``."""
        if transaction.part == LAST:
            self._reveal()
        elif transaction.part == WHOLE and transaction.changes and self.pending:
            raise JournalError("A transaction came between the pieces of another.")
        events = self._hidden if transaction.part == PIECE else self.events
        committed = round(transaction.committed * 1e6)
        seconds = committed / 1e6  # as it will read back, so that memory and disk give equal events
        for name, op, message, old in transaction.changes:
            row = self._channels.get(name)
            if row is None:
                raise UnknownChannel(f"No channel {name!r} is configured.")
            offset = self._last[name] = self._last[name] + 1
            key = row.key(offset)
            event = Event(name, offset, op, message, seconds, old)
            events.append(event)
            if events is self.events:
                self.by_channel[name].append(event)
            else:
                self.pending[name] = event
            checksum = event_checksum(key, op, committed, message, old)
            self._values += (key, op, committed, self.age, checksum, message, old)

    def _reveal(self) -> None:
        """Everything that was pending becomes visible."""
        earlier = () if self._revealed else self._earlier.values()
        for event in (*earlier, *self._hidden):
            self.events.append(event)
            self.by_channel[event.channel].append(event)
        self.pending.clear()
        self._hidden.clear()
        self._revealed = True

    @property
    def rows(self) -> int:
        """How many events it brings, visible or not."""
        return len(self._values) // _COLUMNS

    def grown(self) -> dict[str, ChannelRow]:
        """The channels' bounds with the batch in."""
        return {name: self._grown(row) for name, row in self._channels.items()}

    def _grown(self, row: ChannelRow) -> ChannelRow:
        shown = self.by_channel[row.name]
        head = shown[-1].offset if shown else row.head
        added = _size(shown)
        waiting = row.pending_bytes + _size([event for event in self._hidden if event.channel == row.name])
        if self._revealed:
            waiting -= row.pending_bytes
            added += row.pending_bytes - _size([event for event in [self._earlier.get(row.name)] if event])
        pending = self._last[row.name] - head
        return replace(row, head=head, bytes=row.bytes + added, pending=pending, pending_bytes=waiting)

    def insert(self, connection: apsw.Connection) -> None:
        """Insert the rows, inside the caller's transaction."""
        done, count = 0, self.rows
        while done < count:
            rows = min(_LARGEST, 1 << (count - done).bit_length() - 1)
            connection.execute(_INSERT[rows], self._values[done * _COLUMNS : (done + rows) * _COLUMNS])
            done += rows


def _size(events: Iterable[Event]) -> int:
    return sum(event.size for event in events)
