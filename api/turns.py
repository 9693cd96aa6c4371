"""Who goes on next when many are due at once: a few in each turn of the event loop, the others wait in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

AT_ONCE = 16  # readers with a row each in one turn: less than a millisecond
A_PAGE = 8  # of these cost as much as one that makes, filters and writes a page

Waiter = asyncio.Future[None]


class Turns:
    """Lets those go on at once who are first in a turn, so that a row to thousands holds nobody up for long.

    The WebSocket gateway shares the event loop: its rows and everybody's requests come in between.
    """

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._at_once = at_once
        self._due: deque[tuple[Waiter, int]] = deque()
        self._room = at_once  # left in this turn
        self._next: asyncio.Handle | None = None

    def grant(self, waiters: Iterable[Waiter], cost: int = 1) -> None:
        """Let all of them go on, in their order; each takes ``cost`` of a turn's room."""
        self._due.extend((waiter, cost) for waiter in waiters)
        if self._next is None:
            self._turn()
        else:
            self._release()

    async def take(self, cost: int) -> None:
        """Wait for a turn that has room."""
        waiter: Waiter = asyncio.get_running_loop().create_future()
        self.grant([waiter], cost)
        await waiter

    def _turn(self) -> None:
        self._room = self._at_once
        more = bool(self._due)
        self._next = asyncio.get_running_loop().call_soon(self._turn) if more else None
        self._release()

    def _release(self) -> None:
        while self._due and self._room > 0:
            waiter, cost = self._due.popleft()
            if not waiter.done():  # else it has given up
                waiter.set_result(None)
                self._room -= cost
