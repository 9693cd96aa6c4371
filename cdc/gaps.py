"""Gaps that say again what a channel was just told are left out. Pure: it is told the time.

A table that cannot be read gives a gap with each of its transactions. Between two rows the first of them says it all:
what it stands for lies behind the row before it and before the row behind it, however many transactions that were.
Whoever subscribes later has not heard it, so it is told again now and then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from cdc.committed import Committed, Piece
from journal.types import GAP, Change

AGAIN = 600.0
"""Seconds after which a gap that lasts is told again."""


class _Told(NamedTuple):
    why: str
    when: float


class Gaps:
    """One capture loop's memory of the gap that each channel ends with."""

    def __init__(self) -> None:
        self._last: dict[str, _Told] = {}

    def new(self, item: Committed | Piece, now: float) -> Committed | Piece:
        """The item without gaps that were told less than ``AGAIN`` before ``now``, a monotonic time in seconds.

        A piece keeps its own: whether anybody is ever told of them is not known before its transaction's end.
        """
        if isinstance(item, Piece):
            for change in item.changes if self._last else ():
                self._last.pop(change.channel, None)
            return item
        if not self._last and not (item.unread or item.complete):
            return item  # as almost always
        return item._replace(changes=list(self._kept(item.changes, now)))

    def _kept(self, changes: Iterable[Change], now: float) -> Iterator[Change]:
        for change in changes:
            if change.op != GAP:
                self._last.pop(change.channel, None)
                yield change
            elif self._is_new(change, now):
                yield change

    def _is_new(self, gap: Change, now: float) -> bool:
        message = msgspec.json.decode(gap.message)
        last, why = self._last.get(gap.channel), message["detail"]
        if message["reason"] != "unreadable":
            self._last.pop(gap.channel, None)
        elif last is not None and last.why == why and now - last.when < AGAIN:
            return False
        else:
            self._last[gap.channel] = _Told(why, now)
        return True
