"""Points on a row's way at which a test may end the process, to see what survives.

``ROWCAST_TEST_FAILPOINT=after-append:20`` kills it, as ``kill -9`` does, when the point ``after-append`` is passed with
rows for the 20th time. Unset, none of this is on the way.

======================  ============================================================
``before-append``       transactions wait to be written
``after-append``        their rows are written, the commit is not
``after-commit``        rows and checkpoint are durable, nobody has been sent them
``after-publish``       they were handed to the gateway's connections
``after-piece``         pieces of a large transaction are durable, and nobody can see them
======================  ============================================================
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence

from cdc.capture import Appender
from journal.types import FIRST, NEXT, Event, Transaction
from rowcast.errors import CONFIGURATION, Failure

VARIABLE = "ROWCAST_TEST_FAILPOINT"
BEFORE_APPEND, AFTER_APPEND, AFTER_COMMIT, AFTER_PUBLISH, AFTER_PIECE = POINTS = (
    "before-append",
    "after-append",
    "after-commit",
    "after-publish",
    "after-piece",
)
Publish = Callable[[list[Event]], None]


class Failpoint:
    """Kills the process when the point ``name`` is passed for the ``count``-th time."""

    def __init__(self, name: str, count: int) -> None:
        self._name = name
        self._left = count

    def passed(self, name: str) -> None:
        """The process is at the point ``name``; it may not return."""
        if name == self._name:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def written(self) -> None:
        """For the journal: rows are written, their commit is not."""
        self.passed(AFTER_APPEND)

    def around(self, journal: Appender, publish: Publish) -> tuple[Appender, Publish]:
        """The same two, with the other points before and behind them."""

        def publish_and_pass(events: list[Event]) -> None:
            publish(events)
            if events:
                self.passed(AFTER_PUBLISH)

        return _Watched(journal, self.passed), publish_and_pass


class _Watched:
    """A journal that is appended to under watch; a batch that only moves the checkpoint passes no point."""

    def __init__(self, journal: Appender, passed: Callable[[str], None]) -> None:
        self._journal = journal
        self._passed = passed

    @property
    def checkpoint(self) -> str | None:
        return self._journal.checkpoint

    async def append(self, batch: Sequence[Transaction]) -> list[Event]:
        if any(transaction.changes for transaction in batch):
            self._passed(BEFORE_APPEND)
        events = await self._journal.append(batch)
        # No await from here to the caller, who publishes in the same step of the event loop.
        if any(transaction.part in (FIRST, NEXT) for transaction in batch):
            self._passed(AFTER_PIECE)
        if events:
            self._passed(AFTER_COMMIT)
        return events

    async def withdraw(self) -> None:
        await self._journal.withdraw()

    def head(self, channel: str) -> int:
        return self._journal.head(channel)

    async def read(self, channel: str, after: int, limit: int = 1000) -> list[Event]:
        return await self._journal.read(channel, after, limit)


def from_environment(environment: Mapping[str, str]) -> Failpoint | None:
    """The failpoint that the variable asks for, if it is set; raises ``Failure`` when it cannot be understood."""
    text = environment.get(VARIABLE, "")
    if not text:
        return None
    name, _, count = text.partition(":")
    if name not in POINTS or not count.isdecimal() or int(count) == 0:
        raise Failure(f"{VARIABLE}={text} names no failpoint", f"NAME:COUNT with {', '.join(POINTS)}", CONFIGURATION)
    return Failpoint(name, int(count))
