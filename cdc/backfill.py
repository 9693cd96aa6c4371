"""Rows read from a table take their place in the log: after what the snapshot holds, before what came later. Pure.

A snapshot is not an exact place in the log. The server commits to the log first and to the table a little later, so
between two places that bound the snapshot, a row can be in both. Up to the first, everything was in the snapshot;
between the two, a row is known by its primary key; behind the second, everything is new.

What is fetched need not be all that the snapshot holds: a seed is the newest rows. So a change that the log brings and
the snapshot holds is left out only if its row was fetched, and stands before the rows otherwise. An update or a delete
between the two places may be in the rows already: it is told again, which leaves them as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import msgspec

from cdc.committed import Committed, Piece, Unread
from cdc.position import Position, log_order
from journal.types import DELETE, INSERT, READ, UPDATE, Change

Key = tuple[object, ...]
"""The primary key's values, as they stand in a message."""


class TableRows(NamedTuple):
    """What a snapshot gave for one channel: messages in key order, their keys, the key's columns.

    ``first`` are changes that stand before the rows, such as a gap; ``described`` is what the rows look like.
    """

    messages: Sequence[bytes]
    keys: Collection[Key]
    key_columns: Sequence[str]
    first: Sequence[Change] = ()
    described: bytes = b""


class Bounds(NamedTuple):
    """Between what places of the log the snapshot lies. ``held(committed)``: certainly in the snapshot."""

    held: Callable[[Committed], bool]
    after: Position


class Backfill:
    """Lets transactions pass, and puts each channel's rows where the log has passed the snapshot, in one piece.

    Until then the channel's own changes wait here; they and the rows leave in one transaction, so that a crash
    repeats the backfill or finds it done. ``done``: nothing was asked for. ``vain`` are channels whose table was
    asked and could not tell.
    """

    def __init__(
        self, channels: Mapping[str, TableRows], bounds: Bounds, *, done: bool = False, vain: Collection[str] = ()
    ) -> None:
        self._channels = channels
        self._bounds = bounds
        self._before: list[Change] = []
        self._after: list[Change] = []
        self._pieces: list[Change] = []  # the channels' own changes of a large transaction whose end has not come
        self._left: set[tuple[str, Key]] = set()  # keys that rows have left meanwhile: the next insert is another row
        self._unread: dict[str, Unread] = {}
        self._vain = vain
        self.done = done

    def admit(self, committed: Committed) -> Committed:
        """The transaction as it may go on: without what the rows hold already, or with the rows before it."""
        if self.done:
            return committed
        pieces, self._pieces = self._pieces if committed.in_pieces else [], []
        committed = committed._replace(changes=[*pieces, *committed.changes]) if pieces else committed
        if self.passed(committed.end.file, committed.end.offset - 1):
            return self.finish(committed)
        held = self._bounds.held(committed)
        for change in committed.changes:
            if change.channel not in self._channels:
                continue
            if held and not self._is_known(change):
                self._before.append(change)
            elif not held and not self._is_fetched(change):
                self._after.append(change)
        for channel, unread in committed.unread.items():
            if channel in self._channels and not (held and unread.mendable):
                self._unread[channel] = unread
        return committed._replace(
            changes=[c for c in committed.changes if c.channel not in self._channels],
            unread={channel: why for channel, why in committed.unread.items() if channel not in self._channels},
        )

    def admit_piece(self, piece: Piece) -> Piece:
        """What may go on before the transaction's end has come: other channels' changes. The channels' own wait here.

        Without any the piece goes on all the same: the first tells the journal that another transaction begins.
        """
        if piece.first:
            self._pieces = []
        self._pieces += [change for change in piece.changes if change.channel in self._channels]
        return piece._replace(changes=[change for change in piece.changes if change.channel not in self._channels])

    def finish(self, committed: Committed) -> Committed:
        """The transaction with everything that waited, and the rows, put before its own changes."""
        self.done = True
        first = [change for table in self._channels.values() for change in table.first]
        rows = [
            Change(channel, READ, row, columns=table.described)
            for channel, table in self._channels.items()
            for row in table.messages
        ]
        changes = [*first, *self._before, *rows, *self._after, *committed.changes]
        self._before, self._after = [], []
        unread = {**self._unread, **committed.unread}
        return committed._replace(changes=changes, complete=True, vain=self._vain, unread=unread)

    def passed(self, file: str, offset: int) -> bool:
        """Whether the log has been read up to the snapshot's end."""
        return log_order(file, offset) >= log_order(self._bounds.after.file, self._bounds.after.offset)

    def _is_known(self, change: Change) -> bool:
        table = self._channels[change.channel]
        return key_of(change.message, table.key_columns) in table.keys

    def _is_fetched(self, change: Change) -> bool:
        """Whether this is the insert of a row that was fetched, of those that the snapshot may hold."""
        if change.op == INSERT:
            key = key_of(change.message, self._channels[change.channel].key_columns)
            return self._is_known(change) and (change.channel, key) not in self._left
        if change.op in (UPDATE, DELETE):
            key = key_of(change.message, self._channels[change.channel].key_columns, change.old)
            self._left.add((change.channel, key))
        return False


def key_of(message: bytes, columns: Sequence[str], old: bytes = b"") -> Key:
    """The primary key in a message, or as it was before an update, given the changed columns' old values."""
    row = msgspec.json.decode(message)
    if old:
        row |= msgspec.json.decode(old)
    return tuple(row.get(column) for column in columns)
