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

import uvloop

from bench.detections import document, stamped
from cdc.assembler import Committed
from cdc.handoff import Handoff
from cdc.position import Position
from gateway.server import Gateway
from journal.sqlite import SqliteJournal
from journal.types import INSERT, Change, Transaction

CHANNEL = "cctv_updates"
_NOWHERE = Position("binlog.000001", 4)


def main() -> None:
    """Serve until the orders end."""
    uvloop.run(serve())


async def serve() -> None:
    """A gateway over a journal, both as ``rowcast serve`` makes them."""
    with tempfile.TemporaryDirectory(dir=json.loads(os.environ["BENCH_TASK"])["folder"]) as folder:
        journal = await SqliteJournal.open(Path(folder) / "journal.db", [CHANNEL])
        gateway = Gateway(
            journal, channels=[CHANNEL], host="127.0.0.1", port=0, origins=[], readiness=lambda: (True, {})
        )
        await gateway.start()
        gateway.set_source("live", 0)
        handoff = Handoff(asyncio.get_running_loop())
        threading.Thread(target=feed, args=(handoff, gateway.port), daemon=True).start()
        await drain(journal, gateway, handoff)


async def drain(journal: SqliteJournal, gateway: Gateway, handoff: Handoff) -> None:
    """The capture loop's own steps: whatever is ready goes into one commit, and is then published."""
    while True:
        batch = await handoff.take()
        events = await journal.append([Transaction(one.changes, "", one.committed) for one in batch])
        gateway.publish(events)
        handoff.release(batch)


def feed(handoff: Handoff, port: int) -> None:
    """In a thread of its own, as the log's reader: transactions of one row, as ordered."""
    print(json.dumps({"ready": port}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        rows = burst(order["burst"]) if "burst" in order else paced(order["rate"], order["seconds"], order["size"])
        count = 0
        for row in rows:
            handoff.put(Committed([Change(CHANNEL, INSERT, row)], _NOWHERE, _NOWHERE, None, time.time()))
            count += 1
        print(json.dumps({"rows": count}), flush=True)
    os._exit(0)


def burst(count: int) -> Iterator[bytes]:
    """So many rows without a pause; the last one says that it is the last."""
    chance = random.Random(7)  # noqa: S311 - made-up rows
    for number in range(count - 1):
        yield row(number, document(chance))
    yield row(count, '{"end":true}')


def paced(rate: float, seconds: float, size: int) -> Iterator[bytes]:
    """``rate`` rows a second for so long, each of about ``size`` bytes and with its time of writing."""
    chance = random.Random(7)  # noqa: S311 - made-up rows
    began = time.monotonic()
    for number in range(int(rate * seconds)):
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        yield row(number, stamped(chance), max(0, size - 220))


def row(number: int, data: str, padding: int = 0) -> bytes:
    """A row as the decoder makes it."""
    url = f"https://cdn.example/17/2026-11-23/{number:09}.jpg" + "x" * padding
    return (
        f'{{"id":{number},"cctv_id":17,"data":{data},"timestamp":"2026-11-23T08:19:33.999","snapshoot_url":"{url}"}}'
    ).encode()


if __name__ == "__main__":
    main()
