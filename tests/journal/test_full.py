"""A disk that is full, a disk that fails: nothing of the batch is written, and it may be appended again."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import apsw
import pytest

from journal.errors import JournalBusy, JournalError, JournalFull
from journal.sqlite import SqliteJournal
from journal.types import Transaction
from tests.journal.conftest import OpenJournal
from tests.journal.rows import A, inserts, offsets, read_all, rows


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a small file system can only be mounted by root: " + mounted.stderr.decode().strip())
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def pages_allowed(journal: SqliteJournal, count: int) -> None:
    """Let the file have so many pages and no more."""
    connection = journal._writer._connection
    journal._thread.submit(lambda: connection.execute(f"PRAGMA max_page_count = {count}").fetchall()).result()


async def fill(journal: SqliteJournal, batch: list[Transaction]) -> int:
    """Append a batch again and again until there is no room; the head then."""
    with suppress(JournalFull):
        while journal.head(A) < 10_000:
            await journal.append(batch)
    return journal.head(A)


async def test_a_full_disk_leaves_nothing_behind(journal: SqliteJournal) -> None:
    """When SQLite finds no room, the batch is refused whole; with room again the same batch is appended."""
    await journal.append(rows(10, checkpoint="ten"))
    pages_allowed(journal, 5)

    for _ in range(3):
        with pytest.raises(JournalFull, match="No room") as raised:
            await journal.append(rows(200, size=1000, checkpoint="more"))
        assert raised.value.retry
        assert (journal.head(A), journal.checkpoint) == (10, "ten")
        assert journal.error is raised.value
        assert not journal.writable
    assert offsets(await read_all(journal)) == list(range(1, 11))

    pages_allowed(journal, 1_000_000)
    assert offsets(await journal.append(rows(200, size=1000, checkpoint="more"))) == list(range(11, 211))
    assert (journal.writable, journal.error, journal.checkpoint) == (True, None, "more")


async def test_a_full_file_system(small_disk: Path) -> None:
    """On a real file system without room: refused, still readable, and all right again once there is room."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1 << 20))
    journal = await SqliteJournal.open(small_disk / "journal.db", [A], tail_bytes=0)
    written = await fill(journal, [inserts(b"x" * 100_000)])
    assert 10 < written < 40
    with pytest.raises(JournalFull):
        await journal.append([inserts(b"x" * 100_000)])

    assert offsets(await read_all(journal)) == list(range(1, written + 1))
    ballast.unlink()
    assert offsets(await journal.append([inserts(b"x" * 100_000)])) == [written + 1]
    await journal.close()

    journal = await SqliteJournal.open(small_disk / "journal.db", [A])
    assert journal.head(A) == written + 1
    await journal.close()


async def test_trimming_makes_room_in_a_full_file(open_journal: OpenJournal) -> None:
    """Pages of trimmed events are used again, so a file that may not grow goes on."""
    journal = await open_journal()
    pages_allowed(journal, 300)
    full = await fill(journal, rows(100, size=1000))

    assert await journal.trim(1e9, 500_000) > 0
    assert len(await journal.append(rows(100, size=1000))) == 100
    assert journal.head(A) == full + 100


async def test_opening_on_a_full_file_system(small_disk: Path) -> None:
    """Without room even to open it, new or old, the error is that of a full disk; with room all is there."""
    journal = await SqliteJournal.open(small_disk / "old.db", [A])
    await journal.append(rows(3))
    await journal.close()
    ballast = small_disk / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 12))

    for name in ("old.db", "new.db"):
        with pytest.raises(JournalFull):
            await SqliteJournal.open(small_disk / name, [A])

    ballast.unlink()
    for name, head in (("old.db", 3), ("new.db", 0)):
        journal = await SqliteJournal.open(small_disk / name, [A])
        assert journal.head(A) == head
        await journal.close()


async def test_an_error_of_the_disk_leaves_nothing_behind(journal: SqliteJournal, path: Path) -> None:
    """A write that fails for another reason is a plain error with a hint, and may be tried again too."""
    await journal.append(rows(10))
    limit = path.with_name("journal.db-wal").stat().st_size + 4096
    with file_size_limit(limit), pytest.raises(JournalError, match="File too large") as raised:
        await journal.append(rows(500, size=1000))
    assert not isinstance(raised.value, JournalFull)
    assert raised.value.hint
    assert (journal.head(A), journal.error) == (10, raised.value)

    assert len(await journal.append(rows(500, size=1000))) == 500
    assert journal.writable
    assert offsets(await read_all(journal)) == list(range(1, 511))


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """No file of this process can grow beyond ``size``: the kernel answers EFBIG."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_another_programs_lock_is_said_so(journal: SqliteJournal, path: Path) -> None:
    """A shell left open in a transaction holds up the writer for a while, then the error says what it is."""
    journal._writer._connection.set_busy_timeout(10)
    shell = apsw.Connection(str(path))
    shell.execute("BEGIN IMMEDIATE")

    with pytest.raises(JournalBusy, match="is in use") as raised:
        await journal.append(rows(1))
    assert raised.value.retry
    shell.execute("ROLLBACK")
    shell.close()

    assert offsets(await journal.append(rows(1))) == [1]
