"""FAULTS 16: transactions, rows and values that are larger than anybody wants to hold, through the whole product."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from pathlib import Path

import apsw
import pytest

from devenv.database import Server
from rowcast import failpoints
from tests.faults.conftest import MakeProduct
from tests.faults.crowd import Crowd
from tests.faults.product import Product
from tests.faults.recorder import Recorder
from tests.faults.soak_disk import SmallDisk

MILLION = 1_000_000
ROWS = 60_000  # some 19 MB of messages and what carries them, in three pieces
MEMORY_MIB = 150
DISK, ROOM = 64 << 20, 12 << 20  # bytes: of a small disk, and of what is left of it when it is filled
BIG_ROW = 63 << 20  # with the rest of its packet within max_allowed_packet, 64 MiB
INTO = "INSERT INTO cctv_detection_results (cctv_id, data, timestamp) "


def many(product: Product, count: int) -> None:
    """So many rows in one statement, counted in ``data.seq``."""
    data = "JSON_OBJECT('writer', 1, 'transaction', 1, 'seq', n, 'pad', 'abcdefghijklmnopqrst')"
    numbers = f"WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count - 1})"
    limit = "cte_max_recursion_depth" if product.server.installation.flavour == "mysql" else "max_recursive_iterations"
    product.sql(f"SET {limit} = {count}; {INTO} {numbers} SELECT 1, {data}, NOW(3) FROM numbers")


def peak_mib(product: Product) -> float:
    """The most memory that it had."""
    assert product.process is not None
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{product.process.pid}/status").read_text())
    assert found
    return int(found[1]) / 1024


async def seen_whole(product: Product, rows: int) -> None:
    """A live subscriber gets so many rows of one transaction in their order, other channels are served meanwhile."""
    await product.ready()
    async with Recorder(product.gateway, "scraped_updates") as other, Crowd(product.gateway_port, 1, 300) as reading:
        await other.live.wait()
        arriving = asyncio.create_task(reading.until_at(rows))
        writing = asyncio.create_task(asyncio.to_thread(many, product, rows))
        row = "INSERT INTO scraped_result (account, data, url) VALUES ('a', '{}', 'u')"
        while not arriving.done():
            await asyncio.to_thread(product.sql, row)
            await asyncio.sleep(0.2)
        await asyncio.gather(arriving, writing)
        first = reading.ids[1]
        assert reading.ids == {n: first + n - 1 for n in range(1, rows + 1)}
        assert other.offsets == list(range(1, len(other.offsets) + 1))
    assert peak_mib(product) < MEMORY_MIB


async def test_a_large_transaction_is_seen_whole_in_bounded_memory(either: Server, make_product: MakeProduct) -> None:
    """Three pieces; other channels are served meanwhile."""
    await seen_whole(make_product(either), ROWS)


@pytest.mark.usefixtures("long")
async def test_a_million_rows_are_seen_whole_in_bounded_memory(either: Server, make_product: MakeProduct) -> None:
    """Forty pieces; other channels are served meanwhile. The servers take their time to write so many."""
    await seen_whole(make_product(either), MILLION)


async def test_a_process_that_dies_between_pieces_leaves_nothing(mariadb: Server, make_product: MakeProduct) -> None:
    """Killed when two pieces are durable: nobody has seen a row, and after the start all come, once."""
    product = make_product(mariadb, start=False)
    product.start({failpoints.VARIABLE: f"{failpoints.AFTER_PIECE}:2"})
    await product.ready()
    async with Recorder(product.gateway) as recorder:
        await recorder.live.wait()
        await asyncio.to_thread(many, product, ROWS)
        assert product.process is not None
        assert await asyncio.to_thread(product.process.wait, 60) == -signal.SIGKILL
        assert recorder.seen == []
        product.start()
        await recorder.until_seen(ROWS)
        assert recorder.offsets == list(range(1, ROWS + 1))
        assert [seen.message["data"]["seq"] for seen in recorder.seen] == list(range(ROWS))
        assert recorder.gaps == []


async def test_a_disk_that_is_full_between_pieces_and_freed(
    mariadb: Server, make_product: MakeProduct, tmp_path: Path
) -> None:
    """Nobody has seen a row, readiness is red; with room again all come by themselves, once."""
    with SmallDisk(tmp_path / "disk", tmp_path / "kept", DISK) as disk:
        if not disk.small:
            pytest.skip("a small file system can only be mounted by root")
        path = disk.folder / "journal.db"
        product = make_product(mariadb, settings={"ROWCAST_JOURNAL_PATH": str(path)})
        await product.ready()
        async with Crowd(product.gateway_port, 1) as reading:
            disk.fill(leaving=ROOM)
            await asyncio.to_thread(many, product, ROWS)
            async with asyncio.timeout(30):
                while "no room" not in str((await product.readiness())[1].get("checks", {}).get("journal")):
                    await asyncio.sleep(0.02)
            assert 0 < await asyncio.to_thread(rows_in, path) < ROWS
            assert (await product.readiness())[0] == 503
            assert reading.ids == {}
            await asyncio.to_thread(disk.free)
            await reading.until_at(ROWS)
            await product.ready()
            assert list(reading.ids) == list(range(1, ROWS + 1))
            assert len(set(reading.ids.values())) == ROWS
            assert reading.visitors[0].connects == 1
        product.kill()


def rows_in(path: Path) -> int:
    """How many rows a journal holds, visible or not."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    (found,) = connection.execute("SELECT count(*) FROM event")
    connection.close()
    return int(found[0])


@pytest.mark.parametrize("flavour", ["mariadb", "mysql"])
async def test_a_row_as_large_as_the_server_takes_arrives(
    request: pytest.FixtureRequest, make_product: MakeProduct, flavour: str
) -> None:
    """Sixty-three megabytes in one value, then a small row; and again for a client that comes later."""
    product = make_product(request.getfixturevalue(flavour))
    product.sql("ALTER TABLE cctv_detection_results MODIFY snapshoot_url LONGTEXT")
    await product.ready()
    async with Recorder(product.gateway) as live:
        await live.live.wait()
        into = "INSERT INTO cctv_detection_results (cctv_id, data, snapshoot_url) VALUES"
        statements = f"{into} (1, '{{}}', REPEAT('x', {BIG_ROW})); {into} (2, '{{}}', NULL)"
        await asyncio.to_thread(product.sql, statements)
        await live.until_seen(2)
        async with Recorder(product.gateway, offset=0) as late:
            await late.until_seen(2)
        for recorder in (live, late):
            assert recorder.offsets == [1, 2]
            assert recorder.seen[0].message["snapshoot_url"] == "x" * BIG_ROW
        assert live.connects == 1


@pytest.mark.parametrize("flavour", ["mariadb", "mysql"])
async def test_a_json_array_of_five_megabytes_arrives(
    request: pytest.FixtureRequest, make_product: MakeProduct, flavour: str
) -> None:
    """Every element of it, on both servers: MySQL's binary form and MariaDB's text."""
    product = make_product(request.getfixturevalue(flavour))
    await product.ready()
    array = [{"n": n, "text": f"element {n}", "half": n + 0.5, "none": None} for n in range(75_000)]
    assert len(json.dumps(array)) > 5_000_000 - 500_000
    async with Recorder(product.gateway) as recorder:
        await recorder.live.wait()
        await asyncio.to_thread(insert_json, product, json.dumps(array))
        await recorder.until_seen(1)
        assert recorder.seen[0].message["data"] == array


def insert_json(product: Product, text: str) -> None:
    with product.connect() as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO cctv_detection_results (cctv_id, data) VALUES (1, %s)", (text,))
        connection.commit()
