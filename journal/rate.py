"""Events per second over the last ten seconds."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

WINDOW = 10


class Rate:
    """Counts by the second of a monotonic clock; reading it costs the seconds that have passed, not the events."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seconds: deque[tuple[int, int]] = deque()

    def add(self, count: int) -> None:
        """Count events that arrived now."""
        now = int(self._clock())
        if self._seconds and self._seconds[-1][0] == now:
            count += self._seconds.pop()[1]
        self._seconds.append((now, count))
        self._forget(now)

    def value(self) -> float:
        """Events per second, averaged over the window."""
        self._forget(int(self._clock()))
        return sum(count for _, count in self._seconds) / WINDOW

    def _forget(self, now: int) -> None:
        while self._seconds and self._seconds[0][0] <= now - WINDOW:
            self._seconds.popleft()
