"""What a soak plays on: a database behind a proxy, the product, writers, and clients of several kinds.

::

    writers ──▶ database ══ link (a proxy) ══▶ rowcast serve ──▶ clients: near, near from the first row,
                                                  │              behind a proxy that is cut, behind a slow link
                                              a small disk
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from array import array
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import NamedTuple

from devenv.database import Server
from devenv.installation import Installation
from journal.types import READ
from tests.faults.product import Product
from tests.faults.proxy import CuttingProxy
from tests.faults.recorder import Recorder
from tests.faults.soak_disk import SmallDisk
from tests.faults.soak_log import CommitOrder
from tests.faults.soak_memory import Memory
from tests.faults.verdict import Verdict, judge, table
from tests.faults.writers import INSERT, Writer, row

WRITERS = 3
SLOW = 600.0  # bytes for each row written: about twice what it is sent, so that it recovers
PATIENCE = 120.0  # seconds after which a client that has not recovered never will
BEACON = 0  # the number of the writer that is no load
FILLER = 99  # and of the one that fills the journal's memory tail
FILLING = 24_000  # rows: its half of 16 MiB takes fewer
DISK = 64 << 20  # bytes for the journal, and so many for each row
ROW = 600


class Outcome(NamedTuple):
    """What a step showed: seconds until the clients had caught up, and what was wrong with what they were sent.

    ``gaps`` counts those that were not to come, or did not come where they had to; ``announced`` the reasons of the
    others.
    """

    recovered: float
    rows: int
    verdicts: Sequence[Verdict]
    gaps: int
    announced: Sequence[str] = ()


class Client(NamedTuple):
    """A recording client, its name, and the ids it was sent, judged already, in their order.

    ``read`` are those that came from the table, behind a gap; ``ids`` all others. ``due`` is where another row from
    the table may stand.
    """

    name: str
    recorder: Recorder
    ids: array[int]
    read: set[int]
    due: set[int]


class Stage:
    """Everything that runs; a context manager. ``check`` is the judge's turn."""

    def __init__(self, installation: Installation, folder: Path, *, seed: int, rate: float, minutes: float) -> None:
        self.server = Server(installation, folder / installation.flavour)
        self.disk = SmallDisk(folder / "disk", folder / "journal", DISK + round(60 * minutes * rate) * ROW)
        self.memory = Memory(self._pid)
        self._folder = folder
        self._seed, self._rate = seed, rate
        self.rows = 0
        self.expected: list[str] = []  # the reasons of the gaps that the present fault must cause
        self._beacon, self._beacons = 0, 0
        self._next_offset = 1
        self._filled = 0

    async def __aenter__(self) -> Stage:
        async with AsyncExitStack() as stack:
            stack.callback(self.server.kill)
            await asyncio.to_thread(self.server.start)
            await self._start_product(stack)
            self.clients = [
                Client(name, await stack.enter_async_context(recorder), array("q"), set(), set())
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

    async def _start_product(self, stack: AsyncExitStack) -> None:
        self.link = stack.enter_context(CuttingProxy(self.server.port))
        stack.enter_context(self.disk)
        settings = {"ROWCAST_JOURNAL_PATH": str(self.disk.folder / "journal.db")}
        self.product = Product(self.server, self._folder, mysql_port=self.link.port, settings=settings)
        self._order = CommitOrder(self.product)
        await asyncio.to_thread(self.product.migrate)
        self.product.start()
        stack.callback(self._end_product)
        await self.product.ready()
        watching = asyncio.create_task(self.memory.watch())
        stack.callback(watching.cancel)

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def _end_product(self) -> None:
        if self.product.running:
            self.product.kill()

    def _pid(self) -> int:
        assert self.product.process is not None
        return self.product.process.pid

    def _recorders(self, stack: ExitStack | AsyncExitStack) -> list[tuple[str, Recorder]]:
        self.client_link = stack.enter_context(CuttingProxy(self.product.gateway_port))
        slow = stack.enter_context(CuttingProxy(self.product.gateway_port))
        self._slow = slow
        return [
            ("near", Recorder(self.product.gateway)),
            ("from the first row", Recorder(self.product.gateway, offset=0)),
            ("behind a link that is cut", Recorder(f"ws://127.0.0.1:{self.client_link.port}/")),
            ("behind a slow link", Recorder(f"ws://127.0.0.1:{slow.port}/")),
        ]

    async def fill(self) -> Outcome:
        """Rows that fill the journal's memory tail, so that what grows from now on should not."""
        await asyncio.to_thread(self.commit, FILLING)
        outcome = await self.check()
        self._slow.bytes_per_second = SLOW * self._rate
        return outcome

    def commit(self, rows: int) -> None:
        """So many rows in one transaction, a multiple of a thousand."""
        with self.product.connect() as connection, connection.cursor() as cursor:
            begun, self._filled = self._filled, self._filled + rows
            for first in range(begun, self._filled, 1000):
                values = (row(FILLER, begun, seq) for seq in range(first, first + 1000))
                cursor.execute(INSERT + ", ".join(values))
            connection.commit()

    # what faults need

    @contextlib.contextmanager
    def quiet(self) -> Iterator[None]:
        """Nobody is in the middle of a transaction, and the log as it is has been kept for the judge."""
        with ExitStack() as held:
            for writer in self._writers:
                held.enter_context(writer.between_transactions)
            self._order.keep()
            yield

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
        judged = [self._judge(client, rows) for client in self.clients]
        announced, self.expected = self.expected, []
        self.rows += len(rows)
        self._next_offset += len(rows) + len(announced)
        self.memory.look()
        for writer in self._writers:
            if writer.error is not None:
                raise writer.error
        verdicts = [verdict for verdict, _ in judged]
        return Outcome(recovered, len(rows), verdicts, sum(gaps for _, gaps in judged), announced)

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

    def _judge(self, client: Client, rows: dict[int, dict[str, object]]) -> tuple[Verdict, int]:
        """What arrived up to the beacon must be the rows up to it; what came behind it is judged the next time."""
        seen, gaps = client.recorder.seen, client.recorder.gaps
        end = next(place for place, event in enumerate(seen, 1) if event.message["id"] == self._beacon)
        verdict = judge(seen[:end], rows, first=self._next_offset, gaps=gaps)
        came = [gap["reason"] for gap in gaps]
        wrong = 0 if came == self.expected else max(len(came), len(self.expected))
        client.due.update(gap["before"] for gap in gaps)
        for event in seen[:end]:
            if event.op == READ:
                wrong += event.offset not in client.due
                client.due.add(event.offset + 1)
                client.read.add(event.message["id"])
            else:
                client.ids.append(event.message["id"])
        del seen[:end], gaps[:]
        return verdict, wrong

    def out_of_log_order(self) -> dict[str, int]:
        """For each client the number of rows that do not stand where the log says that they were committed."""
        self._order.keep()
        return {c.name: self._order.differences(c.ids, c.read, self._beacon) for c in self.clients}
