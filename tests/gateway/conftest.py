from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import pytest

from gateway.server import Gateway
from tests.gateway.clients import RawClient
from tests.gateway.memory import MemoryJournal

CHANNELS = ("cctv_updates", "scraped_updates")

MakeGateway = Callable[..., Awaitable[Gateway]]


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run every test on plain asyncio and, where it can be had, on uvloop: both are used in the field."""
    try:
        import uvloop
    except ImportError:
        return {"asyncio": asyncio.new_event_loop}
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
def journal() -> MemoryJournal:
    """An empty journal of both channels, epoch k3f9."""
    return MemoryJournal(CHANNELS)


@pytest.fixture
async def make_gateway(journal: MemoryJournal, caplog: pytest.LogCaptureFixture) -> AsyncIterator[MakeGateway]:
    """Starts a gateway on a free port, its source live. Afterwards nothing may have been logged as an error."""
    made: list[Gateway] = []

    async def make(**settings: Any) -> Gateway:
        defaults: dict[str, Any] = {"host": "127.0.0.1", "port": 0, "origins": (), "readiness": lambda: (True, {})}
        gateway = Gateway(journal, channels=CHANNELS, **{**defaults, **settings})
        await gateway.start()
        gateway.set_source("live", 12)
        made.append(gateway)
        return gateway

    yield make
    while RawClient.made:
        RawClient.made.pop().close()
    for gateway in made:
        await gateway.drain(0)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.fixture
async def gateway(make_gateway: MakeGateway) -> Gateway:
    """A gateway with the default settings."""
    return await make_gateway()
