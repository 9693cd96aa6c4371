"""How long to wait before a reconnect."""

from __future__ import annotations

import random

_QUICK, _SLOWEST = 0.25, 10.0  # bounds of the wait, in seconds
_STABLE = 10.0  # seconds after which a connection counts as a success


class Backoff:
    """Growing waits with full jitter, so that many readers do not come back in step."""

    def __init__(self) -> None:
        self._ceiling = _QUICK

    def next(self, lasted: float) -> float:
        """Seconds to wait after a connection that lasted ``lasted`` seconds."""
        if lasted >= _STABLE:
            self._ceiling = _QUICK
        wait = random.uniform(self._ceiling / 2, self._ceiling)  # noqa: S311 - jitter, not a secret
        self._ceiling = min(2 * self._ceiling, _SLOWEST)
        return wait
