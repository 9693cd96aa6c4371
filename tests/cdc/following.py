"""A capture loop at work: a real journal behind it, everything that it says kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import msgspec

from cdc.capture import Appender, CaptureLoop
from cdc.position import Checkpoint
from cdc.reader import Origin
from journal.sqlite import SqliteJournal
from journal.types import GAP, Event, Transaction
from tests.faults.proxy import CuttingProxy
from tests.waiting import until

TABLE = "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(200))"


class Following:
    """Start and stop it as often as you like: what it has published is the same journal's, from the first day on."""

    def __init__(self, origin: Origin, path: Path, *, derived_id: bool = True) -> None:
        self._origin = origin
        self._path = path
        self._derived_id = derived_id
        self._task: asyncio.Task[None] | None = None
        self._opened: SqliteJournal | None = None
        self.published: list[Event] = []
        self.batches: list[int] = []  # how many were published at a time
        self.states: list[str] = []
        self.lags: list[int] = []

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Open the journal and capture."""
        channels = [channel.channel for channel in self._origin.channels]
        self._opened = await SqliteJournal.open(self._path, channels, sync="normal")
        self.loop = CaptureLoop(
            self._origin,
            self.appender(self._opened),
            self._publish,
            self._on_source,
            derived_id=self._derived_id,
        )
        self._task = asyncio.create_task(self.loop.run())

    async def stop(self) -> None:
        """Stop capturing wherever it is, and close the journal; raises what capturing raised."""
        if self._task is None or self._opened is None:
            return
        self._task.cancel()
        await asyncio.wait([self._task])
        await self._opened.close()
        task, self._task = self._task, None
        if not task.cancelled():
            task.result()

    def appender(self, journal: SqliteJournal) -> Appender:
        """What the loop appends to; a test may stand in between."""
        return journal

    @property
    def journal(self) -> SqliteJournal:
        """The journal that is open now."""
        assert self._opened is not None
        return self._opened

    @property
    def checkpoint(self) -> Checkpoint:
        """Where it would resume."""
        text = self.journal.checkpoint
        assert text is not None
        return Checkpoint.decode(text)

    def _publish(self, events: list[Event]) -> None:
        self.published += events
        self.batches += [len(events)] if events else []  # none: rows are said to look otherwise

    def _on_source(self, state: str, lag_ms: int) -> None:
        if not self.states or self.states[-1] != state:
            self.states.append(state)
        self.lags.append(lag_ms)

    async def live(self, seconds: float = 15.0) -> None:
        """Wait until it says that it is live."""
        await self.until(lambda: self.loop.state == "live", seconds)

    async def count(self, number: int, seconds: float = 20.0) -> None:
        """Wait for that many published events."""
        await self.until(lambda: len(self.published) >= number, seconds)

    async def until(self, condition: Any, seconds: float = 15.0) -> None:
        """Wait for a condition, and do not wait longer than the loop lives."""
        assert self._task is not None
        await until(lambda: condition() or (self._task and self._task.done()), seconds)
        if self._task.done():
            self._task.result()

    def ids(self, channel: str = "t") -> list[int]:
        """The published rows of a channel, by id."""
        wanted = [event for event in self.published if event.channel == channel and event.op != GAP]
        return [json.loads(event.message)["id"] for event in wanted]

    def story(self) -> list[Any]:
        """Ids and gap reasons in the order in which they were published."""
        messages = [json.loads(event.message) for event in self.published]
        return [message.get("id", message.get("reason")) for message in messages]


Follow = Callable[..., Following]


class Sometimes:
    """A journal that takes nothing while ``error`` is set."""

    def __init__(self, journal: SqliteJournal) -> None:
        self._journal = journal
        self.error: Exception | None = None
        self.refused = 0
        self.batches: list[Sequence[Transaction]] = []

    @property
    def checkpoint(self) -> str | None:
        """The journal's."""
        return self._journal.checkpoint

    async def append(self, batch: Sequence[Transaction]) -> list[Event]:
        """Raise, or let it through."""
        if self.error is not None:
            self.refused += 1
            raise self.error
        self.batches.append(batch)
        return await self._journal.append(batch)

    async def withdraw(self) -> None:
        """Raise, or let it through."""
        if self.error is not None:
            self.refused += 1
            raise self.error
        await self._journal.withdraw()

    def head(self, channel: str) -> int:
        """The journal's."""
        return self._journal.head(channel)

    async def read(self, channel: str, after: int, limit: int = 1000) -> list[Event]:
        """The journal's."""
        return await self._journal.read(channel, after, limit)


class Stubborn(Following):
    """Appends through a journal that can be told to refuse."""

    sometimes: Sometimes

    def appender(self, journal: SqliteJournal) -> Appender:
        """The one that refuses."""
        self.sometimes = Sometimes(journal)
        return self.sometimes


def through(origin: Origin, proxy: CuttingProxy) -> Origin:
    """The same server behind the proxy."""
    return msgspec.structs.replace(origin, connect=dict(origin.connect) | {"port": proxy.port})


def insert(*numbers: int) -> list[str]:
    return [f"INSERT INTO t (id, name) VALUES ({number}, 'row {number}')" for number in numbers]
