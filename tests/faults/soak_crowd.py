"""The crowd of a soak: as many clients as a machine lets one process have, back at once and far behind."""

from __future__ import annotations

import asyncio

from tests.faults.crowd import Crowd, descriptors
from tests.faults.soak_stage import Stage

CROWD_RETURNS = "a crowd returns"
SIZE = 10_000
BEHIND = 1_000  # rows
SPARE = 1_000  # open files for everything else
PATIENCE = 300.0  # seconds


def crowd_size() -> int:
    """Ten thousand, where so many files may be open. To be asked before the product starts, which inherits that."""
    return max(1, min(SIZE, descriptors(SIZE + SPARE) - SPARE))


async def crowd_returns(stage: Stage, size: int) -> None:
    """They return while rows are written; each must get every row that it missed once, in order, and leaves then.

    Rowcast is started anew behind it: the memory that a crowd has taken says nothing of what comes after.
    """
    crowd = Crowd(stage.product.gateway_port, size, PATIENCE)
    async with Crowd(stage.product.gateway_port, 1) as first:
        (witness,) = first.visitors
        for visitor in crowd.visitors:
            visitor.was_at(witness)
    crowd.goal = witness.offset + BEHIND
    await asyncio.to_thread(stage.commit, BEHIND)
    async with crowd:
        await crowd.until_at(crowd.goal)
    stage.memory.crowded()
    await asyncio.to_thread(stage.product.stop)
    stage.product.start()
