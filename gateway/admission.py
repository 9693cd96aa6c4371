"""Who is let in next when many come at once: a few in each turn of the event loop, the others wait in order."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from gateway.share import Share
from gateway.stats import Stats

AT_ONCE = 16  # handshakes in one turn, at least: some milliseconds, with the subscriptions after them
WRITES_A_GUEST = 50  # writes of live rows that take about as long as one handshake and its subscription


class Guest(Protocol):
    """Whoever waits to be let in."""

    def admit(self) -> None:
        """It is your turn."""

    def abort(self) -> None:
        """It will never be your turn."""


class Admission:
    """Calls ``admit`` at once while the turn has room for it, else in one of the next turns.

    When everybody comes back, an operating system hands over thousands of requests in one go. Answered in one go,
    they would hold up the rows of those who are live for seconds.
    """

    def __init__(self, stats: Stats, at_once: int = AT_ONCE) -> None:
        self._share = Share(stats, at_once, WRITES_A_GUEST)
        self._at_once = at_once
        self._room = at_once  # left in this turn
        self._waiting: deque[Guest] = deque()
        self._next: asyncio.Handle | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, guest: Guest) -> bool:
        """Admit it or let it wait; tells whether it was admitted."""
        if self._next is None:
            self._share.forget()
            self._room = self._at_once
            self._next = asyncio.get_running_loop().call_soon(self._turn)
        if self._room:  # so nobody waits
            self._room -= 1
            guest.admit()
            return True
        self._waiting.append(guest)
        return False

    def close(self) -> None:
        """Send away who waits."""
        while self._waiting:
            self._waiting.popleft().abort()

    def _turn(self) -> None:
        # Set first: a guest whose connection fails right away must not stop the others.
        self._next = asyncio.get_running_loop().call_soon(self._turn) if self._waiting else None
        self._room = self._share.take()
        while self._room and self._waiting:
            self._room -= 1
            self._waiting.popleft().admit()
