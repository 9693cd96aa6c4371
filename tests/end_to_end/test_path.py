"""A row's whole way: from whoever wrote it to a plain WebSocket client, and what the client is told on the way."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import signal
import urllib.request
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from devenv.database import Server
from tests.end_to_end.conftest import MakeProduct
from tests.faults.product import ROOT, Product, fetch
from tests.faults.recorder import Recorder
from tests.faults.verdict import judge, table
from tests.faults.writers import Writer


async def frame(socket: ClientConnection, kind: str) -> dict[str, Any]:
    """The next data frame (``kind`` is a channel) or control frame (its type)."""
    async with asyncio.timeout(10):
        while True:
            received: dict[str, Any] = json.loads(await socket.recv())
            if kind in (received.get("channel"), received.get("type")):
                return received


async def subscribed(socket: ClientConnection, channel: str = "cctv_updates", **how: object) -> dict[str, Any]:
    await socket.send(json.dumps({"type": "subscribe", "channel": channel, **how}))
    answer = await frame(socket, "subscribed")
    await frame(socket, "live")
    return answer


def post(product: Product, body: dict[str, object]) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{product.api}/api/scraped-result", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 201
        result: dict[str, Any] = json.load(answer)
        return result


async def test_a_row_written_by_hand_arrives(mariadb: Server, make_product: MakeProduct) -> None:
    """An INSERT at a prompt reaches a client of a foreign library, its JSON column as an object."""
    product = make_product(mariadb)
    await product.ready()
    async with connect(product.gateway) as socket:
        answer = await subscribed(socket)
        assert answer["offset"] == 0
        assert answer["recovered"] is True
        await asyncio.to_thread(
            product.sql,
            "INSERT INTO cctv_detection_results (cctv_id, data, timestamp, snapshoot_url) VALUES"
            """ (3, '{"label": "pérson", "box": [1, 2.50, 3]}', '2026-11-23 08:19:33.999', NULL)""",
        )
        assert await frame(socket, "cctv_updates") == {
            "channel": "cctv_updates",
            "offset": 1,
            "message": {
                "id": 1,
                "cctv_id": 3,
                "data": {"label": "pérson", "box": [1, 2.50, 3]},
                "timestamp": "2026-11-23T08:19:33.999",
                "snapshoot_url": None,
            },
        }


async def test_the_same_on_mysql(mysql: Server, make_product: MakeProduct) -> None:
    """On MySQL, whose JSON is binary in the log, the same row reads the same."""
    product = make_product(mysql)
    await product.ready()
    async with connect(product.gateway) as socket:
        await subscribed(socket)
        await asyncio.to_thread(
            product.sql,
            "INSERT INTO cctv_detection_results (cctv_id, data, timestamp) VALUES"
            """ (3, '{"label": "pérson", "box": [1, 2.5, -3], "big": 12345678901234567}', '2026-11-23 08:19:33.9')""",
        )
        message = (await frame(socket, "cctv_updates"))["message"]
        assert message["data"] == {"big": 12345678901234567, "box": [1, 2.5, -3], "label": "pérson"}
        assert message["timestamp"] == "2026-11-23T08:19:33.900"


async def test_a_post_comes_back_through_the_log(mariadb: Server, make_product: MakeProduct) -> None:
    """What a scraper posts is in MySQL when it is answered, and reaches browsers by the log alone."""
    product = make_product(mariadb)
    await product.ready()
    async with connect(product.gateway) as socket:
        await subscribed(socket, "scraped_updates")
        body = {"account": "shop", "data": {"price": 1.5}, "url": "http://example.org/1"}
        answer = await asyncio.to_thread(post, product, body)
        assert answer == {"message": "Scraped result saved", "id": 1}
        message = (await frame(socket, "scraped_updates"))["message"]
        assert message.items() >= {"id": 1, **body}.items()


async def test_history_outlives_a_restart(mariadb: Server, make_product: MakeProduct) -> None:
    """Stopped and started again, the journal still serves what was there, under the same epoch."""
    product = make_product(mariadb)
    await product.ready()
    writer = Writer(product.connect, 1, 200)
    await asyncio.to_thread(writer.run)
    rows = table(product)
    async with Recorder(product.gateway, last=1000) as before:
        await before.until_seen(len(rows))
    assert await asyncio.to_thread(product.stop) == 0
    product.start()
    await product.ready()
    async with Recorder(product.gateway, last=1000) as after:
        await after.until_seen(len(rows))
    assert after.seen == before.seen
    assert judge(after.seen, rows).clean


async def test_sigterm_sends_clients_away_in_order(mariadb: Server, make_product: MakeProduct) -> None:
    """SIGTERM: clients are told when to come back, closed with 1012, and the process ends with 0."""
    product = make_product(mariadb)
    await product.ready()
    async with connect(product.gateway) as socket:
        await subscribed(socket)
        assert product.process is not None
        product.process.send_signal(signal.SIGTERM)
        assert (await frame(socket, "drain"))["reconnect_ms"] == [200, 5000]
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
    assert await asyncio.to_thread(product.process.wait, 15) == 0


async def test_no_password_is_logged(mariadb: Server, make_product: MakeProduct) -> None:
    """Neither the log nor /metrics nor an error page shows a password."""
    product = make_product(mariadb, settings={"ROWCAST_LOG_LEVEL": "debug"})
    await product.ready()
    told = product.log.read_text() + json.dumps(await product.readiness())
    told += await asyncio.to_thread(fetch, f"{product.api}/metrics")
    told += product.run("config").stdout
    assert "rowcast" in told
    assert "reader-secret" not in told
    assert "writer-secret" not in told


async def test_the_commands_of_the_readme(mariadb: Server, make_product: MakeProduct) -> None:
    """The INSERT and the POST that the README types arrive."""
    readme = (ROOT / "README.md").read_text()
    (statement,) = re.findall(r'^\./dev sql -e (".*")$', readme, re.MULTILINE)
    (body,) = re.findall(r"^  -d '(.*)'$", readme, re.MULTILINE)
    product = make_product(mariadb)
    await product.ready()
    async with Recorder(product.gateway) as detections, Recorder(product.gateway, "scraped_updates") as scraped:
        await detections.live.wait()
        await scraped.live.wait()
        await asyncio.to_thread(product.sql, shlex.split(statement)[0])
        await asyncio.to_thread(post, product, json.loads(body))
        await detections.until_seen(1)
        await scraped.until_seen(1)
    assert detections.seen[0].message["cctv_id"] == 7
    assert scraped.seen[0].message["url"] == "https://example.org/item/1"


async def test_updates_and_deletes_reach_subscribers(either: Server, make_product: MakeProduct) -> None:
    """A channel that carries them: live, and the same again to somebody who comes later, across a restart."""
    product = make_product(either, settings={"ROWCAST_CHANNELS_CCTV_UPDATES_EVENTS": "insert,update,delete"})
    await product.ready()
    statements = [
        "INSERT INTO cctv_detection_results (cctv_id, data) VALUES (1, '{\"n\": 1}')",
        "UPDATE cctv_detection_results SET cctv_id = 2",
        "DELETE FROM cctv_detection_results",
    ]
    async with Recorder(product.gateway) as live:
        await live.live.wait()
        for statement in statements:
            await asyncio.to_thread(product.sql, statement)
        await live.until_seen(3)
    assert product.stop() == 0
    product.start()
    await product.ready()
    async with Recorder(product.gateway, offset=0) as later:
        await later.until_seen(3)
    assert [(seen.op, seen.message["cctv_id"]) for seen in live.seen] == [("insert", 1), ("update", 2), ("delete", 2)]
    assert later.seen == live.seen


async def test_the_schema_comes_with_the_rows(either: Server, make_product: MakeProduct) -> None:
    """Before there is a row, over an ALTER, and to whoever asks for the whole history: each row behind its columns."""
    product = make_product(either)
    await product.ready()
    async with connect(product.gateway) as live:
        await live.send('{"type":"subscribe","channel":"cctv_updates","schema":true}')
        told = await frame(live, "schema")
        assert len(told["columns"]) == 5
        assert told["columns"][0] == {"name": "id", "type": "bigint unsigned", "nullable": False, "key": True}
        assert ("data", "json") in [(column["name"], column["type"]) for column in told["columns"]]
        await asyncio.to_thread(
            product.sql,
            "INSERT INTO cctv_detection_results (cctv_id, data) VALUES (1, '{}');"
            "ALTER TABLE cctv_detection_results ADD zone VARCHAR(20) CHARACTER SET latin1 NOT NULL DEFAULT 'hall';"
            "INSERT INTO cctv_detection_results (cctv_id, data) VALUES (2, '{}')",
        )
        again = await frame(live, "schema")
        assert again["columns"][-1] == {"name": "zone", "type": "varchar(20)", "nullable": False, "key": False}
        while (await frame(live, "cctv_updates"))["offset"] != 2:
            pass
        await live.send('{"type":"subscribe","channel":"cctv_updates","offset":0,"schema":true}')
        story = [json.loads(await live.recv())]
        while story[-1].get("type") != "live" or len(story) < 6:
            story.append(json.loads(await live.recv()))
    replayed = story[story.index(next(one for one in story if one.get("type") == "subscribed")) + 1 :]
    replayed = [one for one in replayed if one.get("type") != "heartbeat"]
    assert [one.get("columns", one.get("offset")) for one in replayed] == [told["columns"], 1, again["columns"], 2, 2]
