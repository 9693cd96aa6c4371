"""Cancelling an append: its commit cannot be stopped, so its events are not lost either."""

from __future__ import annotations

import asyncio

import pytest

from journal.sqlite import SqliteJournal
from journal.types import Event
from tests.journal.gate import Gate
from tests.journal.rows import A, offsets, rows
from tests.waiting import until


async def test_a_cancelled_append_gives_its_events_first(journal: SqliteJournal, gate: Gate) -> None:
    """Cancelled while the commit runs, append still returns the events; the next await is cancelled."""
    published: list[Event] = []

    async def capture() -> None:
        published.extend(await journal.append(rows(3)))
        await asyncio.sleep(60)

    with gate.closed(journal):
        task = asyncio.create_task(capture())
        await gate.waited(journal)
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert offsets(published) == [1, 2, 3]
    assert journal.head(A) == 3
    assert offsets(await journal.append(rows(1))) == [4]


async def test_a_loop_of_appends_can_be_cancelled(journal: SqliteJournal, gate: Gate) -> None:
    """A task that awaits nothing but append is cancelled by the second one, before it writes."""
    published: list[Event] = []

    async def capture() -> None:
        while True:
            published.extend(await journal.append(rows(3)))

    with gate.closed(journal):
        task = asyncio.create_task(capture())
        await gate.waited(journal)
        task.cancel()
    async with asyncio.timeout(10):
        await asyncio.wait([task])

    assert task.cancelled()
    assert offsets(published) == [1, 2, 3]
    assert journal.head(A) == 3


async def test_a_timeout_around_append_is_still_a_timeout(journal: SqliteJournal, gate: Gate) -> None:
    """``asyncio.timeout`` recognises its own cancellation although append outlasted it."""
    events: list[Event] = []
    timeout = asyncio.timeout(None)

    async def capture() -> None:
        async with timeout:
            events.extend(await journal.append(rows(2)))
            await asyncio.sleep(60)

    with gate.closed(journal):
        task = asyncio.create_task(capture())
        await gate.waited(journal)
        timeout.reschedule(0)
        await until(timeout.expired)
        assert not task.done()
    with pytest.raises(TimeoutError):
        await task

    assert offsets(events) == [1, 2]


async def test_an_append_cancelled_before_its_turn_writes_nothing(journal: SqliteJournal, gate: Gate) -> None:
    """Cancelled while another commit runs, an append that waits leaves nothing behind."""
    with gate.closed(journal):
        first = asyncio.create_task(journal.append(rows(1)))
        await gate.waited(journal)
        second = asyncio.create_task(journal.append(rows(5)))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
    await first

    assert journal.head(A) == 1
    assert offsets(await journal.append(rows(1))) == [2]
