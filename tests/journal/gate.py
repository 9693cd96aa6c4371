"""Holds a journal's threads at a gate, so that a test can act while a commit or a page is under way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from journal.sqlite import SqliteJournal
from tests.waiting import until


class Gate:
    """Open at first; work submitted while it is closed stands behind it."""

    def __init__(self) -> None:
        self._opened = threading.Event()

    @contextmanager
    def closed(self, journal: SqliteJournal) -> Iterator[None]:
        """Hold the writer's thread until the block ends or ``open`` is called."""
        with self._holding(journal._thread, 1):
            yield

    @contextmanager
    def closed_to_readers(self, journal: SqliteJournal) -> Iterator[None]:
        """Hold the reader threads."""
        with self._holding(journal._pages._threads, 2):
            yield

    def open(self) -> None:
        """Let the thread go on."""
        self._opened.set()

    async def waited(self, journal: SqliteJournal) -> None:
        """Return once a commit stands behind the closed gate."""
        await until(journal._thread._work_queue.qsize)

    @contextmanager
    def _holding(self, threads: ThreadPoolExecutor, count: int) -> Iterator[None]:
        self._opened.clear()
        held = threading.Barrier(count + 1)

        def hold() -> None:
            held.wait(10)
            self._opened.wait(10)

        for _ in range(count):
            threads.submit(hold)
        held.wait(10)
        try:
            yield
        finally:
            self._opened.set()
