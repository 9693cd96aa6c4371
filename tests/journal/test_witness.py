"""The witness beside the journal: an older copy never goes on in the name of the newer one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from journal.sqlite import SqliteJournal
from journal.witness import hear
from tests.journal.conftest import OpenJournal
from tests.journal.rows import A, B, offsets, read_all, rows


def witness(path: Path) -> Path:
    return path.with_name("journal.db.witness")


async def test_a_restart_keeps_the_epoch(open_journal: OpenJournal, path: Path) -> None:
    """Appended to, trimmed, given another channel and moved with its witness, the journal is still the same."""
    journal = await open_journal([A])
    await journal.append(rows(20))
    await journal.trim(0, 0)
    await journal.close()
    journal = await open_journal([A, B])
    await journal.append(rows(5, channel=B))
    epoch = journal.epoch
    await journal.close()
    moved = path.with_name("moved.db")
    path.rename(moved)
    witness(path).rename(moved.with_name("moved.db.witness"))

    journal = await SqliteJournal.open(moved, [A, B])
    assert (journal.epoch, journal.notices) == (epoch, ())
    await journal.close()


async def test_an_older_copy_gets_a_new_epoch(open_journal: OpenJournal, path: Path) -> None:
    """Restored from a backup, the journal goes on with its offsets, but in a life of its own, and says why."""
    journal = await open_journal()
    before = await journal.append(rows(10, checkpoint="ten"))
    await journal.close()
    backup = path.read_bytes()
    journal = await open_journal()
    await journal.append(rows(10, checkpoint="twenty"))
    old = journal.epoch
    await journal.close()
    path.write_bytes(backup)

    journal = await open_journal()

    assert journal.epoch != old
    assert "older copy: 10 events were ever in it, and 20" in journal.notices[0]
    assert (await read_all(journal), journal.checkpoint) == (before, "ten")
    assert offsets(await journal.append(rows(1))) == [11]
    new = journal.epoch
    await journal.close()
    assert (await open_journal()).epoch == new


@pytest.mark.parametrize("keep", [0.0, 0.4, 0.9])
async def test_a_lost_end_of_the_log_is_an_older_copy(
    open_journal: OpenJournal, path: Path, tmp_path: Path, keep: float
) -> None:
    """SQLite takes a write-ahead log that was cut short for one that ended there; the witness knows better."""
    journal = await open_journal()
    for _ in range(20):
        await journal.append(rows(5, size=500))
    old, wal = journal.epoch, path.with_name("journal.db-wal")
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for file in (path, witness(path)):
        shutil.copy(file, crashed)
    (crashed / wal.name).write_bytes(wal.read_bytes()[: int(wal.stat().st_size * keep)])

    found = await SqliteJournal.open(crashed / path.name, [A, B])
    assert found.head(A) < 100
    assert found.epoch != old
    await found.close()


async def test_a_copy_as_of_a_kill_keeps_the_epoch(open_journal: OpenJournal, path: Path, tmp_path: Path) -> None:
    """The same files whole, as a killed process leaves them, are no older copy."""
    journal = await open_journal()
    await journal.append(rows(100))
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for file in (path, witness(path), path.with_name("journal.db-wal")):
        shutil.copy(file, crashed)

    found = await SqliteJournal.open(crashed / path.name, [A, B])
    assert (found.epoch, found.head(A), found.notices) == (journal.epoch, 100, ())
    await found.close()


async def test_without_a_witness_nothing_is_shown(open_journal: OpenJournal, path: Path) -> None:
    """A journal that came alone may be an old one: it gets a new epoch."""
    journal = await open_journal()
    await journal.append(rows(10))
    await journal.close()
    witness(path).unlink()

    found = await open_journal()

    assert found.epoch != journal.epoch
    assert "no witness" in found.notices[0]


async def test_a_journal_of_a_former_life_gets_a_new_epoch(open_journal: OpenJournal, path: Path) -> None:
    """A former journal put back in the place of its successor is another once more, even when it is empty."""
    journal = await open_journal()
    await journal.close()
    former = path.read_bytes()
    path.unlink()
    later = await open_journal()
    await later.close()
    path.write_bytes(former)

    found = await open_journal()

    assert found.epoch not in (journal.epoch, later.epoch)
    assert f"the last one here was of {later.epoch}" in found.notices[0]


async def test_no_flipped_bit_makes_a_witness_trusted(open_journal: OpenJournal, path: Path) -> None:
    """A damaged witness is none."""
    journal = await open_journal()
    await journal.append(rows(10))
    await journal.close()
    said = witness(path).read_bytes()
    testimony = hear(path)
    assert testimony == (journal.epoch, 10, False)
    for position in range(len(said)):
        for bit in range(8):
            content = bytearray(said)
            content[position] ^= 1 << bit
            witness(path).write_bytes(content)
            assert hear(path) is None
    witness(path).write_bytes(said[:20])
    assert hear(path) is None


async def test_a_witness_that_cannot_be_written_does_no_harm(
    open_journal: OpenJournal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays behind the journal, which is not held up, and keeps its epoch."""
    journal = await open_journal()

    def refuse(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.pwrite", refuse)
        await journal.append(rows(10))
    await journal.close()

    assert hear(path) == (journal.epoch, 0, False)
    found = await open_journal()
    assert (found.epoch, found.head(A), found.notices) == (journal.epoch, 10, ())
