from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import pytest

from journal.errors import JournalDamaged, JournalError, UnknownChannel
from journal.reader import ReadOnlyJournal, describe
from journal.schema import VERSION
from journal.sqlite import SqliteJournal
from journal.types import ChannelState, Event
from tests.journal.conftest import OpenJournal
from tests.journal.rows import A, B, offsets, rows
from tests.waiting import until


async def test_it_sees_what_the_owner_commits(journal: SqliteJournal, path: Path) -> None:
    """Bounds, checkpoint and events are those of the owner's last commit, at every look."""
    other = await ReadOnlyJournal.open(path)
    assert (other.epoch, other.checkpoint) == (journal.epoch, None)
    assert other.channels() == {A: ChannelState(1, 0, 0, 0.0), B: ChannelState(1, 0, 0, 0.0)}

    first = await journal.append(rows(30, checkpoint="thirty"))
    assert (other.head(A), other.checkpoint) == (30, "thirty")
    assert await other.read(A, 0) == first
    assert await other.read(A, 10, limit=5) == first[10:15]
    assert await other.read(A, 30) == []

    await journal.trim(1e9, 1000)
    assert other.floor(A) == journal.floor(A) > 1
    assert (await other.read(A, 0))[0].offset == journal.floor(A)
    with pytest.raises(UnknownChannel):
        other.head("nobody")
    await other.close()


async def test_it_follows(journal: SqliteJournal, path: Path) -> None:
    """A follower in another process gets what is there and what comes."""
    other = await ReadOnlyJournal.open(path)
    await journal.append(rows(5))
    seen: list[Event] = []

    async def follow() -> None:
        async for events in other.follow(A, 2, interval=0.001):
            seen.extend(events)

    following = asyncio.create_task(follow())
    await until(lambda: offsets(seen) == [3, 4, 5])
    await journal.append(rows(2))
    await until(lambda: offsets(seen) == [3, 4, 5, 6, 7])
    following.cancel()
    await asyncio.wait([following])
    await other.close()


async def test_it_waits_for_an_arrival(journal: SqliteJournal, path: Path) -> None:
    """Whoever waits hears of the owner's next commit; closed meanwhile, it raises instead of waiting for ever."""
    other = await ReadOnlyJournal.open(path)
    arrival = asyncio.create_task(other.arrival(A, 0, interval=0.001))
    await asyncio.sleep(0)
    assert not arrival.done()
    await journal.append(rows(1))
    await asyncio.wait_for(arrival, 10)
    waiting = asyncio.create_task(other.arrival(A, 1, interval=0.001))
    await asyncio.sleep(0)
    await other.close()
    with pytest.raises(JournalError):
        await asyncio.wait_for(waiting, 10)
    with pytest.raises(JournalError):
        await other.read(A, 0)


async def test_no_journal_is_said_so(path: Path) -> None:
    """Where there is no journal the error names the path, and no file is made."""
    for ask in (ReadOnlyJournal.open, lambda path: asyncio.to_thread(describe, path)):
        with pytest.raises(JournalError, match=r"There is no journal at .*journal\.db") as raised:
            await ask(path)
        assert "ROWCAST_JOURNAL_PATH" in raised.value.hint
    assert not list(path.parent.iterdir())


async def test_a_replaced_file_is_noticed(journal: SqliteJournal, path: Path) -> None:
    """When the file was moved away, the old one is not read on in silence."""
    other = await ReadOnlyJournal.open(path)
    await journal.append(rows(1))
    path.rename(path.with_name("aside.db"))

    with pytest.raises(JournalDamaged, match="replaced"):
        other.head(A)
    await other.close()
    path.with_name("aside.db").rename(path)


async def test_describe_with_and_without_an_owner(open_journal: OpenJournal, path: Path) -> None:
    """`rowcast journal info` has the same to tell while the owner runs, after it ended, and after it was killed."""
    journal = await open_journal()
    await journal.append(rows(40, checkpoint="forty"))
    wal = path.with_name("journal.db-wal")

    running = describe(path)
    killed = path.with_name("killed.db")
    killed.write_bytes(path.read_bytes())
    killed.with_name("killed.db-wal").write_bytes(wal.read_bytes())
    await journal.close()
    ended = describe(path)

    assert running.epoch == journal.epoch
    assert running.checkpoint == "forty"
    assert running.channels[A] == ChannelState(1, 40, journal.channels()[A].bytes, 0.0)
    assert running.version == VERSION
    assert running.created > 1_700_000_000
    assert running.file_bytes > ended.file_bytes == path.stat().st_size
    for other in (ended, describe(killed)):
        assert other._replace(path=path, file_bytes=0) == running._replace(file_bytes=0)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_a_file_that_may_not_be_read_is_said_so(open_journal: OpenJournal, path: Path) -> None:
    """Another account gets an error that speaks of rights."""
    await (await open_journal()).close()
    path.chmod(stat.S_IWUSR)

    with pytest.raises(JournalError) as raised:
        describe(path)

    assert "rights" in raised.value.hint
