"""The product in a real browser, and the client that its first users already have."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from playwright.async_api import async_playwright

from devenv.chromium import ARGUMENTS
from devenv.database import Server
from tests.end_to_end.conftest import MakeProduct
from tests.faults.product import ROOT, Product, fetch
from tests.web.livepage import live_page
from tests.web.node import NodeProgram, node_command

ORIGINAL_CLIENT = ROOT / "tests" / "web" / "original_client.mjs"


async def insert(product: Product, camera: int) -> None:
    await asyncio.to_thread(
        product.sql,
        "INSERT INTO cctv_detection_results (cctv_id, data, timestamp) VALUES"
        f""" ({camera}, '{{"label": "person", "confidence": 0.9}}', NOW(3))""",
    )


async def test_the_live_page(mariadb: Server, make_product: MakeProduct, chromium: Path) -> None:
    """A row inserted by hand shows; after `kill -9` of Rowcast the page catches up by itself, each row once."""
    product = make_product(mariadb)
    await product.ready()
    async with live_page(chromium, f"{product.api}/") as page:
        await page.until_state("live")
        await insert(product, 3)
        row = await page.until_row(1)
        assert "person" in await row.inner_text()
        product.kill()
        await page.until_state("offline")
        await insert(product, 4)
        product.start()
        await product.ready()
        await page.until_row(2)
        await page.until_state("live")
        await insert(product, 5)
        await page.until_row(3)
        assert await page.offsets() == [1, 2, 3]


async def test_the_example_of_the_readme(mariadb: Server, make_product: MakeProduct, chromium: Path) -> None:
    """The lines that the README shows work in a browser as they stand, but for the ports."""
    product = make_product(mariadb)
    await product.ready()
    await insert(product, 8)
    (example,) = re.findall(r"^```js\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    example = example.replace("127.0.0.1:8000", f"127.0.0.1:{product.api_port}")
    example = example.replace("127.0.0.1:8080", f"127.0.0.1:{product.gateway_port}")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        page = await browser.new_page(bypass_csp=True)
        await page.goto(f"{product.api}/healthz")  # a page of ours that runs no client of its own
        lines: list[str] = []
        page.on("console", lambda message: lines.append(message.text))
        await page.add_script_tag(content=example, type="module")
        async with asyncio.timeout(10):
            while not any(line.startswith("1 8 ") for line in lines):
                await asyncio.sleep(0.02)
        await browser.close()


async def test_the_original_client(mariadb: Server, make_product: MakeProduct) -> None:
    """The clients in the field need no change: they know `subscribe`, `data.channel` and `data.message` only."""
    command = node_command()
    if isinstance(command, str):
        pytest.skip(command)
    product = make_product(mariadb)
    await product.ready()
    async with NodeProgram(str(ORIGINAL_CLIENT), product.gateway) as client:
        async with asyncio.timeout(10):
            while "rowcast_gateway_subscriptions 1.0" not in await asyncio.to_thread(fetch, f"{product.api}/metrics"):
                await asyncio.sleep(0.02)
        await insert(product, 3)
        lines = await client.until(bool)
    assert [line["cctv_id"] for line in lines] == [3]
