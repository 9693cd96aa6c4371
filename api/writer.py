"""Saves rows in groups: whatever came while the last group was being committed is the next one.

Quiet, a row is saved at once; under load, hundreds share an INSERT and a commit. No timer holds anything back. Queue
and connection live on the event loop, so a row that runs out of time can be withdrawn for certain as long as it is in
the queue.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from api.errors import DatabaseAway, DatabaseBusy, DeadlinePassed, OutcomeUnknown, QueueFull, SaveFailed
from api.rows import Row
from api.table import ResultTable

log = logging.getLogger(__name__)

GROUP_ROWS = 512
GROUP_BYTES = 4 << 20
BACK_OFF = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0)  # seconds between attempts to reach the database; the last one repeats
IDLE_CHECK = 15.0  # seconds without work after which the connection is tried


@dataclass
class WriterStats:
    """Rows saved, groups committed, rows that were not saved, and rows of which nobody knows."""

    rows: int = 0
    groups: int = 0
    failed: int = 0
    unknown: int = 0


class _State(Enum):
    QUEUED = auto()
    TAKEN = auto()
    WITHDRAWN = auto()


class _Pending:
    """The rows of one request, and the future that it waits for; ``due`` is a time of the loop's."""

    __slots__ = ("batch", "due", "future", "rows", "size", "state")

    def __init__(self, rows: Sequence[Row], size: int, *, batch: bool) -> None:
        self.rows = rows
        self.batch = batch
        self.size = size
        self.due = 0.0
        self.future: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        self.state = _State.QUEUED

    def finish(self, ids: list[int]) -> None:
        if not self.future.done():
            self.future.set_result(ids)

    def fail(self, error: SaveFailed) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class ResultWriter:
    """Saves rows to ``table``; each save is answered after its commit, or after ``deadline`` seconds at the latest.

    At most ``max_rows`` rows of ``max_bytes`` wait. ``error`` is None while rows can be saved, else the reason.
    """

    def __init__(
        self, table: ResultTable, *, deadline: float = 10.0, max_rows: int = 8192, max_bytes: int = 64 << 20
    ) -> None:
        self._table = table
        self._deadline = deadline
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._queue: deque[_Pending] = deque()
        self._unanswered: deque[_Pending] = deque()  # in the order of their deadlines; some in it are answered
        self._timer: asyncio.TimerHandle | None = None  # of the first of them
        self._rows = 0
        self._bytes = 0
        self._work = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._failures = 0
        self.error: str | None = "not connected yet"
        self.stats = WriterStats()

    @property
    def limits(self) -> Mapping[str, int]:
        """The lengths of the table's columns in characters; empty until the database was reached once."""
        return self._table.limits

    @property
    def queued(self) -> int:
        """How many rows wait for a group."""
        return self._rows

    async def start(self) -> None:
        """Try the database once and begin to save. A database that is away is no error: it is tried again and again."""
        await self._check()
        self._task = asyncio.create_task(self._run(), name="result-writer")

    async def save(self, row: Row) -> int:
        """The id of the saved row; raises ``SaveFailed``."""
        return (await self._submit(_Pending([row], row.size, batch=False)))[0]

    async def save_all(self, rows: Sequence[Row]) -> list[int]:
        """The ids of the rows, saved in one transaction; raises ``SaveFailed`` if none was."""
        return await self._submit(_Pending(rows, sum(row.size for row in rows), batch=True))

    async def close(self, deadline: float = 5.0) -> None:
        """Save what is queued, for ``deadline`` seconds; take nothing new. The rest fails."""
        if self._closing:
            return
        self._closing = True
        self._work.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=deadline)
            self._task.cancel()
            await asyncio.wait([self._task])
        for pending in self._take_all():
            pending.fail(DatabaseAway("the server is shutting down"))
        if self._timer is not None:
            self._timer.cancel()
        self._table.close()

    async def _submit(self, pending: _Pending) -> list[int]:
        self._admit(pending)
        try:
            return await pending.future
        finally:
            self._withdraw(pending)

    def _withdraw(self, pending: _Pending) -> None:
        """Take it back for certain, unless it has been taken."""
        if pending.state is _State.QUEUED:
            pending.state = _State.WITHDRAWN
            self._forget(pending)
            pending.rows = ()

    def _watch(self, pending: _Pending) -> None:
        """Have it fail when its time is up. All have the same time, so one timer is enough for them."""
        loop = asyncio.get_running_loop()
        pending.due = loop.time() + self._deadline
        while self._unanswered and self._unanswered[0].future.done():
            self._unanswered.popleft()
        self._unanswered.append(pending)
        if self._timer is None:
            self._timer = loop.call_at(pending.due, self._look)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        while self._unanswered:
            first = self._unanswered[0]
            if not first.future.done():
                if first.due > loop.time():
                    self._timer = loop.call_at(first.due, self._look)
                    return
                self._expire(first)
            self._unanswered.popleft()

    def _expire(self, pending: _Pending) -> None:
        if pending.state is _State.QUEUED:
            self._withdraw(pending)  # at once: a group may end, and take the next one, before the request wakes
            pending.fail(DeadlinePassed(f"waited {self._deadline:g} seconds for the database"))
        else:
            pending.fail(OutcomeUnknown(f"the database did not answer in {self._deadline:g} seconds"))

    def _admit(self, pending: _Pending) -> None:
        if self._closing:
            raise DatabaseAway("the server is shutting down")
        # A batch that exceeds the bounds by itself is taken when nothing else waits.
        rows, size = self._rows + len(pending.rows), self._bytes + pending.size
        if self._queue and (rows > self._max_rows or size > self._max_bytes):
            raise QueueFull(f"{self._rows} rows wait to be saved already")
        self._rows, self._bytes = rows, size
        self._queue.append(pending)
        self._watch(pending)
        self._work.set()

    def _forget(self, pending: _Pending) -> None:
        """Take it off the books; withdrawn ones stay in the queue until the next group passes over them."""
        self._rows -= len(pending.rows)
        self._bytes -= pending.size

    async def _run(self) -> None:
        while self._queue or not self._closing:
            if self.error is not None:
                await asyncio.sleep(BACK_OFF[min(self._failures, len(BACK_OFF) - 1)])
                await self._check()
            elif await self._has_work():
                await self._save_group(self._take())
            else:
                await self._check()

    async def _has_work(self) -> bool:
        """Wait for work; false after a while without any."""
        if self._queue:
            return True
        self._work.clear()
        try:
            async with asyncio.timeout(IDLE_CHECK):
                await self._work.wait()
        except TimeoutError:
            return False
        return True

    def _take(self) -> list[_Pending]:
        """The next group: one batch by itself, or single rows up to the bounds of a group."""
        group: list[_Pending] = []
        size = 0
        while self._queue and len(group) < GROUP_ROWS and size < GROUP_BYTES:
            if group and (group[0].batch or self._queue[0].batch):
                break
            pending = self._queue.popleft()
            if pending.state is _State.QUEUED:
                pending.state = _State.TAKEN
                self._forget(pending)
                group.append(pending)
                size += pending.size
        return group

    async def _save_group(self, group: list[_Pending]) -> None:
        if not group:  # all were withdrawn
            return
        try:
            await (self._save_batch(group[0]) if group[0].batch else self._save_rows(group))
        except SaveFailed as error:
            if isinstance(error, OutcomeUnknown | DatabaseBusy):
                log.warning("a group of %d was not saved, or not for certain: %s", len(group), error.__cause__)
            self._fail(group, error)
        except asyncio.CancelledError:
            self._fail(group, OutcomeUnknown("the server is shutting down"))
            raise
        except Exception:
            log.exception("a group of %d could not be saved", len(group))
            self._fail(group, OutcomeUnknown("internal error"))
        else:
            self.stats.groups += 1

    async def _save_rows(self, group: list[_Pending]) -> None:
        outcomes = await self._table.save([pending.rows[0] for pending in group])
        for pending, outcome in zip(group, outcomes, strict=True):
            if isinstance(outcome, int):
                self.stats.rows += 1
                pending.finish([outcome])
            else:
                self.stats.failed += 1
                pending.fail(outcome)

    async def _save_batch(self, pending: _Pending) -> None:
        ids = await self._table.save_all(pending.rows)
        self.stats.rows += len(ids)
        pending.finish(ids)

    def _fail(self, group: Iterable[_Pending], error: SaveFailed) -> None:
        for pending in group:
            if error.outcome == "unknown":
                self.stats.unknown += len(pending.rows)
            else:
                self.stats.failed += len(pending.rows)
            pending.fail(error)
        if isinstance(error, DatabaseAway):
            self._away(error)

    async def _check(self) -> None:
        """See whether rows can be saved. If not, whoever waits is told so: they wait for one attempt at most."""
        try:
            await self._table.check()
        except DatabaseAway as error:
            self._no_database(error)
        except Exception:
            log.exception("the database could not be tried")
            self._no_database(DatabaseAway("internal error"))
        else:
            if self.error is not None:
                log.info("rows can be saved")
            self.error, self._failures = None, 0

    def _no_database(self, error: DatabaseAway) -> None:
        self._failures += 1
        self._away(error)
        self._fail(self._take_all(), error)

    def _away(self, error: DatabaseAway) -> None:
        if self.error != error.reason:  # one line for each change, not for each attempt
            log.warning("rows cannot be saved: %s", error.__cause__ or error)
        self.error = error.reason

    def _take_all(self) -> list[_Pending]:
        waiting = [pending for pending in self._queue if pending.state is _State.QUEUED]
        for pending in waiting:
            pending.state = _State.TAKEN
            self._forget(pending)
        self._queue.clear()
        return waiting
