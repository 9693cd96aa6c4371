from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.web.livepage import LivePage, live_page
from tests.web.node import NodeProgram, node_command
from tests.web.scripted import ScriptedGateway
from tests.web.site import Site

HERE = Path(__file__).parent
WEB = HERE.parents[1] / "web"


@pytest.fixture
def node() -> Callable[..., NodeProgram]:
    """Starts a Node program that has a global WebSocket; skips where Node is missing or too old."""
    command = node_command()
    if isinstance(command, str):
        pytest.skip(command)
    return NodeProgram


@pytest.fixture
def subscriber(node: Callable[..., NodeProgram]) -> Callable[..., NodeProgram]:
    """Starts `subscriber.mjs`: one subscription through client.js, its handlers' calls as lines."""

    def start(url: str, **settings: Any) -> NodeProgram:
        arguments = {"client": str(WEB / "client.js"), "url": url, **settings}
        return node(str(HERE / "subscriber.mjs"), json.dumps(arguments))

    return start


OpenPage = Callable[..., AbstractAsyncContextManager[LivePage]]


@pytest.fixture
def open_page(chromium: Path) -> OpenPage:
    """Opens the live page in a browser, served by a site of its own, on a scripted gateway."""

    @asynccontextmanager
    async def opened(gateway: ScriptedGateway, **context: Any) -> AsyncIterator[LivePage]:
        with Site(gateway.port) as site:
            async with live_page(chromium, site.url, **context) as page:
                yield page
            assert page.complaints == []

    return opened
