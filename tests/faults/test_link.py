"""The link to the source fails in every way, under a capture of the test's own that comes back quickly."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cdc import backoff
from cdc.capture import CaptureLoop
from cdc.reader import Origin, TableChannel
from devenv.database import Server
from journal.sqlite import SqliteJournal
from journal.types import GAP, Event
from tests.faults.binlog import TABLE, in_commit_order
from tests.faults.conftest import MakeProduct
from tests.faults.load import Load
from tests.faults.product import Product
from tests.faults.proxy import CuttingProxy
from tests.faults.recorder import CHANNEL, Seen
from tests.faults.verdict import judge, table
from tests.waiting import until

HEARTBEAT = 0.5  # seconds
CUTS = 30


class Capture:
    """A capture loop from the server, through ``proxy``, into a journal; records what it publishes."""

    def __init__(self, product: Product, proxy: CuttingProxy, journal: SqliteJournal) -> None:
        self.seen: list[Seen] = []
        self.gaps: list[Event] = []
        self._epoch = journal.epoch
        account = {"user": "root", "password": product.server.root_password, "database": product.database}
        origin = Origin(
            {"host": "127.0.0.1", "port": proxy.port, **account},
            [TableChannel(CHANNEL, product.database, TABLE)],
            77_001,
            heartbeat=HEARTBEAT,
        )
        self.states: list[str] = []
        told = self.states
        self.loop = CaptureLoop(origin, journal, self._take, lambda state, _: told.append(state), derived_id=True)

    def _take(self, events: list[Event]) -> None:
        self.gaps += [event for event in events if event.op == GAP]
        rows = [event for event in events if event.op != GAP]
        self.seen += [Seen(self._epoch, event.offset, json.loads(event.message)) for event in rows]


@contextlib.asynccontextmanager
async def capturing(product: Product, proxy: CuttingProxy, path: Path) -> AsyncIterator[Capture]:
    """A capture that runs and has caught up."""
    journal = await SqliteJournal.open(path, [CHANNEL])
    captured = Capture(product, proxy, journal)
    task = asyncio.create_task(captured.loop.run())
    try:
        await until(lambda: captured.loop.state == "live")
        yield captured
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await journal.close()


async def nothing_wrong(product: Product, captured: Capture) -> None:
    rows = await asyncio.to_thread(table, product)
    await until(lambda: len(captured.seen) >= len(rows), 30)
    verdict = judge(captured.seen, rows)
    assert verdict.clean, verdict
    assert captured.gaps == []
    await asyncio.to_thread(in_commit_order, product, captured.seen)


async def test_a_link_that_is_cut_again_and_again_loses_nothing(
    mariadb: Server, make_product: MakeProduct, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thirty cuts under load, in the middle of packets and of transactions: each row once, in the log's order."""
    monkeypatch.setattr(backoff, "_QUICK", 0.02)
    monkeypatch.setattr(backoff, "_SLOWEST", 0.02)
    product = make_product(mariadb, start=False)
    with CuttingProxy(mariadb.port) as proxy:
        async with capturing(product, proxy, tmp_path / "journal.db") as captured:
            proxy.bytes_per_second = 2_000_000  # a cut finds something on its way
            with Load(product, 3000, rate=1500) as load:
                for cut in range(1, CUTS + 1):
                    await load.until(cut / (CUTS + 1))
                    await until(lambda: captured.loop.state != "down")
                    proxy.cut()
                    await until(lambda: captured.loop.state == "down")
                await load.finished()
            await nothing_wrong(product, captured)
            assert captured.loop.stats.lost == CUTS


async def test_a_black_hole_is_found_within_twice_the_heartbeat(
    mariadb: Server, make_product: MakeProduct, tmp_path: Path
) -> None:
    """A link on which nothing passes, and nobody is told: noticed in time, and nothing is lost by it."""
    product = make_product(mariadb, start=False)
    with CuttingProxy(mariadb.port) as proxy:
        async with capturing(product, proxy, tmp_path / "journal.db") as captured:
            with Load(product, 600, rate=600) as load:
                await load.until(0.5)
                await until(lambda: captured.loop.stats.rows)  # what the reader asks before has a deadline of its own
                proxy.pause()
                held = time.monotonic()
                await until(lambda: captured.loop.state == "down")
                assert time.monotonic() - held < 2 * HEARTBEAT + 1  # a busy machine may be late to look
                await load.finished()
            proxy.resume()
            await nothing_wrong(product, captured)
