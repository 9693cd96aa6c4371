from __future__ import annotations

import asyncio

from gateway.pace import Pace
from tests.waiting import until


async def test_a_turn_waits_for_the_commit() -> None:
    """Asked for beside a commit, it comes when that has ended, and once."""
    pace = Pace()
    turns: list[str] = []
    pace.writing(True)
    pace.soon(lambda: turns.append("turn"))
    await asyncio.sleep(0)
    assert turns == []
    pace.writing(False)
    await until(lambda: bool(turns))
    pace.writing(True)
    pace.writing(False)
    await asyncio.sleep(0)
    assert turns == ["turn"]


async def test_a_commit_that_takes_long_is_not_waited_for() -> None:
    """What was committed before is dealt out, even when the disk answers no more."""
    pace = Pace()
    turns: list[str] = []
    pace.writing(True)
    pace.soon(lambda: turns.append("turn"))
    await until(lambda: bool(turns))


async def test_without_a_commit_a_turn_is_the_loops_next() -> None:
    """Nothing is waited for."""
    pace = Pace()
    turns: list[str] = []
    pace.soon(lambda: turns.append("turn"))
    await asyncio.sleep(0)
    assert turns == ["turn"]
