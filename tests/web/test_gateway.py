"""Both clients, the first users' own and client.js, on the real gateway over a real journal."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from gateway.server import Gateway
from journal.sqlite import SqliteJournal
from journal.types import GAP, INSERT, Change, Transaction
from tests.waiting import until
from tests.web.livepage import live_page
from tests.web.node import NodeProgram
from tests.web.site import Site

HERE = Path(__file__).parent
CHANNEL = "cctv_updates"
Start = Callable[..., NodeProgram]


def row(number: int) -> dict[str, Any]:
    """A detection as the capture writes it."""
    return {
        "id": number,
        "cctv_id": 3,
        "data": {"label": "person", "confidence": 0.91, "box": [12, 34, 56, 78]},
        "timestamp": "2026-11-23T08:19:33.120",
        "snapshoot_url": f"http://127.0.0.1:8001/{number}.jpg",
    }


class Served:
    """A journal with a gateway in front of it, fed by the test."""

    def __init__(self, journal: SqliteJournal, gateway: Gateway) -> None:
        self.journal = journal
        self.gateway = gateway

    @property
    def url(self) -> str:
        """The gateway's address."""
        return f"ws://127.0.0.1:{self.gateway.port}/"

    async def append(self, row: dict[str, Any]) -> None:
        """One row of any size."""
        changes = [Change(CHANNEL, INSERT, json.dumps(row).encode())]
        self.gateway.publish(await self.journal.append([Transaction(changes, "here", 0.0)]))

    async def write(self, first: int, last: int, op: str = INSERT) -> None:
        """Rows with these ids, both included, each committed by itself."""
        message = (lambda number: {"reason": "purged"}) if op == GAP else row
        for number in range(first, last + 1):
            changes = [Change(CHANNEL, op, json.dumps(message(number)).encode())]
            events = await self.journal.append([Transaction(changes, f"at {number}", 0.0)])
            self.gateway.publish(events)


@asynccontextmanager
async def served(path: Path, port: int = 0) -> AsyncIterator[Served]:
    """The journal at `path` behind a gateway, drained at the end as on SIGTERM."""
    journal = await SqliteJournal.open(path, [CHANNEL])
    gateway = Gateway(
        journal, channels=[CHANNEL], host="127.0.0.1", port=port, origins=[], readiness=lambda: (True, {})
    )
    await gateway.start()
    gateway.set_source("live", 0)
    try:
        yield Served(journal, gateway)
    finally:
        await gateway.drain(5)
        await journal.close()


def handed_over(lines: list[Any]) -> list[int]:
    """The ids of the rows that client.js handed over, in order."""
    return [line["id"] for line in lines if "row" in line]


async def until_offline(client: NodeProgram) -> None:
    """Wait until client.js has noticed that its connection has ended."""
    await client.until(lambda lines: [line["state"] for line in lines if "state" in line][-1:] == ["offline"])


async def test_original_client_works_unchanged(node: Start, tmp_path: Path) -> None:
    """The snippet of the first users gets each new row's message, whole and in order, and nothing that is not a row."""
    async with served(tmp_path / "journal.db") as server:
        await server.write(1, 3)
        async with node(str(HERE / "original_client.mjs"), server.url) as client:
            await until(lambda: server.gateway.stats.subscriptions)
            await server.write(4, 5)
            await server.write(0, 0, op=GAP)
            server.gateway.set_source("down", 5000)
            await server.write(6, 7)
            lines = await client.until(lambda lines: lines[-1:] == [row(7)])
    assert lines == [row(4), row(5), row(6), row(7)]


LARGE = {**row(9), "data": {"label": "person", "text": "so many words " * 500}}


async def test_large_rows_reach_node(node: Start, tmp_path: Path) -> None:
    """Whether or not this version of Node asks for compression, rows that could be compressed arrive as they are."""
    program = str(HERE / "original_client.mjs")
    async with served(tmp_path / "journal.db") as server, node(program, server.url) as client:
        await until(lambda: server.gateway.stats.subscriptions)
        await server.append(LARGE)
        await server.write(10, 10)
        lines = await client.until(lambda lines: lines[-1:] == [row(10)])
    assert lines == [LARGE, row(10)]


async def test_compressed_rows_reach_chromium(chromium: Path, tmp_path: Path) -> None:
    """The browser negotiates compression by itself; kept and new rows arrive as they are, large and small."""
    async with served(tmp_path / "journal.db") as server:
        await server.append(LARGE)
        with Site(server.gateway.port) as site:
            async with live_page(chromium, site.url) as page:
                await page.until_row(9)
                await server.append({**LARGE, "id": 10})
                await server.write(11, 11)
                for number in (10, 11):
                    await page.until_row(number)
                assert server.gateway.stats.deflating == 1
                assert await page.offsets() == [1, 2, 3]
        assert server.gateway.stats.bytes < len(json.dumps(LARGE))


async def test_rows_survive_a_restart_of_the_gateway(subscriber: Start, tmp_path: Path, free_port: int) -> None:
    """Drained and started again, with rows written in between: each is handed over once, in order."""
    async with subscriber(f"ws://127.0.0.1:{free_port}/", subscribe={"last": 3}) as client:
        async with served(tmp_path / "journal.db", free_port) as server:
            await server.write(1, 10)
            await client.until(lambda lines: {"state": "live"} in lines)
            await server.write(11, 12)
            await client.until(lambda lines: handed_over(lines)[-1:] == [12])
        await until_offline(client)
        journal = await SqliteJournal.open(tmp_path / "journal.db", [CHANNEL])
        changes = [Change(CHANNEL, INSERT, json.dumps(row(number)).encode()) for number in (13, 14)]
        await journal.append([Transaction(changes, "at 14", 0.0)])
        await journal.close()
        await client.order("online")  # the pause that draining asks for is tested elsewhere
        async with served(tmp_path / "journal.db", free_port) as server:
            await client.until(lambda lines: handed_over(lines)[-1:] == [14])
            await server.write(15, 15)
            lines = await client.until(lambda lines: handed_over(lines)[-1:] == [15])
    ids = handed_over(lines)
    assert ids == list(range(ids[0], 16))
    assert not [line for line in lines if "gap" in line or "error" in line]


async def test_gap_and_new_epoch_are_told(subscriber: Start, tmp_path: Path, free_port: int) -> None:
    """A gap in the log, and later a journal that was rebuilt, each reach onGap once; rows go on after both."""
    async with subscriber(f"ws://127.0.0.1:{free_port}/") as client:
        async with served(tmp_path / "journal.db", free_port) as server:
            await client.until(lambda lines: {"state": "live"} in lines)
            await server.write(1, 2)
            await server.write(0, 0, op=GAP)
            await server.write(3, 3)
            await client.until(lambda lines: handed_over(lines)[-1:] == [3])
        await until_offline(client)
        await client.order("online")
        async with served(tmp_path / "rebuilt.db", free_port) as server:
            await server.write(4, 5)
            lines = await client.until(lambda lines: handed_over(lines)[-1:] == [5])
    assert handed_over(lines) == [1, 2, 3, 4, 5]
    assert [line["gap"]["reason"] for line in lines if "gap" in line] == ["purged", "epoch"]
    assert not [line for line in lines if "error" in line]
