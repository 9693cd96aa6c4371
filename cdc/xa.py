"""XA transactions between XA PREPARE and their end: the log holds their rows at the prepare, and they wait here.

XA COMMIT and XA ROLLBACK are transactions of their own, perhaps days and restarts later; they name the xid only.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from typing import NamedTuple

from cdc.position import Position
from journal.types import Change

HELD_BYTES = 64 << 20
"""How much may wait in memory. The rows of a transaction that does not fit become a gap at its commit."""

_STATEMENT = re.compile(r"XA\s+(?:COMMIT|ROLLBACK)\s+X'([0-9a-f]*)',\s*X'([0-9a-f]*)',\s*(\d+)", re.IGNORECASE)


class Xid(NamedTuple):
    """An XA transaction's name, as the application chose it."""

    format: int
    transaction: bytes
    branch: bytes


def prepared_xid(body: bytes) -> Xid:
    """The xid of an XA prepare event: a byte of its own, format, two lengths, the two parts."""
    kind, size, branch_size = struct.unpack_from("<III", body, 1)
    data = body[13 : 13 + size + branch_size]
    return Xid(kind, data[:size], data[size:])


def named_xid(sql: str) -> Xid | None:
    """The xid in XA COMMIT or XA ROLLBACK, as both servers write it into their logs: in hexadecimal."""
    match = _STATEMENT.search(sql)
    return Xid(int(match[3]), bytes.fromhex(match[1]), bytes.fromhex(match[2])) if match else None


class _Prepared(NamedTuple):
    start: Position
    changes: Sequence[Change]
    size: int


class Waiting:
    """The prepared transactions of one connection's stream, oldest first."""

    def __init__(self) -> None:
        self._prepared: dict[Xid, _Prepared] = {}
        self._size = 0

    @property
    def oldest(self) -> Position | None:
        """Where the oldest of them begins: a reader that starts behind it would not know its rows."""
        return next(iter(self._prepared.values())).start if self._prepared else None

    def fits(self, changes: Sequence[Change]) -> bool:
        """Whether there is room for these changes too."""
        return self._size + _weight(changes) <= HELD_BYTES

    def hold(self, xid: Xid, start: Position, changes: Sequence[Change]) -> None:
        """Keep the changes of a transaction that began at ``start``."""
        self.end(xid)
        self._prepared[xid] = _Prepared(start, changes, _weight(changes))
        self._size += self._prepared[xid].size

    def end(self, xid: Xid | None) -> Sequence[Change] | None:
        """Its changes, which wait no more; None when it was prepared before the stream began."""
        prepared = self._prepared.pop(xid, None) if xid is not None else None
        if prepared is None:
            return None
        self._size -= prepared.size
        return prepared.changes


def _weight(changes: Sequence[Change]) -> int:
    return sum(change.size + 128 for change in changes)
