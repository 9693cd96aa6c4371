"""How fast the journal takes events in and gives them out. Prints; decides nothing.

    python bench/journal.py [--folder /dev/shm] [--seconds 3]

``busy`` runs a second thread that never rests, as decoding or a full event loop would be.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from journal.sqlite import SqliteJournal
from journal.types import INSERT, Change, Transaction

CHANNEL = "cctv_updates"
ROW = (
    b'{"id":123456,"cctv_id":7,"data":{"confidence":0.91,"label":"car","box":[1,2,3,4]},'
    b'"timestamp":"2026-11-23T08:19:33.999","snapshoot_url":"https://cdn.example/a/b/c.jpg"}'
)


def main() -> None:
    """Run every bench once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", default=None, help="where to put the file (default: the temporary folder)")
    parser.add_argument("--seconds", type=float, default=3, help="about how long each line takes")
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, messages of {len(ROW)} bytes unless said")
    for rows, size in ((1, len(ROW)), (100, len(ROW)), (1_000, len(ROW)), (10, 1 << 20)):
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            asyncio.run(bench_append(Path(folder), rows, size, arguments.seconds))
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        asyncio.run(bench_busy(Path(folder), arguments.seconds))
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        asyncio.run(bench_read(Path(folder), arguments.seconds))


def batch(rows: int, size: int) -> list[Transaction]:
    """One transaction of so many rows."""
    message = ROW if size == len(ROW) else ROW[:1] + b" " * (size - 2) + ROW[-1:]
    return [Transaction([Change(CHANNEL, INSERT, message)] * rows, "0-1-42", time.time())]


async def bench_append(folder: Path, rows: int, size: int, seconds: float) -> None:
    """Append batches of one size, one after the other."""
    journal = await SqliteJournal.open(folder / "journal.db", [CHANNEL])
    took = await timed(seconds, lambda: journal.append(batch(rows, size)))
    print(f"append, {rows} of {size} bytes a batch:".ljust(42) + rate(len(took) * rows, took))
    await journal.close()


async def bench_busy(folder: Path, seconds: float) -> None:
    """Append while another thread wants every cycle."""
    journal = await SqliteJournal.open(folder / "journal.db", [CHANNEL])
    with busy():
        for rows in (1, 100):
            took = await timed(seconds, lambda rows=rows: journal.append(batch(rows, len(ROW))))  # type: ignore[misc]
            print(f"append, busy, {rows} rows a batch:".ljust(42) + rate(len(took) * rows, took))
    await journal.close()


async def bench_read(folder: Path, seconds: float) -> None:
    """Read pages of a thousand events from memory and from disk, and trim them away."""
    count = 200_000
    journal = await SqliteJournal.open(folder / "journal.db", [CHANNEL], tail_bytes=8 << 20)
    for _ in range(count // 1000):
        await journal.append(batch(1_000, len(ROW)))
    for where, after in (("memory", count - 10_000), ("disk", 0)):
        took = await timed(seconds, lambda after=after: journal.read(CHANNEL, after))  # type: ignore[misc]
        print(f"read, pages of 1,000, {where}:".ljust(42) + rate(len(took) * 1000, took))
    with busy():
        took = await timed(seconds, lambda: journal.read(CHANNEL, 0))
        print("read, busy, pages of 1,000, disk:".ljust(42) + rate(len(took) * 1000, took))
    started = time.perf_counter()
    trimmed = await journal.trim(0, 0)
    print("trim:".ljust(42) + f"{trimmed / (time.perf_counter() - started):11,.0f} events/s")
    await journal.close()


async def timed(seconds: float, work: Callable[[], Awaitable[object]]) -> list[float]:
    """Repeat ``work``; how long each took, in seconds."""
    took: list[float] = []
    end = time.perf_counter() + seconds
    while (started := time.perf_counter()) < end:
        await work()
        took.append(time.perf_counter() - started)
    return took


def rate(events: int, took: list[float]) -> str:
    """One line of figures."""
    middle, worst = statistics.median(took), statistics.quantiles(took, n=100)[-1]
    return f"{events / sum(took):11,.0f} events/s, each p50 {middle * 1e3:7.2f} ms, p99 {worst * 1e3:7.2f} ms"


@contextmanager
def busy() -> Iterator[None]:
    """Another thread of this process that never rests."""
    over = threading.Event()

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


if __name__ == "__main__":
    main()
