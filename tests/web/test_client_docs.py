"""The examples of docs/client.md, as they stand there, with the addresses of the test."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.web.livepage import live_page
from tests.web.node import NodeProgram
from tests.web.scripted import Peer, ScriptedGateway
from tests.web.site import WEB, Site

ROOT = Path(__file__).resolve().parents[2]


def example(language: str, url: str) -> str:
    """The document's block in this language, on the gateway at `url`."""
    blocks = re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs" / "client.md").read_text(), re.DOTALL)
    assert len(blocks) == 1
    return str(blocks[0]).replace("ws://127.0.0.1:8080/", url)


async def one_row(peer: Peer) -> None:
    """Answer a subscription with a single row."""
    await peer.accept("k3f9", 40)
    await peer.event(41, cctv_id=3, data={"label": "dog"})


async def test_first_example(chromium: Path) -> None:
    """The ten lines show a row in a browser."""
    async with ScriptedGateway(one_row) as gateway:
        with Site(gateway.port) as site:
            site.index = example("html", gateway.url).replace("http://127.0.0.1:8000/", site.url)
            async with live_page(chromium, site.url) as browser:
                await browser.page.locator("#rows li", has_text="camera 3: dog").wait_for()
                assert browser.complaints == []


async def test_node_example(node: Callable[..., NodeProgram], tmp_path: Path) -> None:
    """The example for Node prints a row with its place."""
    (tmp_path / "client.mjs").write_bytes((WEB / "client.js").read_bytes())

    async with ScriptedGateway(one_row) as gateway:
        program = (
            example("js", gateway.url)
            .replace("console.log(epoch", "console.log('%j', [epoch")
            .replace("row))", "row]))")
        )
        (tmp_path / "example.mjs").write_text(program)
        async with node(str(tmp_path / "example.mjs")) as running:
            lines: list[Any] = await running.until(bool)
    assert lines[0] == ["k3f9", 41, {"id": 41, "cctv_id": 3, "data": {"label": "dog"}}]
