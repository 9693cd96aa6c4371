"""The address that Rowcast reads from is switched to a replica: by GTID nothing is lost and nothing comes twice."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from devenv.database import Server
from devenv.installation import Flavour
from tests.conftest import MakeServer
from tests.faults.conftest import MakeProduct
from tests.faults.load import Load, nothing_wrong
from tests.faults.pair import Pair, make_pair
from tests.faults.product import Product
from tests.faults.proxy import CuttingProxy
from tests.faults.recorder import Recorder
from tests.faults.verdict import table
from tests.faults.writers import INSERT, row

both = pytest.mark.parametrize("flavour", ["mariadb", "mysql"])


async def write(product: Product, first: int, count: int) -> None:
    """Rows with the ids ``first`` …, each a transaction."""
    for number in range(first, first + count):
        await asyncio.to_thread(product.sql, f"{INSERT} {row(number, number, number)}")


class Address:
    """Where Rowcast and the writers find their database: a pair of servers behind a proxy."""

    def __init__(self, pair: Pair, product: Product, proxy: CuttingProxy) -> None:
        self.pair, self.product, self.proxy = pair, product, proxy

    def switch(self) -> None:
        """Promote the replica; from now on the address is its own."""
        self.pair.promote()
        self.product.server = self.pair.primary
        self.lead_to(self.pair.primary)

    def lead_to(self, server: Server) -> None:
        """Whoever comes finds ``server``; those who are there must come again."""
        self.proxy.target = server.port
        self.proxy.cut()


@contextlib.asynccontextmanager
async def serving(make_server: MakeServer, make_product: MakeProduct, flavour: Flavour) -> AsyncIterator[Address]:
    """A pair of servers, and Rowcast over the address of its primary."""
    pair = await asyncio.to_thread(make_pair, make_server, flavour)
    with CuttingProxy(pair.primary.port) as proxy:
        product = make_product(pair.primary, mysql_port=proxy.port)
        await product.ready()
        yield Address(pair, product, proxy)


@both
async def test_a_switched_address_loses_nothing(
    make_server: MakeServer, make_product: MakeProduct, flavour: Flavour
) -> None:
    """The replica takes over under load: every row once, in the order of the new primary's log, and no gap."""
    async with serving(make_server, make_product, flavour) as address, Recorder(address.product.gateway) as recorder:
        await recorder.live.wait()
        with Load(address.product, 800, rate=800) as load:
            await load.until(0.4)
            with load.held():
                # a transaction whose rows and whose end are of different seconds must be known again
                await asyncio.to_thread(address.product.sql, f"BEGIN; {INSERT} {row(9, 0, 0)}; DO SLEEP(1.1); COMMIT")
                await asyncio.to_thread(address.pair.caught_up)
                await asyncio.to_thread(address.switch)
            await load.finished()
        await nothing_wrong(address.product, [recorder])


@both
async def test_what_only_the_old_primary_had_is_a_gap_that_names_it(
    make_server: MakeServer, make_product: MakeProduct, flavour: Flavour
) -> None:
    """Browsers have rows that the database lost: a gap with their GTIDs; the new rows under their numbers; then on."""
    async with serving(make_server, make_product, flavour) as address, Recorder(address.product.gateway) as recorder:
        await recorder.live.wait()
        pair, product = address.pair, address.product
        await write(product, 1, 5)
        await asyncio.to_thread(pair.caught_up)
        await asyncio.to_thread(pair.detach)
        await write(product, 6, 2)
        await recorder.until_seen(7)
        lost = (await asyncio.to_thread(pair.executed, pair.primary)).rpartition("-")[2]
        address.proxy.refusing = True
        await asyncio.to_thread(address.switch)
        await asyncio.to_thread(product.sql, f"{INSERT} {row(1, 0, 0)}, {row(1, 0, 1)}")
        address.proxy.refusing = False
        await recorder.until_seen(9)
        await write(product, 8, 2)
        await recorder.until_seen(11)
        newest = await asyncio.to_thread(table, product)
    (gap,) = recorder.gaps
    assert (gap["reason"], gap["after"]) == ("reset", 7)
    assert gap["detail"].endswith((f"0-1-{lost}", f":{int(lost) - 1}-{lost}"))
    assert [seen.message["id"] for seen in recorder.seen] == [1, 2, 3, 4, 5, 6, 7, 6, 7, 8, 9]
    assert [seen.op for seen in recorder.seen[7:]] == ["read", "read", "insert", "insert"]
    assert [seen.message["data"] for seen in recorder.seen[7:]] == list(newest.values())[5:]


@both
async def test_a_replica_that_is_late_is_waited_for(
    make_server: MakeServer, make_product: MakeProduct, flavour: Flavour
) -> None:
    """The address leads to a replica that lacks what browsers have: red until it has caught up, then on, no gap."""
    async with serving(make_server, make_product, flavour) as address, Recorder(address.product.gateway) as recorder:
        await recorder.live.wait()
        pair, product = address.pair, address.product
        await asyncio.to_thread(pair.replica.sql, "SET GLOBAL read_only = 1")
        await asyncio.to_thread(pair.detach)
        await write(product, 1, 3)
        await recorder.until_seen(3)
        address.lead_to(pair.replica)

        async def why() -> str:
            checks = (await product.readiness())[1].get("checks", {})
            return str(checks.get("source"))

        async with asyncio.timeout(20):
            while "has not caught up" not in await why():
                await asyncio.sleep(0.05)
        await asyncio.to_thread(pair.attach)
        await write(product, 4, 2)
        await recorder.until_seen(5)
        await product.ready()
    assert recorder.gaps == []
    assert [seen.message["id"] for seen in recorder.seen] == [1, 2, 3, 4, 5]
