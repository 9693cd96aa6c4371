"""The way of plain transactions: nine in ten are a GTID, table maps, written rows and an XID, and nothing else.

The state machine of ``cdc/assembler.py`` remains the one truth. This reads such a transaction in one go when all of it
came with one read, and changes nothing before it has the whole: whatever is unusual about it, down to a checksum that
fails, is left to the machine, from its first event on. Those that lie side by side become one ``Committed`` where
nobody needs to look at each. A test feeds the same logs through both (docs/decisions/0021-a-shortcut-for-plain-
transactions.md, 0026-runs-of-plain-transactions.md).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from cdc import events as ev
from cdc.assembler import Assembler
from cdc.committed import Committed
from cdc.framing import Packets
from cdc.position import Fingerprint, Position
from cdc.run import Run

_PLAIN = {
    "mariadb": re.compile(rb"(?:\xa2(?:\x13[\x17\x1e]+)+\x10)+"),  # GTID, (table map, write rows …) …, XID
    "mysql": re.compile(rb"(?:\x21\x02(?:\x13[\x17\x1e]+)+\x10)+|(?:\x22\x02(?:\x13[\x17\x1e]+)+\x10)+"),
}
"""Plain transactions side by side, each event by the byte of its type. MySQL's have a BEGIN behind the GTID."""


class Shortcut(Assembler):
    """The assembler, fed with many events at a time."""

    def steps(
        self, packets: Packets, joins: Callable[[], bool] = lambda: False
    ) -> Iterator[tuple[int, Committed | None]]:
        """Take the events of one read. At each step: the type of the last event taken, what it completes.

        Plain transactions are one step, by themselves or where ``joins()`` together with those behind them; any other
        event is one. Raises what ``feed`` raises.
        """
        data, begins, ends, kinds, _ = packets
        match = _PLAIN[self._flavour].match
        at, count, plain = 0, len(begins), 0
        between = self._is_between()
        while at < count:
            if between and at >= plain and (found := match(kinds, at)):
                plain = found.end()
            run = self._run(packets, at, plain, joins) if between and at < plain else None
            if run:
                at = run.at
                yield ev.XID, self._joined(run)
            else:
                yield kinds[at], self.feed(data[begins[at] : ends[at]])
                between = self._is_between()
                plain = at = at + 1  # what was found ends with what the machine has to take: it may have begun anything

    def _is_between(self) -> bool:
        """Whether nothing is open, so that a transaction may begin."""
        new = not (self._open or self._tables) and self._pending.is_new
        return new and self._checksums and self._is_boundary(self._pending.start.offset)

    def _run(self, packets: Packets, first: int, last: int, joins: Callable[[], bool]) -> Run | None:
        """The plain transactions of these events, one or as many as may be joined."""
        run = Run(packets, self._known, first, self._pending.start.offset, mariadb=self._mariadb)
        most = self._pending.most
        if not run.take(most):
            return None
        if joins():
            while run.at < last and not run.full and (run.take_alike(most) or run.take(most)):
                pass
        return run

    def _joined(self, run: Run) -> Committed:
        """What they come to. Between ``start`` and ``end`` lies the last of them alone, as a checkpoint wants it."""
        start, gtid = self._pending.start, run.gtid
        if run.count > 1:
            self._advance(run.gtid_before, run.first)
            start = Position(self.file, run.start, self._gtid_text())
        self._advance(gtid)
        self.offset = run.end
        self._pending.start = Position(self.file, run.end, self._gtid_text())
        return Committed(
            run.changes,
            start,
            self._pending.start,
            Fingerprint(gtid, run.digest),
            run.committed,
            self._prepared.oldest,
            times=run.times if run.count > 1 else (),
        )

    def _advance(self, gtid: str | None, first: int | None = None) -> None:
        """Count a transaction as executed, and those of its origin from the number ``first`` on."""
        if gtid is not None and self._gtids is not None:
            self._gtids.advance(gtid, first)
