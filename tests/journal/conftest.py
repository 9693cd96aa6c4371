from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from journal.sqlite import SqliteJournal
from tests.journal.gate import Gate
from tests.journal.rows import A, B

OpenJournal = Callable[..., Awaitable[SqliteJournal]]


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run every test on plain asyncio and, where it can be had, on uvloop: both are used in the field."""
    try:
        import uvloop
    except ImportError:
        return {"asyncio": asyncio.new_event_loop}
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the test's journal lies."""
    return tmp_path / "journal.db"


@pytest.fixture
async def open_journal(path: Path) -> AsyncIterator[OpenJournal]:
    """Opens the journal at ``path``, and closes what the test left open."""
    opened: list[SqliteJournal] = []

    async def open_it(channels: Sequence[str] = (A, B), **settings: Any) -> SqliteJournal:
        opened.append(await SqliteJournal.open(path, channels, **settings))
        return opened[-1]

    yield open_it
    for journal in opened:
        await journal.close()


@pytest.fixture
async def journal(open_journal: OpenJournal) -> SqliteJournal:
    """An open journal, new and empty."""
    return await open_journal()


class Clock:
    """A clock that moves when told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A monotonic clock in the test's hands."""
    return Clock()


@pytest.fixture
def gate() -> Gate:
    """Holds the journal's threads."""
    return Gate()
