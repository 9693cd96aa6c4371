"""Clients that are ahead of the journal: a new epoch begins before an offset is given again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from journal.errors import JournalFull, JournalReplaced
from journal.reader import ReadOnlyJournal
from journal.schema import MAX_OFFSET
from journal.sqlite import SqliteJournal
from tests.journal.conftest import OpenJournal
from tests.journal.gate import Gate
from tests.journal.rows import A, B, offsets, read_all, rows
from tests.waiting import until


@pytest.fixture
async def restored(open_journal: OpenJournal) -> SqliteJournal:
    """An open journal of ten events that was found, not made."""
    journal = await open_journal()
    await journal.append(rows(10))
    await journal.close()
    return await open_journal(tail_bytes=0)


async def test_the_guard_begins_a_new_epoch(restored: SqliteJournal, path: Path) -> None:
    """At once and for good: events and offsets stay, readers go on, and a second claim is not believed."""
    old, events = restored.epoch, await read_all(restored)
    guard = asyncio.create_task(restored.guard())
    assert restored.doubt(A, 15)
    await until(lambda: restored.epoch != old)

    assert await read_all(restored) == events
    assert not restored.doubt(A, 15)
    assert offsets(await restored.append(rows(1))) == [11]
    assert not guard.done()
    guard.cancel()
    new = restored.epoch
    await restored.close()
    found = await SqliteJournal.open(path, [A, B])
    assert (found.epoch, found.head(A), found.notices) == (new, 11, ())
    await found.close()


async def test_a_new_epoch_is_heard_of_by_whoever_waits(restored: SqliteJournal) -> None:
    """Readers that wait for an event look again, for what they hold is of an epoch that is over."""
    old, waiting = restored.epoch, asyncio.create_task(restored.arrival(A, 10))
    guard = asyncio.create_task(restored.guard())
    assert restored.doubt(A, 15)
    await asyncio.wait_for(waiting, 10)
    assert restored.epoch != old
    guard.cancel()


async def test_no_append_comes_before_the_new_epoch(restored: SqliteJournal) -> None:
    """The next append waits for it; ``renewed`` is called when the epoch is there and the events are not."""
    old, seen = restored.epoch, []
    restored.renewed = lambda: seen.append((restored.epoch != old, restored.head(A)))
    assert restored.doubt(A, 11)

    assert offsets(await restored.append(rows(3))) == [11, 12, 13]
    assert seen == [(True, 10)]


async def test_an_offset_on_its_way_is_no_proof(restored: SqliteJournal, gate: Gate) -> None:
    """What another process has read of a commit that is not visible here yet was given by us all the same."""
    old = restored.epoch
    with gate.closed(restored):
        appending = asyncio.create_task(restored.append(rows(5)))
        await gate.waited(restored)
        assert restored.doubt(A, 15)
    await appending
    await restored.append(rows(1))

    assert restored.epoch == old


async def test_a_journal_just_made_is_never_in_doubt(journal: SqliteJournal) -> None:
    """An epoch that began under our eyes gave nothing that we do not know."""
    assert not journal.doubt(A, 11)


async def test_an_impossible_offset_is_not_believed(restored: SqliteJournal) -> None:
    """No journal gives an offset as large as this."""
    assert restored.doubt(A, MAX_OFFSET)
    assert not restored.doubt(A, MAX_OFFSET + 1)


async def test_without_room_nothing_is_appended_in_doubt(
    restored: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new epoch that cannot be written keeps the append from happening; both come about when there is room."""
    old, attempts = restored.epoch, []

    def full(epoch: str) -> None:
        attempts.append(epoch)
        raise JournalFull("No room.")

    guard = asyncio.create_task(restored.guard())
    with monkeypatch.context() as patch:
        patch.setattr(restored._writer, "renew", full)
        restored.doubt(A, 15)
        with pytest.raises(JournalFull):
            await restored.append(rows(1))
        await until(lambda: len(attempts) == 2)  # the append's and the guard's
        assert (restored.epoch, restored.head(A), restored.writable) == (old, 10, False)
    await restored.append(rows(1))

    assert restored.epoch != old
    assert restored.writable
    assert not guard.done()
    guard.cancel()


async def test_a_reader_in_another_process_opens_it_again(restored: SqliteJournal, path: Path) -> None:
    """Who reads the file from outside is told that the epoch it knows is over."""
    reader = await ReadOnlyJournal.open(path)
    assert reader.head(A) == 10
    restored.doubt(A, 15)
    await restored.append(rows(1))

    with pytest.raises(JournalReplaced, match="new epoch"):
        reader.head(A)
    await reader.close()
