"""Our gateway and its journal as a program, fed as the capture feeds them but without a database in the way."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvloop

from bench.detections import document, stamped
from cdc.committed import Committed
from cdc.handoff import Handoff
from cdc.position import Position
from gateway.server import Gateway
from gateway.stats import Stats
from journal.sqlite import SqliteJournal
from journal.types import INSERT, Change, Transaction
from rowcast import garbage

CHANNEL = "cctv_updates"
_NOWHERE = Position("binlog.000001", 4)


def main() -> None:
    """Serve until the orders end."""
    garbage.settle()
    uvloop.run(serve())


async def serve() -> None:
    """A gateway over a journal, both as ``rowcast serve`` makes them."""
    with tempfile.TemporaryDirectory(dir=json.loads(os.environ["BENCH_TASK"])["folder"]) as folder:
        journal = await SqliteJournal.open(Path(folder) / "journal.db", [CHANNEL])
        gateway = Gateway(
            journal, channels=[CHANNEL], host="127.0.0.1", port=0, origins=[], readiness=lambda: (True, {})
        )
        journal.writing = gateway.writing
        await gateway.start()
        gateway.set_source("live", 0)
        handoff = Handoff(asyncio.get_running_loop())
        threading.Thread(target=feed, args=(handoff, gateway), daemon=True).start()
        await drain(journal, gateway, handoff)


async def drain(journal: SqliteJournal, gateway: Gateway, handoff: Handoff) -> None:
    """The capture loop's own steps: whatever is ready goes into one commit, and is then published."""
    while True:
        batch = await handoff.take()
        events = await journal.append([Transaction(one.changes, "", one.committed) for one in batch])
        gateway.publish(events)
        handoff.release(batch)


def feed(handoff: Handoff, gateway: Gateway) -> None:
    """In a thread of its own, as the log's reader. Each answer says how much CPU time the event loop has used."""
    loop_clock = time.pthread_getcpuclockid(threading.main_thread().ident or 0)
    print(json.dumps({"ready": gateway.port}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        count = 0
        for rows in transactions(order, handoff, gateway.stats):
            changes = [Change(CHANNEL, INSERT, row) for row in rows]
            handoff.put(Committed(changes, _NOWHERE, _NOWHERE, None, time.time()))
            count += len(rows)
        print(json.dumps({"rows": count, "loop_cpu": time.clock_gettime(loop_clock)}), flush=True)
    os._exit(0)


def transactions(order: dict[str, Any], handoff: Handoff, stats: Stats) -> Iterator[list[bytes]]:
    """The rows that an order asks for, in the transactions that they come in."""
    if "burst" in order:
        yield from burst(order["burst"])
    elif "cameras" in order:
        yield from rounds(order["cameras"], order["rounds"], handoff, stats)
    elif "rate" in order:
        yield from paced(order["rate"], order["seconds"], order["size"])


def burst(count: int) -> Iterator[list[bytes]]:
    """So many single rows without a pause; the last one says that it is the last."""
    chance = random.Random(7)  # noqa: S311 - made-up rows
    for number in range(count - 1):
        yield [row(number, document(chance))]
    yield [row(count, '{"end":true}')]


def rounds(cameras: int, count: int, handoff: Handoff, stats: Stats) -> Iterator[list[bytes]]:
    """One row for each camera, so many times; a round begins when the one before it has gone out to everybody.

    Each client gets one row of a round. To a large group they go in slices, which rows of the next round would join.
    """
    before = stats.deliveries
    for number in range(count):
        end = "true" if number == count - 1 else "false"
        yield [row(camera, f'{{"end":{end}}}', camera=camera) for camera in range(cameras)]
        while not handoff.empty or stats.deliveries < before + (number + 1) * stats.subscriptions:
            time.sleep(0.01)


def paced(rate: float, seconds: float, size: int) -> Iterator[list[bytes]]:
    """``rate`` rows a second for so long, each of about ``size`` bytes and with its time of writing."""
    chance = random.Random(7)  # noqa: S311 - made-up rows
    began = time.monotonic()
    for number in range(int(rate * seconds)):
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        yield [row(number, stamped(chance), max(0, size - 220))]


def row(number: int, data: str, padding: int = 0, camera: int = 17) -> bytes:
    """A row as the decoder makes it."""
    url = f"https://cdn.example/17/2026-11-23/{number:09}.jpg" + "x" * padding
    return (
        f'{{"id":{number},"cctv_id":{camera},"data":{data},"timestamp":"2026-11-23T08:19:33.999","snapshoot_url":"{url}"}}'
    ).encode()


if __name__ == "__main__":
    main()
