"""How fast the journal takes events in and gives them out.

``busy`` runs a second thread that never rests, as decoding or a full event loop would be.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.figures import OURS, Figure
from bench.stage import Stage
from journal.sqlite import SqliteJournal
from journal.types import INSERT, Change, Transaction

CHANNEL = "cctv_updates"
ROW = (
    b'{"id":123456,"cctv_id":7,"data":{"confidence":0.91,"label":"car","box":[1,2,3,4]},'
    b'"timestamp":"2026-11-23T08:19:33.999","snapshoot_url":"https://cdn.example/a/b/c.jpg"}'
)
_PAGES = 1000


def bench(stage: Stage) -> list[Figure]:
    """All figures of this file."""
    seconds, stored = (0.3, 20_000) if stage.quick else (2.0, 200_000)
    figures: list[Figure] = []
    for rows, size in ((1, len(ROW)), (100, len(ROW)), (1_000, len(ROW)), (10, 1 << 20)):
        figures += _in_folder(stage, lambda folder, rows=rows, size=size: appending(folder, rows, size, seconds))  # type: ignore[misc]
    figures += _in_folder(stage, lambda folder: appending(folder, 100, len(ROW), seconds, beside_work=True))
    return figures + _in_folder(stage, lambda folder: reading(folder, stored, seconds))


def _in_folder(stage: Stage, work: Callable[[Path], Awaitable[list[Figure]]]) -> list[Figure]:
    async def run(folder: str) -> list[Figure]:
        return await work(Path(folder))

    with tempfile.TemporaryDirectory(dir=stage.folder) as folder:
        return asyncio.run(run(folder))


async def appending(folder: Path, rows: int, size: int, seconds: float, *, beside_work: bool = False) -> list[Figure]:
    """Batches of one size, one after the other."""
    journal = await SqliteJournal.open(folder / "journal.db", [CHANNEL])
    title = f"journal, append batches of {rows:,} rows of {size:,} bytes" + (", busy" if beside_work else "")
    with busy(beside_work):
        took = await timed(seconds, lambda: journal.append(batch(rows, size)))
    await journal.close()
    return _rates(f"journal.append.{rows}.{size}.{beside_work}", title, rows, took)


async def reading(folder: Path, count: int, seconds: float) -> list[Figure]:
    """Pages of a thousand events from memory and from disk."""
    journal = await SqliteJournal.open(folder / "journal.db", [CHANNEL], tail_bytes=8 << 20)
    for _ in range(count // _PAGES):
        await journal.append(batch(_PAGES, len(ROW)))
    figures: list[Figure] = []
    for where, after, beside_work in (("memory", count - 10_000, False), ("disk", 0, False), ("disk, busy", 0, True)):
        with busy(beside_work):
            took = await timed(seconds, lambda after=after: journal.read(CHANNEL, after))  # type: ignore[misc]
        figures += _rates(f"journal.read.{where}", f"journal, read pages of {_PAGES:,} from {where}", _PAGES, took)
    await journal.close()
    return figures


def batch(rows: int, size: int) -> list[Transaction]:
    """One transaction of so many rows."""
    message = ROW if size == len(ROW) else ROW[:1] + b" " * (size - 2) + ROW[-1:]
    return [Transaction([Change(CHANNEL, INSERT, message)] * rows, "0-1-42", time.time())]


async def timed(seconds: float, work: Callable[[], Awaitable[object]]) -> list[float]:
    """Repeat ``work``; how long each took, in seconds."""
    took: list[float] = []
    end = time.perf_counter() + seconds
    while (started := time.perf_counter()) < end:
        await work()
        took.append(time.perf_counter() - started)
    return took


def _rates(key: str, title: str, rows: int, took: list[float]) -> list[Figure]:
    """Events a second by the middle batch or page, and how long the slowest hundredth took."""
    late = statistics.quantiles(took, n=100)[-1] if len(took) > 1 else took[0]
    rate = Figure(key, title, "events/s", samples={OURS: [rows / statistics.median(took)]})
    return [rate, Figure(f"{key}.p99", f"{title}: p99", "ms", less=True, samples={OURS: [late * 1000]})]


@contextmanager
def busy(wanted: bool) -> Iterator[None]:
    """Another thread of this process that never rests."""
    over = threading.Event()
    if not wanted:
        over.set()

    def spin() -> None:
        while not over.is_set():
            sum(range(1000))

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
