"""What a soak plays on: a database behind a proxy, the product, writers, and clients of several kinds.

::

    writers ──▶ MariaDB ══ link (a proxy) ══▶ rowcast serve ──▶ clients: near, near from the first row,
                                                                behind a proxy that is cut, behind a slow link
"""

from __future__ import annotations

import asyncio
import re
import time
from array import array
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import NamedTuple

from devenv.database import Server
from devenv.installation import Installation
from tests.faults.binlog import committed_ids
from tests.faults.product import Product
from tests.faults.proxy import CuttingProxy
from tests.faults.recorder import Recorder
from tests.faults.verdict import Verdict, judge, table
from tests.faults.writers import INSERT, Writer, row

WRITERS = 3
SLOW = 600.0  # bytes for each row written: about twice what it is sent, so that it recovers
PATIENCE = 120.0  # seconds after which a client that has not recovered never will
BEACON = 0  # the number of the writer that is no load


class Outcome(NamedTuple):
    """What a step showed: seconds until the clients had caught up, and what was wrong with what they were sent."""

    recovered: float
    rows: int
    verdicts: Sequence[Verdict]
    gaps: int


class Client(NamedTuple):
    """A recording client, its name, and the ids it was sent, judged already, in their order."""

    name: str
    recorder: Recorder
    ids: array[int]


class Stage:
    """Everything that runs; a context manager. ``check`` is the judge's turn."""

    def __init__(self, installation: Installation, folder: Path, *, seed: int, rate: float) -> None:
        self.server = Server(installation, folder / "mariadb")
        self._folder = folder
        self._seed, self._rate = seed, rate
        self.rows = 0
        self.peak_kib = 0  # of every life of the process
        self._beacon, self._beacons = 0, 0
        self._next_offset = 1

    async def __aenter__(self) -> Stage:
        async with AsyncExitStack() as stack:
            stack.callback(self.server.kill)
            await asyncio.to_thread(self.server.start)
            self.link = stack.enter_context(CuttingProxy(self.server.port))
            self.product = Product(self.server, self._folder, mysql_port=self.link.port)
            await asyncio.to_thread(self.product.migrate)
            self.product.start()
            stack.callback(self._end_product)
            await self.product.ready()
            self.clients = [
                Client(name, await stack.enter_async_context(recorder), array("q"))
                for name, recorder in self._recorders(stack)
            ]
            for client in self.clients:
                await asyncio.wait_for(client.recorder.live.wait(), 30)
            self._writers = [
                Writer(self.product.connect, n, float("inf"), self._seed, rate=self._rate / WRITERS)
                for n in range(1, WRITERS + 1)
            ]
            for writer in self._writers:
                writer.start()
                stack.callback(writer.stop)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def _end_product(self) -> None:
        if self.product.running:
            self.product.kill()

    def _recorders(self, stack: ExitStack | AsyncExitStack) -> list[tuple[str, Recorder]]:
        self.client_link = stack.enter_context(CuttingProxy(self.product.gateway_port))
        slow = stack.enter_context(CuttingProxy(self.product.gateway_port))
        slow.bytes_per_second = SLOW * self._rate
        return [
            ("near", Recorder(self.product.gateway)),
            ("from the first row", Recorder(self.product.gateway, offset=0)),
            ("behind a link that is cut", Recorder(f"ws://127.0.0.1:{self.client_link.port}/")),
            ("behind a slow link", Recorder(f"ws://127.0.0.1:{slow.port}/")),
        ]

    # the judge's turn

    async def check(self) -> Outcome:
        """Wait until every client has a row that is committed only now; judge what they were sent since the last.

        Raises TimeoutError when they never have it.
        """
        began = time.monotonic()
        rows = await asyncio.to_thread(self._commit_beacon)
        await asyncio.wait_for(asyncio.gather(*(self._has_beacon(c) for c in self.clients[:-1])), PATIENCE)
        recovered = time.monotonic() - began
        await asyncio.wait_for(self._has_beacon(self.clients[-1]), PATIENCE)  # the slow one is late by nature
        gaps = sum(len(client.recorder.gaps) for client in self.clients)
        verdicts = [self._judge(client, rows) for client in self.clients]
        for client in self.clients:
            client.recorder.gaps.clear()
        self.rows += len(rows)
        self._next_offset += len(rows)
        self.note_memory()
        for writer in self._writers:
            if writer.error is not None:
                raise writer.error
        return Outcome(recovered, len(rows), verdicts, gaps)

    def _commit_beacon(self) -> dict[int, dict[str, object]]:
        """A row between all transactions of the writers, and with it what was committed since the last one."""
        with ExitStack() as held, self.product.connect() as connection, connection.cursor() as cursor:
            for writer in self._writers:
                held.enter_context(writer.between_transactions)
            cursor.execute(INSERT + row(BEACON, self._beacons, self._beacons))
            connection.commit()
            before, self._beacon = self._beacon, int(cursor.lastrowid)
            self._beacons += 1
            return table(self.product, after=before)

    async def _has_beacon(self, client: Client) -> None:
        seen, looked = client.recorder.seen, 0
        while True:
            if any(event.message["id"] == self._beacon for event in seen[looked:]):
                return
            assert self.product.running, f"rowcast serve ended by itself:\n{self.product.last_words()}"
            looked = len(seen)
            await asyncio.sleep(0.01)

    def _judge(self, client: Client, rows: dict[int, dict[str, object]]) -> Verdict:
        """What arrived up to the beacon must be the rows up to it; what came behind it is judged the next time."""
        seen = client.recorder.seen
        end = next(place for place, event in enumerate(seen, 1) if event.message["id"] == self._beacon)
        verdict = judge(seen[:end], rows, first=self._next_offset)
        client.ids.extend(event.message["id"] for event in seen[:end])
        del seen[:end]
        return verdict

    def out_of_log_order(self) -> dict[str, int]:
        """For each client the number of rows that do not stand where ``mariadb-binlog`` says they were committed."""
        logged = array("q", committed_ids(self.product))
        last = logged.index(self._beacon) + 1
        logged = logged[:last]
        return {
            client.name: sum(a != b for a, b in zip(client.ids, logged, strict=False)) + abs(len(client.ids) - last)
            for client in self.clients
        }

    def note_memory(self) -> int:
        """The most memory that the running process has had, in KiB; call before it is killed, too."""
        assert self.product.process is not None
        try:
            status = Path(f"/proc/{self.product.process.pid}/status").read_text()
        except OSError:
            return 0
        found = re.search(r"VmHWM:\s+(\d+)", status)
        peak = int(found[1]) if found else 0
        self.peak_kib = max(self.peak_kib, peak)
        return peak
