"""Which channels may lack rows, why, and what becomes of it. Pure.

A gap is told once. Until the rows behind it were fetched from the table, each checkpoint says that they are owed, so
that a crash in between forgets nothing. What the table cannot tell stays named here until the process ends.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from cdc.committed import Committed
from cdc.position import Owed
from journal.types import GAP


class Ledger:
    """One capture loop's account of them. ``missing``: channels that may lack rows at this moment, and why."""

    def __init__(self) -> None:
        self.owed: Mapping[str, Owed] = {}
        self.due = False  # a gap was told since the tables were last asked
        self._asked: Collection[str] = ()
        self._silent: set[str] = set()  # channels whose table cannot say which rows are new
        self._unmended: dict[str, str] = {}

    def begin(self, owed: Mapping[str, Owed]) -> None:
        """The tables of all these channels are being asked."""
        self.owed, self._asked, self.due = owed, owed.keys(), False

    def take(self, batch: Sequence[Committed], head: Callable[[str], int]) -> bool:
        """Note what came in order, before it is in the journal; returns whether rows that were asked for are among it.

        ``head`` tells a channel's newest offset, which stands before whatever this batch brings.
        """
        for number, committed in enumerate(batch):
            if committed.complete:
                self._answered(committed.vain)
            for channel, unread in committed.unread.items():
                if not unread.mendable:
                    self._unmended[channel] = unread.detail
                if channel in self._asked:
                    continue  # the answer is still to come, and covers this: asking again would begin it anew for ever
                if channel not in self._silent:
                    if channel not in self.owed:  # else the rows of an earlier gap are owed as well
                        after = head(channel) + _told(batch[: number + 1], channel)
                        self.owed = {**self.owed, channel: Owed("unreadable", unread.detail, told=True, after=after)}
                    self.due = True
                else:
                    self._unmended[channel] = unread.detail
        return any(committed.complete for committed in batch)

    def _answered(self, vain: Collection[str]) -> None:
        self._silent.difference_update(self._asked)
        for channel in self._asked:
            if channel in vain:
                self._silent.add(channel)
                self._unmended[channel] = self.owed[channel].detail
        self.owed = {channel: owed for channel, owed in self.owed.items() if channel not in self._asked}
        self._asked = ()

    @property
    def missing(self) -> Mapping[str, str]:
        """What is not mended, and what is being mended."""
        return {**self._unmended, **{channel: owed.detail for channel, owed in self.owed.items()}}


def _told(batch: Sequence[Committed], channel: str) -> int:
    """How many events of a channel stand before the gap in the last of these; fewer where pieces went before."""
    *before, last = batch
    own = [change.op for change in last.changes if change.channel == channel]
    return sum(change.channel == channel for committed in before for change in committed.changes) + (
        own.index(GAP) if GAP in own else 0
    )
