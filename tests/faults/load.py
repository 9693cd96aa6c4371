"""A load on the product, and the check that every client has exactly what was committed, in the order of commits."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence

from tests.faults.binlog import in_commit_order
from tests.faults.product import Product
from tests.faults.recorder import Recorder
from tests.faults.verdict import judge, table
from tests.faults.writers import Writer

WRITERS = 4


class Load:
    """``rows`` rows of four writers, in transactions of many sizes, some rolled back; a context manager starts them."""

    def __init__(self, product: Product, rows: int, rate: float | None = None) -> None:
        self._product = product
        self._rows = rows
        share = None if rate is None else rate / WRITERS
        self._writers = [Writer(product.connect, n, rows // WRITERS, rate=share) for n in range(1, WRITERS + 1)]

    def __enter__(self) -> Load:
        for writer in self._writers:
            writer.start()
        return self

    def __exit__(self, *_: object) -> None:
        for writer in self._writers:
            writer.stop()

    async def until(self, share: float) -> None:
        """Return once that share of the rows was sent."""
        async with asyncio.timeout(120):
            while sum(writer.written for writer in self._writers) < share * self._rows:
                await asyncio.sleep(0.005)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Meanwhile no transaction is under way."""
        with contextlib.ExitStack() as stack:
            for writer in self._writers:
                stack.enter_context(writer.between_transactions)
            yield

    async def finished(self) -> None:
        """Return once all rows were sent."""
        for writer in self._writers:
            await asyncio.to_thread(writer.join, 120)
            assert not writer.is_alive()
            assert writer.error is None


async def nothing_wrong(product: Product, recorders: Sequence[Recorder], *, gaps: int = 0) -> None:
    """Each recorder gets every committed row once, transactions unbroken, offsets dense, in the log's own order."""
    rows = await asyncio.to_thread(table, product)
    assert rows
    for recorder in recorders:
        await recorder.until_seen(len(rows))
        assert len(recorder.gaps) == gaps
        verdict = judge(recorder.seen, rows)
        assert verdict.clean, verdict
    await asyncio.to_thread(in_commit_order, product, *(recorder.seen for recorder in recorders))
