"""The transaction at hand: what has come of it, and what of that a rollback takes back. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from cdc.committed import CHANGE_OVERHEAD, PIECE_BYTES, Piece, Unread
from cdc.position import Position
from journal.types import GAP, Change


class Pending:
    """Changes whose commit has not come, gaps among them, and the savepoints between them.

    ``start`` is the boundary before it, ``committed`` its commit time in Unix seconds where the log has said it.
    ``missed`` are the channels with a gap in it. Channels in ``inserts_only`` tell nothing but inserts.
    """

    __slots__ = (
        "_inserts_only",
        "_passed",
        "_passed_channels",
        "_savepoints",
        "_size",
        "changes",
        "committed",
        "gtid",
        "missed",
        "most",
        "start",
    )

    def __init__(self, start: Position, inserts_only: Collection[str]) -> None:
        self.start = start
        self.gtid: str | None = None
        self.committed: float | None = None
        self.changes: list[Change] = []
        self.missed: dict[str, Unread] = {}
        self.most = PIECE_BYTES  # to be held in memory
        self._inserts_only = inserts_only
        self._size = 0  # of the changes, about
        self._passed = 0  # changes that went before them
        self._passed_channels: set[str] = set()
        self._savepoints: dict[str, int] = {}

    @property
    def is_new(self) -> bool:
        """Whether nothing has been told of it yet."""
        return self.gtid is None and not (self.changes or self.missed or self._passed or self._savepoints)

    @property
    def is_full(self) -> bool:
        """Whether its changes should be passed on before its end."""
        return self._size >= self.most

    @property
    def in_pieces(self) -> bool:
        """Whether some of it was passed on."""
        return self._passed > 0

    def add(self, changes: Sequence[Change]) -> None:
        """Take the changes of one rows event."""
        self.changes += changes
        self._size += sum([change.size + CHANGE_OVERHEAD for change in changes])

    def piece(self, committed: float) -> Piece:
        """What there is of it, as a piece."""
        return Piece(self.changes, self.start, committed, first=not self._passed)

    def passed_on(self) -> None:
        """The piece was taken; what comes now begins another."""
        self._passed += len(self.changes)
        self._passed_channels.update(change.channel for change in self.changes)
        self.changes, self._size = [], 0

    # What could not be read

    def gap(self, channels: Collection[str], why: str, *, inserts: bool = False) -> None:
        """Tell each channel once what could not be read. ``inserts``: it can only have been inserts."""
        for channel in channels:
            missed = self.missed.get(channel) or Unread(self.tell(channel, why), mendable=True)
            mendable = missed.mendable and (inserts or channel in self._inserts_only)
            self.missed[channel] = missed._replace(mendable=mendable)

    def tell(self, channel: str, why: str) -> str:
        """Put a gap among the changes; its words, with the place."""
        place = self.gtid or str(self.start)
        message = {"reason": "unreadable", "detail": why, "position": place}
        self.changes.append(Change(channel, GAP, msgspec.json.encode(message)))
        return f"{why}, at {place}"

    def touched(self) -> Sequence[str]:
        """The channels that have rows in it."""
        return sorted(self._passed_channels.union(change.channel for change in self.changes if change.op != GAP))

    # What a rollback takes back

    def savepoint(self, name: str) -> None:
        """Remember this place."""
        self._savepoints[name] = self._passed + len(self.changes)

    def undo_to(self, name: str) -> None:
        """Forget the rows behind a savepoint; all of them when nobody has seen it set."""
        self._undo(self._savepoints.get(name, 0))

    def undo(self) -> None:
        """Forget every row."""
        self._undo(0)

    def _undo(self, kept: int) -> None:
        """Forget the rows behind the first ``kept`` changes; a gap stays, for what it stands for may have remained.

        Rows that were passed on cannot be told apart any more: none of them is kept then.
        """
        if kept < self._passed:
            for channel in self._passed_channels - {change.channel for change in self.changes if change.op == GAP}:
                self.missed.pop(channel, None)  # a gap that was told went with them
            self.gap(sorted(self._passed_channels), "a transaction too large to be held was undone, or a part of it")
            self._passed = kept = 0
            self._passed_channels.clear()
            self._savepoints = dict.fromkeys(self._savepoints, 0)  # the rows before them are gone too
        kept -= self._passed
        self.changes[kept:] = [change for change in self.changes[kept:] if change.op == GAP]

    # XA: what waits between its prepare and its end

    def give_up(self) -> Sequence[Change]:
        """Its changes, gaps among them, which from now on wait elsewhere."""
        given, self.changes, self.missed = self.changes, [], {}
        return given

    def let_in(self, held: Sequence[Change]) -> None:
        """Changes that waited since their prepare."""
        self.changes += held
        for change in held:
            if change.op == GAP:
                told = msgspec.json.decode(change.message)
                mendable = change.channel in self._inserts_only
                self.missed[change.channel] = Unread(f"{told['detail']}, at {told['position']}", mendable)
