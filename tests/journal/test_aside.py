"""A damaged journal is set aside whole, and a new one takes its place; a file that was never ours is let alone."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from journal import check
from journal.errors import JournalDamaged
from journal.sqlite import SqliteJournal
from tests.journal.conftest import OpenJournal
from tests.journal.rows import A, offsets, rows
from tests.journal.test_damage import MARK, filled, flip


def overwrite(path: Path) -> None:
    path.write_bytes(b"Dear diary, " * 1000)


def put_a_database(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE photo (name)")
    other.close()


def set_aside_files(path: Path) -> list[Path]:
    return sorted(path.parent.glob("journal.db.damaged-*Z*"))


@pytest.mark.parametrize(
    ("damage", "checkpoint"),
    [
        (lambda path: flip(path, path.read_bytes().index(MARK) + 3), "here"),
        (lambda path: path.write_bytes(path.read_bytes()[:-4096]), None),  # SQLite gives nothing of it
        (lambda path: path.write_bytes(path.read_bytes()[:50]), None),
        (lambda path: flip(path, 3), None),  # SQLite does not know it any more
        (lambda path: flip(path, 70), "here"),  # it does not look like ours any more
        (overwrite, None),
        (put_a_database, None),
    ],
)
async def test_a_damaged_journal_is_replaced(
    open_journal: OpenJournal, path: Path, damage: Callable[[Path], None], checkpoint: str | None
) -> None:
    """Whatever happened to it: kept byte by byte under another name; the new one resumes where it can be read."""
    await filled(open_journal)
    damage(path)
    damaged = path.read_bytes()

    journal = await open_journal(carry_over=str)

    assert (journal.head(A), journal.checkpoint) == (0, checkpoint)
    aside = next(file for file in set_aside_files(path) if file.suffix not in (".db-wal", ".db-shm"))
    assert aside.read_bytes() == damaged
    assert str(aside) in journal.notices[0]
    assert ("resumes" if checkpoint else "log's end") in journal.notices[0]
    assert offsets(await journal.append(rows(2))) == [1, 2]
    epoch = journal.epoch
    await journal.close()
    again = await open_journal(carry_over=str)
    assert (again.epoch, again.head(A), again.notices) == (epoch, 2, ())


async def test_its_log_goes_with_it(open_journal: OpenJournal, path: Path) -> None:
    """What a crash left beside the damaged file belongs to it, and is not replayed into the new one."""
    journal = await open_journal()
    await journal.append(rows(30))
    wal = path.with_name("journal.db-wal").read_bytes()
    await journal.close()
    overwrite(path)
    path.with_name("journal.db-wal").write_bytes(wal)

    journal = await open_journal(carry_over=str)

    assert journal.head(A) == 0
    assert [file.read_bytes() for file in set_aside_files(path) if file.name.endswith("-wal")] == [wal]


async def test_nothing_set_aside_is_overwritten(
    open_journal: OpenJournal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two damages in one second get two names."""
    monkeypatch.setattr("journal.aside.time.strftime", lambda *_: "20261123T081933Z")
    for content in (b"first" * 99, b"second" * 99):
        await (await open_journal(carry_over=str)).close()
        path.write_bytes(content)
    await open_journal(carry_over=str)

    first, second = set_aside_files(path)
    assert (first.name, second.name) == ("journal.db.damaged-20261123T081933Z", "journal.db.damaged-20261123T081933Z-2")
    assert (first.read_bytes(), second.read_bytes()) == (b"first" * 99, b"second" * 99)


@pytest.mark.parametrize("make", [overwrite, put_a_database])
async def test_a_file_that_was_never_ours_is_let_alone(
    open_journal: OpenJournal, path: Path, make: Callable[[Path], None]
) -> None:
    """Without a journal's mark in it and a witness beside it, it is refused and stays."""
    path.touch()
    make(path)
    content = path.read_bytes()

    with pytest.raises(JournalDamaged, match="not a journal"):
        await open_journal(carry_over=str)

    assert path.read_bytes() == content
    assert set_aside_files(path) == []


async def met_while_open(open_journal: OpenJournal, path: Path) -> SqliteJournal:
    """A closed journal in which a reader has met damage that a start does not look for."""
    await filled(open_journal)
    flip(path, path.read_bytes().index(MARK) + 3)
    journal = await open_journal(tail_bytes=0, carry_over=str)
    guard = asyncio.create_task(journal.guard())
    with pytest.raises(JournalDamaged) as read:
        await journal.read(A, 301)
    with pytest.raises(JournalDamaged) as guarded:
        await guard
    assert guarded.value is read.value
    await journal.append(rows(1))  # this must not take the mark away
    await journal.close()
    return journal


async def test_damage_met_while_open_is_found_by_the_next_start(
    open_journal: OpenJournal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guard ends with it, and the next start looks at the whole file, however large, and sets it aside."""
    monkeypatch.setattr(check, "CHECKED_WHOLE", 0)
    journal = await met_while_open(open_journal, path)

    with pytest.raises(JournalDamaged, match="Event 302"):
        await open_journal(tail_bytes=0)
    new = await open_journal(tail_bytes=0, carry_over=str)

    assert (new.epoch != journal.epoch, new.head(A)) == (True, 0)
    assert "Event 302" in new.notices[0]


async def test_a_suspect_journal_that_is_sound_stays(
    open_journal: OpenJournal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Damage that is gone, a flipped bit in memory perhaps, costs nobody the history."""
    monkeypatch.setattr(check, "CHECKED_WHOLE", 0)
    journal = await met_while_open(open_journal, path)
    flip(path, path.read_bytes().index(MARK[:3] + bytes([MARK[3] ^ 1])) + 3)

    found = await open_journal(tail_bytes=0, carry_over=str)

    assert (found.epoch, found.head(A), found.notices) == (journal.epoch, 604, ())
    assert set_aside_files(path) == []
