"""FAULTS 16: transactions, rows and values that are larger than anybody wants to hold, through the whole product."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from devenv.database import Server
from rowcast import failpoints
from tests.faults.conftest import MakeProduct
from tests.faults.product import Product
from tests.faults.recorder import Recorder

ROWS = 60_000  # some 19 MB of messages and what carries them, in three pieces
MEMORY_MIB = 150
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


async def heard(product: Product, count: int) -> list[int]:
    """The numbers of so many rows as a live subscriber gets them, offsets dense."""
    numbers: list[int] = []
    async with connect(product.gateway, max_size=None, compression=None) as socket:
        await socket.send(json.dumps({"type": "subscribe", "channel": "cctv_updates"}))
        first = 0
        async for text in socket:
            frame = json.loads(text)
            if frame.get("type") == "live" and not first:
                first = frame["offset"] + 1
                await asyncio.to_thread(many, product, count)
            elif "channel" in frame:
                assert frame["offset"] == first + len(numbers)
                numbers.append(frame["message"]["data"]["seq"])
                if len(numbers) == count:
                    break
    return numbers


@pytest.mark.parametrize("flavour", ["mariadb", "mysql"])
async def test_a_large_transaction_is_seen_whole_in_bounded_memory(
    request: pytest.FixtureRequest, make_product: MakeProduct, flavour: str
) -> None:
    """A live subscriber gets every row, other channels are served meanwhile.

    A client in Python takes seconds to read so many; fewer would not be large.
    """
    product = make_product(request.getfixturevalue(flavour))
    await product.ready()
    async with Recorder(product.gateway, "scraped_updates") as other:
        await other.live.wait()
        reading = asyncio.create_task(heard(product, ROWS))
        row = "INSERT INTO scraped_result (account, data, url) VALUES ('a', '{}', 'u')"
        while not reading.done():
            await asyncio.to_thread(product.sql, row)
            await asyncio.sleep(0.2)
        assert await reading == list(range(ROWS))
        assert other.offsets == list(range(1, len(other.offsets) + 1))
    assert peak_mib(product) < MEMORY_MIB


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
