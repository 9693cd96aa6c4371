"""When the hub's slices have their turns: between everything else, and not beside a commit of the journal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

PATIENCE = 0.02  # seconds that a turn waits for a commit; a disk that takes longer must not hold up what it has kept


class Pace:
    """Lets the journal's commit go first.

    Its thread takes the interpreter's lock a dozen times for one row, and beside a loop that writes without a pause it
    waits for it each time: the commit then takes as long as the writing would have. With a ``patience`` of 0 nothing
    waits.
    """

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._writing = False
        self._turn: Callable[[], None] | None = None
        self._due: asyncio.TimerHandle | None = None  # of the turn that waits

    def soon(self, turn: Callable[[], None]) -> None:
        """Have ``turn`` called in the next turn of the event loop, or behind the commit that runs."""
        loop = asyncio.get_running_loop()
        if self._writing and self._patience:
            self._turn = turn
            self._due = loop.call_later(self._patience, self._go)
        else:
            loop.call_soon(turn)

    def writing(self, begun: bool) -> None:
        """A commit begins, or has ended."""
        self._writing = begun
        if not begun and self._due is not None:
            self._due.cancel()
            asyncio.get_running_loop().call_soon(self._go)

    def _go(self) -> None:
        turn, self._turn, self._due = self._turn, None, None
        if turn is not None:
            turn()
