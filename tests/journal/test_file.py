from __future__ import annotations

import errno
import hashlib
import os
import sqlite3
import stat
from pathlib import Path

import apsw
import pytest

from journal.errors import JournalDamaged, JournalError, JournalFull
from journal.file import explained_os
from journal.schema import VERSION
from tests.journal.conftest import OpenJournal
from tests.journal.rows import A, rows


async def test_only_the_owner_may_read_it(open_journal: OpenJournal, path: Path) -> None:
    """The file, its write-ahead log, its lock and its witness are for the account that runs us and nobody else."""
    journal = await open_journal()
    await journal.append(rows(1))

    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert set(modes) == {"journal.db", "journal.db-wal", "journal.db-shm", "journal.db.lock", "journal.db.witness"}
    assert set(modes.values()) == {0o600}


async def test_a_file_of_another_kind_stays_as_it_is(open_journal: OpenJournal, path: Path) -> None:
    """A text file where the journal should be is refused by name, with what to do, and not touched."""
    path.write_bytes(b"Dear diary, " * 1000)

    with pytest.raises(JournalDamaged, match=r"journal\.db is not a journal: not an SQLite database") as raised:
        await open_journal()

    assert "ROWCAST_JOURNAL_PATH" in raised.value.hint
    assert path.read_bytes() == b"Dear diary, " * 1000


@pytest.mark.parametrize("mode", ["delete", "wal"])
async def test_a_database_of_another_program_stays_as_it_is(open_journal: OpenJournal, path: Path, mode: str) -> None:
    """An SQLite file that is not a journal is refused and not changed by a byte, whatever lies beside it."""
    other = sqlite3.connect(path)
    other.execute(f"PRAGMA journal_mode = {mode}")
    other.execute("CREATE TABLE photo (name)")
    other.commit()
    other.execute("INSERT INTO photo VALUES ('cat')")  # left uncommitted, so that something lies beside it
    before = hashlib.sha256(path.read_bytes()).hexdigest()

    with pytest.raises(JournalDamaged, match="of another program"):
        await open_journal()

    assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    other.commit()
    assert other.execute("SELECT * FROM photo").fetchall() == [("cat",)]
    other.close()


async def test_a_newer_versions_journal_is_refused(open_journal: OpenJournal, path: Path) -> None:
    """Tables of a version to come are not guessed at; the text names both versions."""
    await (await open_journal()).close()
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA user_version = 7")
    connection.close()

    with pytest.raises(JournalError, match=rf"newer version \(tables of version 7; this one knows {VERSION}\)"):
        await open_journal()


async def test_an_older_versions_journal_is_set_aside(open_journal: OpenJournal, path: Path) -> None:
    """Tables of before cannot be served: refused by name, or kept aside while a new journal resumes where it was."""
    journal = await open_journal()
    await journal.append(rows(3, checkpoint="three"))
    await journal.close()
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA user_version = 1")
    connection.close()

    with pytest.raises(JournalDamaged, match=rf"older version \(tables of version 1; this one has {VERSION}\)"):
        await open_journal()
    journal = await open_journal(carry_over=str)

    assert (journal.head(A), journal.checkpoint) == (0, "three")
    assert "older version" in journal.notices[0]


async def test_a_missing_folder_is_said_so(open_journal: OpenJournal, tmp_path: Path, path: Path) -> None:
    """The folder is not made: a mistyped path must not silently start a new life elsewhere."""
    path.parent.rmdir()

    with pytest.raises(JournalError, match="No such file or directory") as raised:
        await open_journal()

    assert "folder exists" in raised.value.hint


async def test_an_empty_file_becomes_a_journal(open_journal: OpenJournal, path: Path) -> None:
    """An empty file, as some tools make beforehand, holds nothing to lose."""
    path.touch()

    assert (await open_journal()).head(A) == 0


async def test_a_crash_while_making_it_does_no_harm(open_journal: OpenJournal, path: Path) -> None:
    """What a process left that died making the journal is no hindrance to the next."""
    path.with_name("journal.db.new").write_bytes(b"half a jour")
    path.with_name("journal.db.new-journal").write_bytes(b"half a transaction")

    await open_journal()

    assert not list(path.parent.glob("*.new*"))


async def test_a_deleted_journal_begins_a_new_life(open_journal: OpenJournal, path: Path) -> None:
    """Without the file the epoch is another, and the old write-ahead log is not replayed into the new file."""
    journal = await open_journal()
    await journal.append(rows(30))
    wal = path.with_name("journal.db-wal").read_bytes()
    old = journal.epoch
    await journal.close()
    path.unlink()
    path.with_name("journal.db-wal").write_bytes(wal)

    journal = await open_journal()

    assert journal.epoch != old
    assert journal.head(A) == 0
    assert path.with_name("journal.db-wal.orphan").read_bytes() == wal


@pytest.mark.parametrize(
    ("number", "kind", "hint"),
    [
        (errno.ENOSPC, JournalFull, "Free space"),
        (errno.EDQUOT, JournalFull, "Free space"),
        (errno.EACCES, JournalError, "rights"),
    ],
)
def test_the_systems_errors_have_hints(path: Path, number: int, kind: type[JournalError], hint: str) -> None:
    """What the operating system says while the file is made becomes an error of ours, naming the file."""
    with pytest.raises(kind, match=r"journal\.db") as raised, explained_os(path):
        raise OSError(number, os.strerror(number))

    assert hint in raised.value.hint
    assert raised.value.retry == (kind is JournalFull)
