"""Waiting for a condition with a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Return as soon as the condition holds; fail when it does not in time."""
    async with asyncio.timeout(seconds):
        turns = 0
        while not condition():
            turns += 1
            await asyncio.sleep(0 if turns < 1000 else 0.005)
