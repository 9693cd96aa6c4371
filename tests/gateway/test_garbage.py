from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator

import pytest

from gateway.connection import Connection
from gateway.garbage import LongLived
from gateway.server import Gateway
from tests.gateway.clients import client
from tests.waiting import until


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Whatever is taken out of the collector's sight here is put back."""
    yield
    gc.unfreeze()


def test_many_connections_are_taken_out_of_the_collectors_sight() -> None:
    """As they become more, not again for as many, and until half of them have gone."""
    gc.unfreeze()
    long_lived = LongLived()
    for connections, frozen in ((100, False), (1000, True), (1000, True), (900, True), (400, False), (600, False)):
        long_lived.look(connections)
        assert (gc.get_freeze_count() > 0) is frozen, connections


async def test_a_connection_that_has_ended_is_no_work_for_the_collector(gateway: Gateway) -> None:
    """It refers to itself in no circle, so it is gone when nobody needs it, wherever the collector looks."""
    gc.collect()
    gc.disable()
    try:
        async with client(gateway) as one:
            await one.ask(type="subscribe", channel="cctv_updates")
            assert _connections() == 1
        await until(lambda: gateway.stats.connections == 0)
        await asyncio.sleep(0)
        assert _connections() == 0
    finally:
        gc.enable()


def _connections() -> int:
    return sum(type(each) is Connection for each in gc.get_objects())
