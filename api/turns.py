"""Who goes on next when many are due at once: a few in each turn of the event loop, the others wait in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

AT_ONCE = 16  # readers in one turn: with a row each less than a millisecond, with a page each a few

Waiter = asyncio.Future[None]


class Turns:
    """Lets those go on at once who are first in a turn, so that a row to thousands holds nobody up for long.

    The WebSocket gateway shares the event loop: its rows and everybody's requests come in between.
    """

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._at_once = at_once
        self._due: deque[Waiter] = deque()
        self._room = at_once  # left in this turn
        self._next: asyncio.Handle | None = None

    def grant(self, waiters: Iterable[Waiter]) -> None:
        """Let all of them go on, in their order."""
        self._due.extend(waiters)
        if self._next is None:
            self._turn()
        else:
            self._release()

    async def take(self) -> None:
        """Wait for a turn."""
        waiter: Waiter = asyncio.get_running_loop().create_future()
        self.grant([waiter])
        await waiter

    def _turn(self) -> None:
        self._room = self._at_once
        more = bool(self._due)
        self._next = asyncio.get_running_loop().call_soon(self._turn) if more else None
        self._release()

    def _release(self) -> None:
        while self._due and self._room:
            waiter = self._due.popleft()
            if not waiter.done():  # else it has given up
                waiter.set_result(None)
                self._room -= 1
