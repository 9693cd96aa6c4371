from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway import batch_write, hub
from gateway.limits import Timing
from gateway.server import Gateway
from tests.gateway.clients import RawClient
from tests.gateway.stored import StoredJournal

CHANNELS = ("cctv_updates", "scraped_updates")

DEFAULTS: dict[str, Any] = {
    "host": "127.0.0.1",
    "port": 0,
    "origins": (),
    "readiness": lambda: (True, {}),
    "timing": Timing(heartbeat=3600.0, ping=3600.0, silence=7200.0),  # a slow machine makes no difference
}

MakeGateway = Callable[..., Awaitable[Gateway]]


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run every test on plain asyncio and, where it can be had, on uvloop: both are used in the field."""
    try:
        import uvloop
    except ImportError:
        return {"asyncio": asyncio.new_event_loop}
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[StoredJournal]:
    """An empty journal of both channels, on disk."""
    journal = await StoredJournal.open(tmp_path / "journal.db", CHANNELS)
    yield journal
    await journal.close()


@pytest.fixture
async def make_gateway(
    journal: StoredJournal, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[MakeGateway]:
    """Starts a gateway on a free port, its source live. Afterwards nothing may have been logged as an error.

    However few are live, they are written to as many are: two as a large group is, and one with those of other groups.
    """
    monkeypatch.setattr(batch_write, "LEAST", 1)
    monkeypatch.setattr(hub, "LEAST", 2)
    made: list[Gateway] = []

    async def make(**settings: Any) -> Gateway:
        gateway = Gateway(journal, channels=CHANNELS, **{**DEFAULTS, **settings})
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
