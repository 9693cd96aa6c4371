"""A batch on its way to its commit. No I/O but ``insert``."""

from __future__ import annotations

from collections.abc import Sequence

import apsw
from msgspec.structs import replace

from journal.errors import UnknownChannel
from journal.schema import ChannelRow, event_checksum
from journal.types import Event, Transaction

_COLUMNS = 6
# Rows of one batch go in few statements, not one each: see docs/decisions/0002-few-steps-into-sqlite.md.
_ROW = "INSERT INTO event VALUES (?, ?, ?, ?, ?, ?)"
_MORE = ", (?, ?, ?, ?, ?, ?)"
_INSERT = {rows: _ROW + _MORE * (rows - 1) for rows in (1, 2, 4, 8, 16, 32, 64, 128)}
_LARGEST = max(_INSERT)


class Draft:
    """Gives a batch's changes their offsets and makes their rows, starting from the bounds of the last commit."""

    def __init__(self, channels: Sequence[ChannelRow], age: int) -> None:
        self.age = age
        self.events: list[Event] = []
        self.by_channel: dict[str, list[Event]] = {row.name: [] for row in channels}
        self._channels = {row.name: row for row in channels}
        self._values: list[int | str | bytes] = []

    def add(self, transaction: Transaction) -> None:
        """Give the transaction's changes their offsets; raises ``UnknownChannel``."""
        committed = round(transaction.committed * 1e6)
        seconds = committed / 1e6  # as it will read back, so that memory and disk give equal events
        for name, op, message in transaction.changes:
            row = self._channels.get(name)
            if row is None:
                raise UnknownChannel(f"No channel {name!r} is configured.")
            events = self.by_channel[name]
            offset = row.head + len(events) + 1
            key = row.key(offset)
            event = Event(name, offset, op, message, seconds)
            events.append(event)
            self.events.append(event)
            self._values += (key, op, committed, self.age, event_checksum(key, op, committed, message), message)

    def grown(self) -> dict[str, ChannelRow]:
        """The channels' bounds with the batch in."""
        return {name: _grown(row, self.by_channel[name]) for name, row in self._channels.items()}

    def insert(self, connection: apsw.Connection) -> None:
        """Insert the rows, inside the caller's transaction."""
        done, count = 0, len(self.events)
        while done < count:
            rows = min(_LARGEST, 1 << (count - done).bit_length() - 1)
            connection.execute(_INSERT[rows], self._values[done * _COLUMNS : (done + rows) * _COLUMNS])
            done += rows


def _grown(row: ChannelRow, events: list[Event]) -> ChannelRow:
    added = sum(len(event.message) for event in events)
    return replace(row, head=row.head + len(events), bytes=row.bytes + added)
