"""The promise under load: every committed row once, in order, through `kill -9` of either side."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

import pytest

from devenv.database import Server
from tests.conftest import MakeServer
from tests.end_to_end.conftest import MakeProduct
from tests.faults.binlog import in_commit_order
from tests.faults.product import Product
from tests.faults.recorder import Recorder
from tests.faults.verdict import judge, table
from tests.faults.writers import Writer

ROWS = 20_000
WRITERS = 4
# A killed process loses nothing that reached the kernel, so the disk need not be waited for: the load is the point.
QUICK = ("--sync-binlog=0", "--innodb-flush-log-at-trx-commit=2")


def start_writers(product: Product) -> list[Writer]:
    writers = [Writer(product.connect, number, ROWS // WRITERS) for number in range(1, WRITERS + 1)]
    for writer in writers:
        writer.start()
    return writers


async def written(writers: Sequence[Writer], share: float) -> None:
    """Return once the writers have sent that share of their rows."""
    async with asyncio.timeout(120):
        while sum(writer.written for writer in writers) < share * ROWS:
            await asyncio.sleep(0.005)


async def finish(writers: Sequence[Writer]) -> None:
    for writer in writers:
        await asyncio.to_thread(writer.join, 120)
        assert not writer.is_alive()
        assert writer.error is None


async def judge_all(product: Product, recorder: Recorder) -> None:
    """The recorder has every row, and so has a client that comes only now and asks for everything."""
    rows = await asyncio.to_thread(table, product)
    assert len(rows) > 0.8 * ROWS
    await recorder.until_seen(len(rows))
    async with Recorder(product.gateway, offset=0) as late:
        await late.until_seen(len(rows))
        await late.live.wait()
    for client in (recorder, late):
        assert client.gaps == []
        verdict = judge(client.seen, rows)
        assert verdict.clean, verdict
    await asyncio.to_thread(in_commit_order, product, recorder.seen, late.seen)


async def test_exactly_the_committed_rows_arrive(mariadb: Server, make_product: MakeProduct) -> None:
    """20,000 rows of four writers, some rolled back: exactly the committed ones, dense, transactions unbroken."""
    product = make_product(mariadb)
    await product.ready()
    async with Recorder(product.gateway) as recorder:
        await recorder.live.wait()
        writers = start_writers(product)
        await finish(writers)
        await judge_all(product, recorder)
        assert recorder.connects == 1


async def test_ten_kills_of_rowcast_lose_nothing(make_server: MakeServer, make_product: MakeProduct) -> None:
    """`kill -9` of `rowcast serve` ten times under load: a client that resumes misses nothing, sees nothing twice."""
    product = make_product(make_server(extra=QUICK))
    await product.ready()
    async with Recorder(product.gateway) as recorder:
        await recorder.live.wait()
        writers = start_writers(product)
        for kill in range(1, 11):
            await written(writers, kill / 11)
            product.kill()
            product.start()
            await product.ready()
        await finish(writers)
        await judge_all(product, recorder)
        assert recorder.connects > 10


async def test_a_killed_database_loses_nothing(make_server: MakeServer, make_product: MakeProduct) -> None:
    """The database killed (-9) under load and restarted: nothing lost; clients and /readyz are told meanwhile."""
    server = make_server(extra=QUICK)
    product = make_product(server)
    await product.ready()
    async with Recorder(product.gateway) as recorder:
        await recorder.live.wait()
        writers = start_writers(product)
        for share in (0.3, 0.6):
            await written(writers, share)
            await down_and_up(product, server, recorder)
        await finish(writers)
        await judge_all(product, recorder)
        assert recorder.connects == 1


async def down_and_up(product: Product, server: Server, recorder: Recorder) -> None:
    """Kill the server, see that everybody is told, start it again, see that too."""
    recorder.sources.clear()
    await asyncio.to_thread(server.kill)
    async with asyncio.timeout(15):
        while "down" not in recorder.sources:
            await asyncio.sleep(0.01)
        while (answer := await product.readiness())[0] != 503:
            await asyncio.sleep(0.01)
    assert answer[1]["checks"]["source"].startswith("down")
    await asyncio.to_thread(server.start)
    await product.ready()
    async with asyncio.timeout(15):
        while recorder.sources[-1] != "live":
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("times", [3])
async def test_everything_killed_at_once(make_server: MakeServer, make_product: MakeProduct, times: int) -> None:
    """Database and Rowcast killed together, as by a power cut: nothing lost, nothing twice."""
    server = make_server()
    product = make_product(server)
    await product.ready()
    async with AsyncExitStack() as stack:
        recorder = await stack.enter_async_context(Recorder(product.gateway))
        await recorder.live.wait()
        writers = start_writers(product)
        for time in range(1, times + 1):
            await written(writers, time * 0.1)
            product.kill()
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            product.start()
            await product.ready()
        for writer in writers:
            await asyncio.to_thread(writer.stop)
        rows = await asyncio.to_thread(table, product)
        await recorder.until_seen(len(rows))
        verdict = judge(recorder.seen, rows)
        assert verdict.clean, verdict
        await asyncio.to_thread(in_commit_order, product, recorder.seen)
