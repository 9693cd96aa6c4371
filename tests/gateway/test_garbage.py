from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from gateway.connection import Connection
from gateway.garbage import LongLived
from gateway.server import Gateway
from tests.gateway.clients import client
from tests.waiting import until


class Circle:
    """Refers to itself."""

    itself: Circle | None = None


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Whatever is taken out of the collector's sight here is put back."""
    yield
    gc.unfreeze()


def test_many_connections_are_taken_out_of_the_collectors_sight() -> None:
    """As they become more, and not again for as many."""
    long_lived = LongLived()
    gc.unfreeze()
    long_lived.look(100)
    assert not gc.get_freeze_count()
    long_lived.look(1000)
    assert gc.get_freeze_count()

    gc.unfreeze()
    long_lived.look(1000)
    assert not gc.get_freeze_count()


def test_when_a_crowd_has_gone_it_is_looked_through_and_nothing_else_comes_back_into_sight() -> None:
    """Garbage that refers to itself is freed then; what was frozen at the start of the program stays so."""
    long_lived = LongLived()
    circle = Circle()
    circle.itself = circle
    gone = weakref.ref(circle)
    long_lived.look(1000)
    del circle
    gc.collect()
    long_lived.look(600)
    assert gone() is not None

    long_lived.look(400)
    assert gone() is None
    assert gc.get_freeze_count()


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
