from __future__ import annotations

import asyncio
from pathlib import Path

import apsw
import pytest

from journal import wal
from journal.sqlite import SqliteJournal
from tests.journal.conftest import OpenJournal
from tests.journal.rows import A, offsets, read_all, rows

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


async def test_readers_that_overlap_do_not_let_it_grow(
    open_journal: OpenJournal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With pages being read at every moment, a log that has grown long waits for a gap and starts anew."""
    monkeypatch.setattr(wal, "FOLD_PAGES", 50)
    monkeypatch.setattr(wal, "LONG_PAGES", 200)
    journal = await open_journal(tail_bytes=0)
    await journal.append(rows(1000, size=1000))
    reading = True

    async def read() -> None:
        while reading:
            await journal.read(A, 0)

    readers = asyncio.gather(*(read() for _ in range(4)))
    await append_and_fold(journal, 60)
    reading = False
    await readers

    assert size(path) < 4 << 20  # of the 7 MB that went through it


async def test_a_shell_left_open_does_not_hold_up_the_writer(
    journal: SqliteJournal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another program keeps a read transaction open the log grows and appends go on; afterwards it is folded."""
    monkeypatch.setattr(wal, "FOLD_PAGES", 50)
    monkeypatch.setattr(wal, "LONG_PAGES", 200)
    await journal.append(rows(1))
    shell = apsw.Connection(str(path))
    shell.execute("BEGIN")
    shell.execute("SELECT count(*) FROM event").fetchall()

    async with asyncio.timeout(20):  # waiting five seconds each time, it would take a minute
        await append_and_fold(journal, 40)
    assert size(path) > 4 << 20
    shell.execute("COMMIT")
    shell.close()
    await append_and_fold(journal, 40)

    assert journal._writer.wal._pages < 200
    assert offsets(await read_all(journal)) == list(range(1, 8002))
