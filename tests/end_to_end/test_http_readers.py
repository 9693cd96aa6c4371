"""Reading over HTTP: event streams and long polls over a real database, and a browser's own EventSource."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import async_playwright

from devenv.chromium import ARGUMENTS
from devenv.database import Server
from tests.api.client import ask
from tests.api.events import Events, changes, stream
from tests.end_to_end.conftest import MakeProduct
from tests.faults.product import ROOT, Product, fetch
from tests.waiting import until

CHANNEL = "cctv_updates"

README = ROOT / "README.md"


async def insert(product: Product, camera: int) -> None:
    """A row by hand."""
    await asyncio.to_thread(
        product.sql, f"INSERT INTO cctv_detection_results (cctv_id, data) VALUES ({camera}, '{{\"n\": {camera}}}')"
    )


async def poll(product: Product, **query: object) -> dict[str, Any]:
    """A poll's answer."""
    answer = await ask(product.api_port, "GET", changes(**query))
    assert answer.status == 200, answer
    found: dict[str, Any] = answer.json
    return found


def cameras(events: list[dict[str, Any]]) -> list[int]:
    """The cameras of data."""
    return [event["message"]["cctv_id"] for event in events]


async def test_a_row_by_hand_reaches_streams_and_polls(either: Server, make_product: MakeProduct) -> None:
    """Live on both; and both resume behind a `kill -9` of Rowcast, with what was written meanwhile, each row once."""
    product = make_product(either)
    await product.ready()
    cursor = (await poll(product))["next"]
    async with await Events.open(product.api_port, stream()) as events:
        await events.take_until("live")
        waiting = asyncio.create_task(poll(product, after=cursor, wait=30))
        await until(lambda: "rowcast_feed_polls 1.0" in fetch(f"{product.api}/metrics"))
        await insert(product, 1)
        assert cameras([(await events.take()).json]) == [1]
        answer = await waiting
        assert cameras(answer["events"]) == [1]
        product.kill()
        with pytest.raises((EOFError, ConnectionError, ValueError, asyncio.IncompleteReadError)):
            await events.take_until("never")
    await insert(product, 2)
    product.start()
    await product.ready()
    async with await Events.open(product.api_port, stream(), last_event_id=events.id) as again:
        subscribed = await again.take()
        assert subscribed.json["recovered"] is True
        assert cameras([(await again.take()).json]) == [2]
        await insert(product, 3)
        assert cameras([event.json for event in await again.take_until("message") if event.name == "message"]) == [3]
    seen: list[dict[str, Any]] = []
    cursor = answer["next"]
    while len(seen) < 2:
        answer = await poll(product, after=cursor, wait=30)
        assert answer["gaps"] == []
        seen, cursor = seen + answer["events"], answer["next"]
    assert cameras(seen) == [2, 3]
    assert [event["offset"] for event in seen] == [2, 3]


async def test_sigterm_ends_streams_in_order(mariadb: Server, make_product: MakeProduct) -> None:
    """An open stream does not hold up the end: it is told to come back, and the process ends with 0."""
    product = make_product(mariadb)
    await product.ready()
    async with await Events.open(product.api_port, stream()) as events:
        await events.take_until("live")
        assert await asyncio.to_thread(product.stop) == 0
        assert [event.name for event in await events.rest()] == ["drain"]


async def test_an_older_journal_is_found_out_by_a_stream(mariadb: Server, make_product: MakeProduct) -> None:
    """A client that holds more than was given makes the journal begin a new epoch, over HTTP as over WebSocket."""
    product = make_product(mariadb)
    await product.ready()
    for camera in (1, 2):
        await insert(product, camera)
    await until(lambda: 'rowcast_channel_head{channel="cctv_updates"} 2.0' in fetch(f"{product.api}/metrics"))
    epoch = (await poll(product))["epoch"]
    assert await asyncio.to_thread(product.stop) == 0
    product.start()  # so that the journal was found, not made
    await product.ready()
    ahead = await ask(product.api_port, "GET", changes(after=f"{epoch}:9"))
    assert (ahead.status, ahead.headers["retry-after"]) == (503, "1")
    await until(lambda: json.loads(fetch(f"{product.api}/api/channels"))["epoch"] != epoch)
    answer = await poll(product, after=f"{epoch}:9")
    assert [gap["reason"] for gap in answer["gaps"]] == ["epoch"]
    assert cameras(answer["events"]) == [1, 2]


async def test_the_urls_of_the_readme(mariadb: Server, make_product: MakeProduct) -> None:
    """What the README types at a prompt is answered."""
    streamed, polled = re.findall(r"^curl (?:-N )?'http://127.0.0.1:8000(/api/.*?)'", README.read_text(), re.MULTILINE)
    product = make_product(mariadb)
    await product.ready()
    await insert(product, 1)
    answer = await ask(product.api_port, "GET", polled)
    assert cameras(answer.json["events"]) == [1]
    async with await Events.open(product.api_port, streamed) as events:
        seen = await events.take_until("live")
    assert cameras([event.json for event in seen if event.name == "message"]) == [1]


@pytest.fixture
async def page(chromium: Path) -> AsyncIterator[Any]:
    """A page of the distribution's Chromium."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        yield await browser.new_page(bypass_csp=True)
        await browser.close()


async def test_a_browser_s_own_event_source(mariadb: Server, make_product: MakeProduct, page: Any) -> None:
    """Five lines without any library: rows come, and after a `kill -9` the browser resumes by itself, each row once."""
    product = make_product(mariadb)
    await product.ready()
    await page.goto(f"{product.api}/healthz")
    await page.evaluate(
        """(path) => {
          window.seen = []; window.live = 0;
          const source = new EventSource(path);
          source.onmessage = (event) => window.seen.push([event.lastEventId, JSON.parse(event.data).message.cctv_id]);
          source.addEventListener("live", () => { window.live += 1; });
          source.addEventListener("gap", (event) => window.seen.push(["gap", event.data]));
        }""",
        stream(where={"cctv_id": {"ne": 13}}),
    )
    await page.wait_for_function("window.live === 1")
    await insert(product, 3)
    await insert(product, 13)
    await page.wait_for_function("window.seen.length === 1")
    product.kill()
    await insert(product, 4)
    product.start()
    await product.ready()
    await page.wait_for_function("window.seen.length === 2 && window.live === 2")
    await insert(product, 5)
    await page.wait_for_function("window.seen.length === 3")
    assert [camera for _, camera in await page.evaluate("window.seen")] == [3, 4, 5]
    assert [cursor.partition(":")[2] for cursor, _ in await page.evaluate("window.seen")] == ["1", "3", "4"]
