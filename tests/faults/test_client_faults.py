"""What happens on the clients' side of the gateway."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from devenv.database import Server
from tests.faults.conftest import MakeProduct
from tests.faults.crowd import Crowd, descriptors
from tests.faults.load import Load, nothing_wrong
from tests.faults.proxy import CuttingProxy
from tests.faults.recorder import Recorder
from tests.waiting import until

CLIENTS = 300
CUTS = 20
CROWD = 1000


async def test_a_client_that_is_cut_off_again_and_again_misses_nothing(
    mariadb: Server, make_product: MakeProduct
) -> None:
    """Its link cut twenty times while 2,000 rows flow: it comes back by epoch and offset, and has every row once."""
    product = make_product(mariadb)
    await product.ready()
    with CuttingProxy(product.gateway_port) as proxy:
        async with Recorder(f"ws://127.0.0.1:{proxy.port}/") as recorder:
            await recorder.live.wait()
            with Load(product, 2000, rate=800) as load:
                for cut in range(1, CUTS + 1):
                    await load.until(cut / (CUTS + 1))
                    await until(lambda: proxy.links)
                    proxy.cut()
                await load.finished()
                await nothing_wrong(product, [recorder])
            assert recorder.connects > CUTS // 2


async def test_many_clients_come_back_after_a_restart_and_miss_nothing(
    mariadb: Server, make_product: MakeProduct
) -> None:
    """SIGTERM with 300 clients under load, then a start: each has every row once, in the log's order."""
    product = make_product(mariadb)
    await product.ready()
    async with AsyncExitStack() as stack:
        recorders = [await stack.enter_async_context(Recorder(product.gateway)) for _ in range(CLIENTS)]
        for recorder in recorders:
            recorder.pause = 0.5
            await recorder.live.wait()
        with Load(product, 400, rate=200) as load:
            await load.until(0.4)
            assert await asyncio.to_thread(product.stop) == 0
            product.start()
            await load.finished()
        await nothing_wrong(product, recorders)
        await until(lambda: all(recorder.connects > 1 for recorder in recorders), 60)


async def test_a_crowd_that_returns_misses_nothing(mariadb: Server, make_product: MakeProduct) -> None:
    """A thousand clients come back at once, a thousand rows behind, while rows are written: each row once, in order."""
    if descriptors(CROWD + 500) < CROWD + 500:
        pytest.skip("needs 1,500 open files: ulimit -n")
    product = make_product(mariadb)
    await product.ready()
    async with Recorder(product.gateway) as recorder, Crowd(product.gateway_port, CROWD, 120) as crowd:
        await recorder.live.wait()
        with Load(product, 4000, rate=600) as load:
            await load.until(0.05)
            crowd.leave()
            behind = max(visitor.offset for visitor in crowd.visitors)
            await load.until(0.75)
            await recorder.until_seen(behind + 1000)
            crowd.goal = behind + 1100
            await crowd.come()
            await load.finished()
        await crowd.until_at(crowd.goal)
        await nothing_wrong(product, [recorder])
        assert crowd.ids.items() <= {(seen.offset, seen.message["id"]) for seen in recorder.seen}
