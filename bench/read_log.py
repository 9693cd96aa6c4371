"""Our way from the log to JSON text, as a program: the capture's own reader, with or without the journal behind it."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

from bench.stage import peak_mib
from cdc.capture import CaptureLoop
from cdc.committed import Committed, Piece
from cdc.control import Control
from cdc.fetch import TableChannel
from cdc.handoff import Closed, Handoff
from cdc.position import Checkpoint, Position
from cdc.reader import Origin, Reader
from journal.sqlite import SqliteJournal
from journal.types import Event, Transaction

CHANNEL = "cctv_updates"


class Taken(NamedTuple):
    """What was read: rows, bytes of JSON, seconds and CPU seconds since the stream was open."""

    rows: int
    bytes: int
    seconds: float
    cpu: float


class Clock:
    """Time and CPU time since ``start`` was first called."""

    def __init__(self) -> None:
        self._began: tuple[float, float] | None = None
        self.passed = (0.0, 0.0)

    def start(self) -> None:
        """Begin, unless it has begun."""
        self._began = self._began or (time.monotonic(), time.process_time())

    def stop(self) -> None:
        """Note what has passed."""
        assert self._began is not None
        self.passed = time.monotonic() - self._began[0], time.process_time() - self._began[1]


def main() -> None:
    """Read as many rows as the task says; print how long that took."""
    task = json.loads(os.environ["BENCH_TASK"])
    taken = uvloop.run(into_journal(task)) if task.get("journal") else count(task)
    print(json.dumps(taken._asdict() | {"peak_mib": peak_mib()}))


def origin(task: dict[str, Any]) -> Origin:
    """What is read, over a connection without TLS, as the peers do."""
    connect = {name: task[name] for name in ("host", "port", "user", "password")}
    channel = TableChannel(CHANNEL, task["schema"], task["table"])
    # a number of its own: for one that another reader had a moment ago the server waits a tenth of a second
    number = 7000 + os.getpid() % 10_000
    return Origin(connect | {"charset": "utf8mb4", "ssl_disabled": True}, [channel], number)


def checkpoint(task: dict[str, Any]) -> Checkpoint:
    """Where it begins; nothing is expected there."""
    start = Position(task["file"], task["offset"], task["gtid"])
    with Control(origin(task).connect) as control:
        server = control.server()
    source = f"{task['schema']}.{task['table']}"
    return Checkpoint(server.flavour, server.identity, start, start, tables={CHANNEL: source})


class Counting(Handoff):
    """Takes the reader's transactions in its own thread and counts them, until there are enough."""

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self.rows = self.size = 0
        self.clock = Clock()
        self.error: BaseException | None = None

    def put(self, item: Committed | Piece) -> None:
        """Count; turn the reader away once all have come."""
        self.rows += len(item.changes)
        for change in item.changes:
            self.size += len(change.message)
        if self.rows >= self._wanted:
            self.clock.stop()
            raise Closed

    def call(self, function: Callable[..., None], *args: Any) -> None:
        """The first thing that it says is that it is connected."""
        self.clock.start()

    def end(self, error: BaseException) -> None:
        """The stream broke."""
        self.error = error


def count(task: dict[str, Any]) -> Taken:
    """Source, assembler and decoder alone."""
    handoff = Counting(task["rows"])
    Reader(origin(task), checkpoint(task), handoff, lambda _: None, lambda: None).run()
    if handoff.error is not None:
        raise handoff.error
    return Taken(handoff.rows, handoff.size, *handoff.clock.passed)


async def into_journal(task: dict[str, Any]) -> Taken:
    """The same through the hand-off and into a journal on disk, each batch committed."""
    journal = await SqliteJournal.open(Path(task["journal"]), [CHANNEL])
    await journal.append([Transaction((), checkpoint(task).encode(), time.time())])
    enough = asyncio.Event()
    clock = Clock()
    rows = size = 0

    def publish(events: list[Event]) -> None:
        nonlocal rows, size
        rows += len(events)
        size += sum(len(event.message) for event in events)
        if rows >= task["rows"]:
            enough.set()

    def on_source(_state: str, _lag_ms: int) -> None:
        clock.start()  # the first news is that the stream is open

    capture = asyncio.create_task(CaptureLoop(origin(task), journal, publish, on_source, derived_id=False).run())
    await asyncio.wait([capture, asyncio.create_task(enough.wait())], return_when=asyncio.FIRST_COMPLETED)
    if capture.done():
        capture.result()
    clock.stop()
    capture.cancel()
    await asyncio.wait([capture])
    await journal.close()
    return Taken(rows, size, *clock.passed)


if __name__ == "__main__":
    main()
