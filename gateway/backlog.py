"""How much memory the writes of one connection take while they wait for its client."""

from __future__ import annotations

import asyncio
from collections import deque

from gateway.frames import SLICE

EACH = 850  # bytes that uvloop 0.23 holds for each write that waits, and what is remembered of it here

Backlog = deque[int]  # of each write that waits, where it ended in all bytes ever written


def weigh(backlog: Backlog | None, transport: asyncio.Transport, written: int, bound: int) -> Backlog | None:
    """Count one more write, the last of ``written`` bytes, and pause the earlier, the more of them wait.

    With small frames, what each takes by itself is more than its bytes.
    """
    taken = written - transport.get_write_buffer_size()
    waits = Backlog() if backlog is None else backlog
    waits.append(written)
    while waits and waits[0] <= taken:
        waits.popleft()
    if not transport.is_closing():
        transport.set_write_buffer_limits(*water_marks(bound, len(waits)))
    return waits or None


def water_marks(bound: int, writes: int = 0) -> tuple[int, int]:
    """Bytes in a transport's buffer above which to pause, and up to which it has to fall before it may go on.

    Below ``bound`` by what ``writes`` take beside their bytes, and by the largest that may come on top of them.
    """
    high = max(0, bound - min(SLICE, bound // 4) - writes * EACH)
    return high, high // 4
