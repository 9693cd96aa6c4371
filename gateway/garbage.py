"""Connections, kept out of sight of Python's collector of cyclic garbage while there are many."""

from __future__ import annotations

import gc

_GROWN = 500  # connections, that are worth a look


class LongLived:
    """Keeps connections from being looked through for garbage again and again: with thousands, that takes 0.1 s.

    They are taken out of the collector's sight as their number grows, and looked through once when half of them have
    gone. What becomes garbage in between is freed all the same, unless it refers to itself in a circle.
    """

    def __init__(self) -> None:
        self._known = 0  # connections when that was done last

    def look(self, connections: int) -> None:
        """So many there are now."""
        if connections >= self._known + max(_GROWN, self._known // 4):
            gc.freeze()
            self._known = connections
        elif connections < self._known // 2:
            gc.unfreeze()
            gc.collect()
            gc.freeze()  # what was loaded at the start stays out of sight as well
            self._known = connections
