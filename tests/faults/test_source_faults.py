"""What happens to the source, to the link to it and to the process that follows it: nothing is lost by any of it."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable

from devenv.children import strike
from devenv.database import Server
from tests.conftest import MakeServer
from tests.faults.binlog import files
from tests.faults.conftest import MakeProduct
from tests.faults.load import Load, nothing_wrong
from tests.faults.product import Product, fetch
from tests.faults.proxy import CuttingProxy
from tests.faults.recorder import Recorder

DUMP_THREADS = "SELECT id FROM information_schema.processlist WHERE command = 'Binlog Dump' AND user = 'r_{}'"


async def eventually(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Return once the condition holds; asking it may be slow."""
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.01)


def kill_dump_thread(product: Product) -> bool:
    """``KILL`` the thread that sends us the log, if there is one; one that was killed before may be listed still."""
    killed = 0
    for number in product.server.sql(DUMP_THREADS.format(product.database)).split():
        try:
            product.server.sql(f"KILL {number}")
        except RuntimeError as error:
            if "Unknown thread id" not in str(error):
                raise
        else:
            killed += 1
    return killed > 0


async def test_a_process_that_is_stopped_and_continued_loses_nothing(
    mariadb: Server, make_product: MakeProduct
) -> None:
    """SIGSTOP while rows are written, SIGCONT seconds later: the backlog arrives, then what follows."""
    product = make_product(mariadb)
    await product.ready()
    async with Recorder(product.gateway) as recorder:
        await recorder.live.wait()
        with Load(product, 1500, rate=1000) as load:
            await load.until(0.3)
            assert product.process is not None
            strike(product.process, signal.SIGSTOP)
            before = len(recorder.seen)
            await load.finished()
            await asyncio.sleep(2)  # the fault itself: a process that is not there, but has not left either
            assert len(recorder.seen) - before < 500  # what was on its way
            strike(product.process, signal.SIGCONT)
            await nothing_wrong(product, [recorder])


async def test_a_killed_dump_thread_loses_nothing(mariadb: Server, make_product: MakeProduct) -> None:
    """The server's ``KILL`` of the thread that sends us the log, three times under load."""
    product = make_product(mariadb)
    await product.ready()
    async with Recorder(product.gateway) as recorder:
        await recorder.live.wait()
        with Load(product, 2000, rate=800) as load:
            for share in (0.2, 0.4, 0.6):
                await load.until(share)
                await eventually(lambda: kill_dump_thread(product))
            await load.finished()
            await nothing_wrong(product, [recorder])
        assert recorder.connects == 1
        assert "down" in recorder.sources


async def test_a_slow_link_shows_as_lag(mariadb: Server, make_product: MakeProduct) -> None:
    """Less passes than is written: lag grows, readiness, metrics and heartbeats tell; nobody reconnects, all arrives.

    It takes the seconds that are to be seen.
    """
    with CuttingProxy(mariadb.port) as proxy:
        product = make_product(mariadb, mysql_port=proxy.port)
        await product.ready()
        async with Recorder(product.gateway) as recorder:
            await recorder.live.wait()
            with Load(product, 3000, rate=1000) as load:
                await load.until(0.05)
                proxy.bytes_per_second = 4_000  # far below what even a slow disk lets be written
                for milliseconds in (2_000, 4_000):
                    await until_late(product, milliseconds)
                assert metric(product, "rowcast_source_lag_seconds") > 2
                assert (await product.readiness())[0] == 503
                late = [lag for state, lag in zip(recorder.sources, recorder.lags, strict=True) if state != "live"]
                assert max(late) >= 2_000
                proxy.bytes_per_second = None
                await load.finished()
                await nothing_wrong(product, [recorder])
            await product.ready()
            assert metric(product, "rowcast_capture_connects_total") == 1
            assert metric(product, "rowcast_source_lag_seconds") < 2
            assert recorder.connects == 1
            assert "down" not in recorder.sources


async def until_late(product: Product, milliseconds: int) -> None:
    """Return once /readyz says that the source is so far behind."""
    async with asyncio.timeout(30):
        while True:
            lag = str((await product.readiness())[1].get("checks", {}).get("lag"))
            if lag.endswith("ms behind, catching_up") and int(lag.split(maxsplit=1)[0]) >= milliseconds:
                return
            await asyncio.sleep(0.05)


def metric(product: Product, name: str) -> float:
    """A figure without labels."""
    (line,) = [line for line in fetch(f"{product.api}/metrics").splitlines() if line.startswith(f"{name} ")]
    return float(line.split()[1])


async def test_a_purged_log_is_a_gap_for_everybody_at_the_same_place(
    make_server: MakeServer, make_product: MakeProduct
) -> None:
    """Rows purged while Rowcast was away: the same gap for everybody, then the rows, at the same offsets."""
    server = make_server(extra=("--sync-binlog=0",))
    with CuttingProxy(server.port) as proxy:
        product = make_product(server, mysql_port=proxy.port)
        await product.ready()
        async with Recorder(product.gateway) as live:
            await live.live.wait()
            await write(product, 1, 3)
            await live.until_seen(3)
            assert await asyncio.to_thread(product.stop) == 0
            await write(product, 4, 3)
            await asyncio.to_thread(purge, server)
            await write(product, 7, 2)
            live.live.clear()
            proxy.refusing = True  # so that this client is live again before the gap is found
            product.start()
            async with asyncio.timeout(20):
                await live.live.wait()
            assert live.gaps == []
            proxy.refusing = False
            await live.until_seen(8)
        async with (
            Recorder(product.gateway, epoch=live.seen[0].epoch, offset=2) as resuming,
            Recorder(product.gateway, offset=0) as new,
        ):
            await resuming.until_seen(6)
            await new.until_seen(8)
    (gap,) = live.gaps
    assert (gap["reason"], gap["after"], gap["before"]) == ("purged", 3, 5)
    assert resuming.gaps == new.gaps == [gap]
    assert [event.message["id"] for event in live.seen] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert live.offsets == [1, 2, 3, 5, 6, 7, 8, 9]
    assert new.seen == live.seen
    assert resuming.seen == live.seen[2:]


async def write(product: Product, first: int, count: int) -> None:
    """Rows with the ids ``first`` …, each a transaction."""
    for number in range(first, first + count):
        row = f"({number}, 1, '{{}}', NOW(3))"
        await asyncio.to_thread(
            product.sql, f"INSERT INTO cctv_detection_results (id, cctv_id, data, timestamp) VALUES {row}"
        )


def purge(server: Server) -> None:
    """Let go of all files but the newest; the server does that only when nobody reads them."""
    for _ in range(2):
        server.sql("FLUSH BINARY LOGS")
    newest = files(server)[-1]
    deadline = time.monotonic() + 10
    while files(server) != [newest]:
        assert time.monotonic() < deadline
        server.sql(f"PURGE BINARY LOGS TO '{newest}'")
        time.sleep(0.05)
