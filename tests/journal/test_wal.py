from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from journal import wal
from journal.file import BUSY_MS
from journal.sqlite import SqliteJournal
from tests.journal.conftest import OpenJournal
from tests.journal.rows import A, B, offsets, read_all, rows

PAGE = 4096


def size(path: Path) -> int:
    """Bytes of the journal's write-ahead log."""
    return path.with_name("journal.db-wal").stat().st_size


async def append_and_fold(journal: SqliteJournal, batches: int) -> None:
    """Append 100 KB at a time, each time waiting for the folding that may follow."""
    for _ in range(batches):
        await journal.append(rows(100, size=1000))
        await asyncio.wrap_future(journal._thread.submit(lambda: None))


async def test_the_log_stays_short(journal: SqliteJournal, path: Path) -> None:
    """The log is folded back when it has grown by a thousand pages, and then starts anew: 10 MB leave it below 5."""
    await append_and_fold(journal, 100)

    assert size(path) < 1.3 * wal.FOLD_PAGES * PAGE
    assert path.stat().st_size > 5 << 20


class Recorder:
    """A connection that notes how its log was folded: whether to wait for readers, and for how long at most."""

    def __init__(self, connection: apsw.Connection, waiting: Callable[[], object] = int) -> None:
        self._connection = connection
        self._waiting = waiting
        self.timeout = BUSY_MS
        self.waited: list[int] = []

    def set_busy_timeout(self, milliseconds: int) -> None:
        """As the connection does it."""
        self.timeout = milliseconds
        self._connection.set_busy_timeout(milliseconds)

    def wal_checkpoint(self, *, mode: int) -> None:
        """As the connection does it."""
        if mode == apsw.SQLITE_CHECKPOINT_RESTART:
            self.waited.append(self.timeout)
            self._waiting()
        self._connection.wal_checkpoint(mode=mode)


async def test_a_long_log_waits_for_its_readers(
    open_journal: OpenJournal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader keeps the log from starting anew; grown long, it waits until that reader has moved on, and does."""
    monkeypatch.setattr(wal, "FOLD_PAGES", 50)
    monkeypatch.setattr(wal, "LONG_PAGES", 200)
    monkeypatch.setattr(wal, "WAIT_MS", 10_000)
    journal = await open_journal()
    await journal.append(rows(1))
    reader = apsw.Connection(str(path))
    reader.execute("BEGIN; SELECT count(*) FROM event").fetchall()
    moved_on = threading.Thread(target=lambda: reader.execute("COMMIT"))
    recorder: Any = Recorder(journal._writer._connection, moved_on.start)
    journal._writer.wal._connection = recorder

    while not recorder.waited and journal.head(A) < 10_000:
        await append_and_fold(journal, 1)
    long = journal._writer.wal._pages
    await append_and_fold(journal, 1)
    if moved_on.ident:
        moved_on.join()
    reader.close()

    assert long >= 200
    assert journal._writer.wal._pages < 50


async def test_a_shell_left_open_does_not_hold_up_the_writer(
    open_journal: OpenJournal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another program keeps a read transaction open the log grows and appends go on; then it starts anew.

    The writer waits for it a moment at a time, and ever more seldom.
    """
    monkeypatch.setattr(wal, "FOLD_PAGES", 50)
    monkeypatch.setattr(wal, "LONG_PAGES", 200)
    journal = await open_journal()
    recorder: Any = Recorder(journal._writer._connection)
    journal._writer.wal._connection = recorder
    await journal.append(rows(1))
    shell = apsw.Connection(str(path))
    shell.execute("BEGIN")
    shell.execute("SELECT count(*) FROM event").fetchall()

    await append_and_fold(journal, 40)
    assert size(path) > 4 << 20
    assert set(recorder.waited) == {wal.WAIT_MS}
    assert 1 <= len(recorder.waited) <= 4
    assert recorder.timeout == BUSY_MS
    shell.execute("COMMIT")
    shell.close()
    await append_and_fold(journal, 40)

    assert journal._writer.wal._pages < 200
    assert offsets(await read_all(journal)) == list(range(1, 8002))


async def test_room_for_the_log_is_taken_beforehand(journal: SqliteJournal, path: Path, tmp_path: Path) -> None:
    """The log is as long as it will be, and commits leave it so; what is in it outlives the process all the same."""
    await journal.append(rows(3))
    await journal.reserve()
    await journal.append(rows(4))
    assert size(path) == wal.RESERVED

    await assert_survives_a_kill(journal, path, tmp_path, 7)


async def test_room_without_a_commit_in_it_is_an_empty_log(
    open_journal: OpenJournal, path: Path, tmp_path: Path
) -> None:
    """Behind a clean end the next start takes the room anew: zeros alone, until somebody writes a row."""
    first = await open_journal()
    await first.append(rows(7))
    await first.close()
    journal = await open_journal()
    await journal.reserve()
    assert path.with_name("journal.db-wal").read_bytes() == bytes(wal.RESERVED)

    assert journal.epoch == first.epoch
    await assert_survives_a_kill(journal, path, tmp_path, 7)
    await journal.append(rows(3))
    assert size(path) == wal.RESERVED
    await assert_survives_a_kill(journal, path, tmp_path, 10)


async def assert_survives_a_kill(journal: SqliteJournal, path: Path, tmp_path: Path, head: int) -> None:
    """A copy of the files as they are now is the same journal, with all events up to the offset ``head``."""
    killed = tmp_path / "killed"
    killed.mkdir(exist_ok=True)
    for name in ("journal.db", "journal.db-wal", "journal.db.witness"):
        shutil.copy(path.with_name(name), killed)
    again = await SqliteJournal.open(killed / "journal.db", [A, B])
    try:
        assert again.epoch == journal.epoch
        assert offsets(await read_all(again)) == list(range(1, head + 1))
    finally:
        await again.close()


async def test_the_log_starts_anew_in_the_room_it_has(journal: SqliteJournal, path: Path) -> None:
    """Folded back, it is written over from its beginning, and stays as long as it was."""
    await journal.reserve()
    await append_and_fold(journal, 100)

    assert size(path) == wal.RESERVED


async def test_scarce_room_is_left_alone(
    open_journal: OpenJournal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the disk has less than many times as much free, the log grows with what is written."""
    monkeypatch.setattr(wal, "_PLENTY", shutil.disk_usage(path.parent).free)
    journal = await open_journal()
    await journal.reserve()
    await journal.append(rows(1))

    assert size(path) < 100_000
