"""A batch on its way to its commit. No I/O but ``insert``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import apsw
from msgspec.structs import replace

from journal.errors import JournalError, UnknownChannel
from journal.schema import ChannelRow, event_checksum
from journal.shapes import ShapeDraft
from journal.types import FIRST, LAST, NEXT, WHOLE, Event, Shape, Transaction

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

    def __init__(
        self, channels: Sequence[ChannelRow], age: int, pending: Mapping[str, Event], shapes: ShapeDraft
    ) -> None:
        self.age = age
        self.shapes = shapes
        self.events: list[Event] = []
        self.by_channel: dict[str, list[Event]] = {row.name: [] for row in channels}
        self.pending = dict(pending)
        self._earlier = pending
        self._channels = {row.name: row for row in channels}
        self._last = {row.name: row.last for row in channels}
        self._hidden: list[Event] = []  # of this batch
        self._kept = any(row.pending for row in channels)  # what earlier batches have left behind the heads
        self._revealed = False
        self._values: list[int | str | bytes] = []
        self._columns: dict[str, bytes] = {}  # of each channel's newest row

    def add(self, transaction: Transaction) -> None:
        """Give the transaction's changes their offsets; raises ``UnknownChannel``."""
        events = self._begin(transaction)
        committed = round(transaction.committed * 1e6)
        seconds = committed / 1e6  # as it will read back, so that memory and disk give equal events
        for name, op, message, old, columns in transaction.changes:
            row = self._channels.get(name)
            if row is None:
                raise UnknownChannel(f"No channel {name!r} is configured.")
            if columns is not self._columns.get(name) and columns:
                self._note(name, columns, hidden=events is self._hidden)
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
        for name, columns in transaction.columns.items():
            self._note(name, columns, hidden=False)

    def _note(self, name: str, columns: bytes, *, hidden: bool) -> None:
        """The channel's next rows have these columns."""
        if name not in self._channels:
            raise UnknownChannel(f"No channel {name!r} is configured.")
        self._columns[name] = columns
        self.shapes.note(name, Shape(self._last[name] + 1, columns), hidden=hidden)

    def _begin(self, transaction: Transaction) -> list[Event]:
        """Where its events go."""
        if transaction.part == FIRST or (transaction.part == WHOLE and (transaction.changes or transaction.columns)):
            self._forget()
        elif transaction.part != WHOLE and self._kept and not self._earlier:
            raise JournalError("A transaction cannot go on that was begun before a restart.")
        if transaction.part == LAST:
            self._reveal()
        return self._hidden if transaction.part in (FIRST, NEXT) else self.events

    def _forget(self) -> None:
        """What is pending will never be whole."""
        if self._hidden:
            del self._values[-len(self._hidden) * _COLUMNS :]  # nothing has come behind them
            self._hidden.clear()
        self._kept = False
        self.pending.clear()
        self.shapes.pending.clear()
        self._columns.clear()
        for name, row in self._channels.items():
            shown = self.by_channel[name]
            self._last[name] = shown[-1].offset if shown else row.head

    def _reveal(self) -> None:
        """What is pending becomes visible."""
        earlier = self._earlier.values() if self._kept else ()
        for event in (*earlier, *self._hidden):
            self.events.append(event)
            self.by_channel[event.channel].append(event)
        self.shapes.reveal()
        self._revealed = self._revealed or self._kept
        self._kept = False
        self.pending.clear()
        self._hidden.clear()

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
        if self._revealed and row.name in self._earlier:  # one of those is shown for all
            added += row.pending_bytes - self._earlier[row.name].size
        waiting = _size(event for event in self._hidden if event.channel == row.name)
        if self._kept:
            waiting += row.pending_bytes
        pending = self._last[row.name] - head
        return replace(row, head=head, bytes=row.bytes + added, pending=pending, pending_bytes=waiting)

    def write(self, connection: apsw.Connection) -> None:
        """Insert the rows in place of those that are forgotten, inside the caller's transaction."""
        if not (self._kept or self._revealed):
            delete_pending(connection, self._channels.values())
        done, count = 0, self.rows
        while done < count:
            rows = min(_LARGEST, 1 << (count - done).bit_length() - 1)
            connection.execute(_INSERT[rows], self._values[done * _COLUMNS : (done + rows) * _COLUMNS])
            done += rows


def delete_pending(connection: apsw.Connection, channels: Iterable[ChannelRow]) -> None:
    """Delete what lies behind the heads, inside the caller's transaction."""
    for row in channels:
        if row.pending:
            connection.execute("DELETE FROM event WHERE id BETWEEN ? AND ?", (row.key(row.head + 1), row.key(row.last)))


def _size(events: Iterable[Event]) -> int:
    return sum(event.size for event in events)
