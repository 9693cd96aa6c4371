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
    """They come, go, and return while rows are written; each must get every row that it missed once, in order."""
    async with Crowd(stage.product.gateway_port, size) as crowd:
        crowd.leave()
        behind = max(visitor.offset for visitor in crowd.visitors)
        await asyncio.to_thread(stage.commit, BEHIND)
        await crowd.come()
        await crowd.until_at(behind + BEHIND, PATIENCE)
