"""A channel over a table that already holds rows, and repair behind a gap: what the table still tells arrives."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time

import pytest

from devenv.database import Server
from rowcast import failpoints
from tests.conftest import MakeServer
from tests.end_to_end.conftest import MakeProduct
from tests.faults.product import Product
from tests.faults.recorder import Recorder
from tests.faults.verdict import judge, table
from tests.faults.writers import Writer


def write(product: Product, number: int, rows: int) -> None:
    writer = Writer(product.connect, number, rows)
    writer.run()
    assert writer.error is None


async def test_a_new_channel_begins_with_the_table_s_rows(either: Server, make_product: MakeProduct) -> None:
    """Rows from before the first start arrive first, marked as read, while writers go on: each row once."""
    product = make_product(either, start=False)
    await asyncio.to_thread(write, product, 1, 400)
    writers = [Writer(product.connect, number, 600) for number in (2, 3)]
    for writer in writers:
        writer.start()
    product.start()
    await product.ready()
    for writer in writers:
        await asyncio.to_thread(writer.join)
    rows = await asyncio.to_thread(table, product)
    async with Recorder(product.gateway, offset=0) as recorder:
        await recorder.until_seen(min(len(rows), 1000))
        await recorder.live.wait()
    ids = [seen.message["id"] for seen in recorder.seen]
    assert recorder.offsets == list(range(1, len(ids) + 1))
    assert len(set(ids)) == len(ids)
    seeded = [seen for seen in recorder.seen if seen.op == "read"]
    assert 300 < len(seeded) <= 1000
    assert [seen.op for seen in recorder.seen[: len(seeded)]] == ["read"] * len(seeded)
    assert set(ids) == {i for i in rows if i >= min(ids)}
    assert all(seen.message["data"] == rows[seen.message["id"]] for seen in recorder.seen)


async def test_the_seed_has_its_bound(mariadb: Server, make_product: MakeProduct) -> None:
    """`seed` says how many; 0 begins with nothing."""
    settings = {"ROWCAST_CHANNELS_CCTV_UPDATES_SEED": "25"}
    product = make_product(mariadb, start=False, settings=settings)
    await asyncio.to_thread(write, product, 1, 200)
    newest = sorted(await asyncio.to_thread(table, product))[-25:]
    product.start()
    await product.ready()
    async with Recorder(product.gateway, offset=0) as recorder:
        await recorder.until_seen(25)
        await recorder.live.wait()
    assert [seen.message["id"] for seen in recorder.seen] == newest


async def test_a_seed_is_taken_once(either: Server, make_product: MakeProduct) -> None:
    """Killed before the first row came: what is written meanwhile is the log's to tell, not a second seed's."""
    product = make_product(either, settings={"ROWCAST_CHANNELS_CCTV_UPDATES_SEED": "10"})
    await product.ready()
    product.kill()
    await asyncio.to_thread(write, product, 1, 50)
    product.start()
    await product.ready()
    rows = await asyncio.to_thread(table, product)
    async with Recorder(product.gateway, offset=0) as recorder:
        await recorder.until_seen(len(rows))
        await recorder.live.wait()
    assert judge(recorder.seen, rows).clean
    assert {seen.op for seen in recorder.seen} == {"insert"}


@pytest.mark.parametrize("how", ["purged", "reset"])
async def test_a_gap_is_repaired_from_the_table(make_server: MakeServer, make_product: MakeProduct, how: str) -> None:
    """The log was purged or reset while Rowcast was away: a gap, then every row the table has and the journal not."""
    server = make_server()
    product = make_product(server)
    await product.ready()
    await asyncio.to_thread(write, product, 1, 300)
    before = await asyncio.to_thread(table, product)
    async with Recorder(product.gateway, offset=0) as recorder:
        await recorder.until_seen(len(before))
        product.kill()
        await asyncio.to_thread(write, product, 2, 300)
        if how == "reset":
            await asyncio.to_thread(server.sql, "RESET MASTER")
        else:
            await asyncio.to_thread(purge, server)
        await asyncio.to_thread(write, product, 3, 100)
        product.start()
        await product.ready()
        await asyncio.to_thread(write, product, 4, 100)
        rows = await asyncio.to_thread(table, product)
        await recorder.until_seen(len(rows))
    assert [gap["reason"] for gap in recorder.gaps] == [how]
    assert recorder.gaps[0]["after"] == len(before)
    verdict = judge(recorder.seen, rows)
    assert (verdict.lost, verdict.repeated, verdict.unknown, verdict.altered) == (0, 0, 0, 0)
    assert verdict.holes == 1  # the gap's own offset


@pytest.mark.parametrize("point", [failpoints.BEFORE_APPEND, failpoints.AFTER_APPEND])
async def test_a_repair_that_is_killed_begins_again(
    make_server: MakeServer, make_product: MakeProduct, point: str
) -> None:
    """Killed after the loss was found and before gap and rows were durable: the next start tells both, once."""
    server = make_server()
    product = make_product(server)
    await product.ready()
    await asyncio.to_thread(write, product, 1, 20)
    before = await asyncio.to_thread(table, product)
    async with Recorder(product.gateway, offset=0) as recorder:
        await recorder.until_seen(len(before))
        product.kill()
        await asyncio.to_thread(write, product, 2, 20)
        await asyncio.to_thread(server.sql, "RESET MASTER")
        product.start({failpoints.VARIABLE: f"{point}:1"})
        assert product.process is not None
        assert await asyncio.to_thread(product.process.wait, 30) == -signal.SIGKILL
        assert "the log does not continue" in product.log.read_text()
        product.start()
        await product.ready()
        rows = await asyncio.to_thread(table, product)
        await recorder.until_seen(len(rows))
    assert [gap["reason"] for gap in recorder.gaps] == ["reset"]
    verdict = judge(recorder.seen, rows)
    assert (verdict.lost, verdict.repeated, verdict.unknown, verdict.holes) == (0, 0, 0, 1)


async def test_what_cannot_be_repaired_is_named_until_a_restart(mariadb: Server, make_product: MakeProduct) -> None:
    """Rows written by statement into a table without a key: /readyz is red and says where and why."""
    product = make_product(mariadb, start=False)
    product.sql("ALTER TABLE scraped_result MODIFY id BIGINT UNSIGNED NOT NULL DEFAULT 0, DROP PRIMARY KEY")
    product.start()
    await product.ready()
    product.sql("SET binlog_format = STATEMENT; INSERT INTO scraped_result (account, data, url) VALUES ('a', '1', 'u')")
    async with asyncio.timeout(20):
        while product.log.read_text().count("source is live") < 2:  # once more behind the attempt
            await asyncio.sleep(0.05)
    assert "scraped_updates: a write was logged as a statement" in await gaps_named(product)
    product.stop()
    product.start()
    await product.ready()
    assert await gaps_named(product) == "ok"


async def gaps_named(product: Product) -> str:
    """What /readyz says of gaps that are not repaired."""
    status, body = await product.readiness()
    named = str(body.get("checks", {}).get("gaps", ""))
    assert status != 200 or named == "ok"
    return named


def purge(server: Server) -> None:
    """Remove every log but the newest. The server keeps a log while it believes that a reader is in it."""
    deadline = time.monotonic() + 20
    server.sql("FLUSH BINARY LOGS")
    while len(server.sql("SHOW BINARY LOGS").splitlines()) > 1:
        assert time.monotonic() < deadline
        for thread in server.sql("SELECT id FROM information_schema.PROCESSLIST WHERE command LIKE 'Binlog%'").split():
            with contextlib.suppress(RuntimeError):  # gone by itself
                server.sql(f"KILL {thread}")
        server.sql("FLUSH BINARY LOGS")
        newest = server.sql("SHOW BINARY LOGS").splitlines()[-1].split("\t")[0]
        server.sql(f"PURGE BINARY LOGS TO '{newest}'")


async def test_a_channel_that_was_left_out_is_repaired(mariadb: Server, make_product: MakeProduct) -> None:
    """Out of the settings for a while, then back: a gap, then the rows that came meanwhile, no silent hole."""
    product = make_product(mariadb)
    await product.ready()
    await asyncio.to_thread(write, product, 1, 50)
    before = await asyncio.to_thread(table, product)
    async with Recorder(product.gateway, offset=0) as recorder:
        await recorder.until_seen(len(before))
        product.stop()
        # a file that lists channels replaces the two defaults
        (file := product.log.with_suffix(".toml")).write_text('[channels.scraped_updates]\ntable = "scraped_result"\n')
        product.environment["ROWCAST_CONFIG"] = str(file)
        product.start()
        await product.ready()
        await asyncio.to_thread(write, product, 2, 50)
        await asyncio.to_thread(product.sql, "INSERT INTO scraped_result (account, data, url) VALUES ('a', '1', 'u')")
        async with Recorder(product.gateway, "scraped_updates", offset=0) as other:
            await other.until_seen(1)
        product.stop()
        del product.environment["ROWCAST_CONFIG"]
        product.start()
        await product.ready()
        await asyncio.to_thread(write, product, 3, 50)
        rows = await asyncio.to_thread(table, product)
        await recorder.until_seen(len(rows))
    assert [gap["reason"] for gap in recorder.gaps] == ["reset"]
    verdict = judge(recorder.seen, rows)
    assert (verdict.lost, verdict.repeated, verdict.unknown, verdict.holes) == (0, 0, 0, 1)
