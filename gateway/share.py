"""How much work of another kind the event loop does between two rounds of live rows."""

from __future__ import annotations

from gateway.stats import Stats


class Share:
    """Grants ``least`` pieces of work in each turn, and more when writing live rows took long: about as long again.

    One row to thousands of subscribers takes tens of milliseconds, and the next one waits already. With a fixed number
    in each turn, those who return would make no headway against the rows, or fall back further.
    """

    def __init__(self, stats: Stats, least: int, writes: int) -> None:
        self._stats = stats
        self._least = least
        self._cost = writes  # of live rows, that take as long as one piece of this work
        self._seen = stats.writes

    def forget(self) -> None:
        """There was nothing to do until now: rows that were written meanwhile earn nothing."""
        self._seen = self._stats.writes

    def take(self) -> int:
        """Pieces of work for this turn."""
        before, self._seen = self._seen, self._stats.writes
        return self._least + (self._seen - before) // self._cost
