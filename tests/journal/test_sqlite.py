from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from journal.errors import JournalError, UnknownChannel
from journal.reader import ReadOnlyJournal
from journal.sqlite import SqliteJournal
from journal.types import GAP, Change, ChannelState, Event, Transaction
from tests.journal.conftest import Clock, OpenJournal
from tests.journal.gate import Gate
from tests.journal.rows import COMMITTED, A, B, inserts, offsets, read_all, rows
from tests.waiting import until


async def test_offsets_are_dense_in_each_channel(journal: SqliteJournal) -> None:
    """Each channel counts 1, 2, 3, … by itself; the events come back in the batch's order."""
    mixed = Transaction([Change(A, "insert", b"1"), Change(B, GAP, b"2"), Change(A, "read", b"3")], "x", COMMITTED)

    first = await journal.append([mixed])
    second = await journal.append([inserts(b"4"), inserts(b"5", channel=B)])

    assert first == [
        Event(A, 1, "insert", b"1", COMMITTED),
        Event(B, 1, "gap", b"2", COMMITTED),
        Event(A, 2, "read", b"3", COMMITTED),
    ]
    assert [(event.channel, event.offset, event.message) for event in second] == [(A, 3, b"4"), (B, 2, b"5")]
    assert (journal.head(A), journal.head(B)) == (3, 2)
    assert journal.channels() == {A: ChannelState(1, 3, 3, 0.3), B: ChannelState(1, 2, 2, 0.2)}


@pytest.mark.parametrize("tail_bytes", [0, 1 << 20])
async def test_what_was_appended_is_read(open_journal: OpenJournal, tail_bytes: int) -> None:
    """Reading gives the very events that append returned, from memory and from disk alike."""
    journal = await open_journal(tail_bytes=tail_bytes)
    messages = [b"{}", '{"ö":"\\u0000"}'.encode(), b"", bytes(range(256)), b"x" * 300_000]
    odd_times = [0.0, 1_700_000_000.0000005, 1_732_345_678.9999994, 1.1]
    batch = [inserts(*messages)] + [inserts(b"{}")._replace(committed=time) for time in odd_times]

    appended = await journal.append(batch)

    assert await read_all(journal) == appended
    assert await read_all(journal, limit=2) == appended


@pytest.mark.parametrize("tail_bytes", [0, 1 << 20])
async def test_what_an_update_changed_is_kept_beside_the_row(open_journal: OpenJournal, tail_bytes: int) -> None:
    """Old values come back with their own event, from memory and from disk alike, and count among the bytes."""
    journal = await open_journal(tail_bytes=tail_bytes)
    changes = [
        Change(A, "insert", b'{"a":1}'),
        Change(A, "update", b'{"a":2}', b'{"a":1}'),
        Change(A, "update", b"", b"x" * 70_000),
        Change(A, "delete", b'{"a":2}'),
    ]

    appended = await journal.append([Transaction(changes, "here", COMMITTED)])

    assert [event.old for event in appended] == [change.old for change in changes]
    assert await read_all(journal) == appended
    assert await read_all(journal, max_bytes=20) == appended
    assert journal.channels()[A].bytes == sum(change.size for change in changes) == 70_028


async def test_the_checkpoint_is_the_last_transactions(journal: SqliteJournal) -> None:
    """A batch moves the checkpoint to that of its last transaction; one without changes moves it alone."""
    assert journal.checkpoint is None
    await journal.append([inserts(b"1", checkpoint="one"), inserts(b"2", checkpoint="two")])
    assert journal.checkpoint == "two"

    assert await journal.append([Transaction([], "three", COMMITTED)]) == []
    assert (journal.checkpoint, journal.head(A)) == ("three", 2)

    assert await journal.append([]) == []
    assert journal.checkpoint == "three"


async def test_everything_survives_a_restart(open_journal: OpenJournal) -> None:
    """Epoch, checkpoint, bounds and events are the same after closing and opening again, and offsets go on."""
    journal = await open_journal()
    appended = await journal.append(rows(50, checkpoint="fifty"))
    before = journal.epoch
    await journal.close()

    again = await open_journal()

    assert (again.epoch, again.checkpoint, again.head(A)) == (before, "fifty", 50)
    assert await read_all(again) == appended
    assert offsets(await again.append([inserts(b"{}")])) == [51]


async def test_head_and_published_move_together(journal: SqliteJournal) -> None:
    """A task that looks at every turn of the loop never finds ``head`` apart from what was published.

    This is what an await between a commit becoming visible and the return of ``append`` would break.
    """
    published = 0
    looks: list[tuple[int, int]] = []

    async def watch() -> None:
        while True:
            looks.append((journal.head(A), published))
            await asyncio.sleep(0)

    watcher = asyncio.create_task(watch())
    for count in range(1, 40):
        events = await journal.append(rows(count))
        published = events[-1].offset
    watcher.cancel()

    assert published == sum(range(1, 40))
    assert len({head for head, _ in looks}) > 10  # it did look in between
    assert [look for look in looks if look[0] != look[1]] == []


async def test_nothing_is_visible_before_it_is_durable(journal: SqliteJournal, path: Path) -> None:
    """At every turn of the loop, another connection to the file already sees whatever ``head`` shows."""
    other = await ReadOnlyJournal.open(path)
    behind: list[tuple[int, int]] = []

    async def watch() -> None:
        while True:
            shown, stored = journal.head(A), other.head(A)
            if stored < shown:
                behind.append((stored, shown))
            await asyncio.sleep(0)

    watcher = asyncio.create_task(watch())
    for _ in range(30):
        await journal.append(rows(10))
    watcher.cancel()
    await other.close()

    assert behind == []


@pytest.mark.parametrize("tail_bytes", [0, 1 << 20])
async def test_nothing_beyond_head_is_read(open_journal: OpenJournal, tail_bytes: int) -> None:
    """Rows whose commit has returned in the writer's thread, but not yet here, are in no page."""
    journal = await open_journal(tail_bytes=tail_bytes)
    await journal.append(rows(5))
    journal._thread.submit(journal._writer.append, rows(3)).result()

    assert offsets(await journal.read(A, 0)) == [1, 2, 3, 4, 5]
    assert await journal.read(A, 5) == []


@pytest.mark.parametrize(("sync", "level"), [("full", 2), ("normal", 1)])
async def test_the_commit_is_synced_as_asked(open_journal: OpenJournal, sync: str, level: int) -> None:
    """By default a commit is on the disk when it returns; `normal` leaves that to the next folding of the log."""
    journal = await open_journal(**({} if sync == "full" else {"sync": sync}))
    connection = journal._writer._connection

    assert journal._thread.submit(lambda: connection.pragma("synchronous")).result() == level
    assert journal._thread.submit(lambda: connection.pragma("journal_mode")).result() == "wal"


async def test_concurrent_appends_take_turns(journal: SqliteJournal) -> None:
    """Batches appended at the same time each get a run of offsets, in the order of the calls."""
    batches = await asyncio.gather(*(journal.append(rows(count)) for count in range(1, 20)))

    assert [offset for batch in batches for offset in offsets(batch)] == list(range(1, 191))
    assert offsets(await read_all(journal)) == list(range(1, 191))


async def test_an_unknown_channel_writes_nothing(journal: SqliteJournal) -> None:
    """A batch with a change for no channel of ours is refused whole, and that is not the disk's fault."""
    with pytest.raises(UnknownChannel):
        await journal.append([inserts(b"1"), inserts(b"2", channel="nobody")])
    for look in (journal.head, journal.floor):
        with pytest.raises(UnknownChannel):
            look("nobody")

    assert (journal.head(A), journal.checkpoint, journal.writable) == (0, None, True)


async def test_a_value_of_the_wrong_kind_writes_nothing(journal: SqliteJournal) -> None:
    """A message that is no bytes is the caller's mistake: nothing is written, and the journal goes on."""
    with pytest.raises(TypeError):
        await journal.append([inserts(b"1"), inserts("text")])  # type: ignore[arg-type]  # the mistake

    assert offsets(await journal.append([inserts(b"1")])) == [1]


async def test_channels_come_and_go_with_the_configuration(open_journal: OpenJournal) -> None:
    """A channel no longer named is not served but kept; a new one starts empty; one that returns goes on."""
    journal = await open_journal([A])
    await journal.append(rows(3))
    await journal.close()

    journal = await open_journal([B])
    assert list(journal.channels()) == [B]
    assert (journal.head(B), journal.floor(B)) == (0, 1)
    with pytest.raises(UnknownChannel):
        await journal.append(rows(1, channel=A))
    await journal.append(rows(1, channel=B))
    await journal.close()

    journal = await open_journal([A, B])
    assert (journal.head(A), journal.head(B)) == (3, 1)
    assert offsets(await journal.append(rows(1))) == [4]


@pytest.mark.parametrize("tail_bytes", [0, 1 << 20])
async def test_pages_are_bounded(open_journal: OpenJournal, tail_bytes: int) -> None:
    """A page holds at most ``limit`` events or ``max_bytes``, but always one; after the head there is none."""
    journal = await open_journal(tail_bytes=tail_bytes)
    await journal.append([inserts(*[b"x" * 100] * 10, b"y" * 10_000, b"z")])

    assert offsets(await journal.read(A, 0, limit=3)) == [1, 2, 3]
    assert offsets(await journal.read(A, 0, limit=0)) == [1]
    assert offsets(await journal.read(A, 2, max_bytes=350)) == [3, 4, 5]
    assert offsets(await journal.read(A, 0, max_bytes=0)) == [1]
    assert offsets(await journal.read(A, 10, max_bytes=350)) == [11]
    assert offsets(await journal.read(A, -5, limit=1)) == [1]
    assert offsets(await journal.read(A, 11)) == [12]
    assert await journal.read(A, 12) == []
    assert await journal.read(A, 2**63) == []


@pytest.mark.parametrize("tail_bytes", [0, 1 << 20])
async def test_follow_waits_for_the_next_append(open_journal: OpenJournal, tail_bytes: int) -> None:
    """A follower gets what is there, then what comes, and ends when the journal is closed."""
    journal = await open_journal(tail_bytes=tail_bytes)
    await journal.append(rows(2))
    seen: list[int] = []

    async def follow() -> None:
        async for events in journal.follow(A, 1):
            seen.extend(offsets(events))

    following = asyncio.create_task(follow())
    for count in range(1, 6):
        await journal.append(rows(count))
        await journal.append(rows(1, channel=B))
    await until(lambda: seen == list(range(2, 18)))
    await journal.close()
    async with asyncio.timeout(10):
        await following


async def test_rate_counts_the_last_ten_seconds(open_journal: OpenJournal, clock: Clock) -> None:
    """The rate is that of the last ten seconds, and zero for a channel where nothing happens."""
    journal = await open_journal(clock=clock)
    await journal.append(rows(100))
    clock.now += 5
    await journal.append(rows(50))
    assert (journal.channels()[A].rate, journal.channels()[B].rate) == (15.0, 0.0)

    clock.now += 6
    assert journal.channels()[A].rate == 5.0
    clock.now += 60
    assert journal.channels()[A].rate == 0.0


async def test_closing_ends_everything(journal: SqliteJournal, path: Path) -> None:
    """After close appends are refused, a second close does nothing, and no write-ahead log is left."""
    await journal.append(rows(1))
    await journal.close()
    await journal.close()

    assert not journal.writable
    with pytest.raises(JournalError, match="closed"):
        await journal.append(rows(1))
    assert {file.name for file in path.parent.iterdir()} == {"journal.db", "journal.db.lock", "journal.db.witness"}


async def test_closing_lets_a_running_append_end(open_journal: OpenJournal, gate: Gate) -> None:
    """A commit under way when close is called is finished and durable."""
    journal = await open_journal()
    with gate.closed(journal):
        appending = asyncio.create_task(journal.append(rows(2)))
        await gate.waited(journal)
        closing = asyncio.create_task(journal.close())
        await asyncio.sleep(0)
    assert offsets(await appending) == [1, 2]
    await closing

    assert (await open_journal()).head(A) == 2


async def test_a_page_meets_a_trim(open_journal: OpenJournal, gate: Gate) -> None:
    """Rows trimmed between the call and its disk read are missing at the front of the page, nowhere else."""
    journal = await open_journal(tail_bytes=0)
    await journal.append(rows(100))
    with gate.closed_to_readers(journal):
        reading = asyncio.create_task(journal.read(A, 0))
        await asyncio.sleep(0)
        await journal.trim(1e9, journal.channels()[A].bytes)
    page = await reading

    assert page[0].offset == journal.floor(A) > 1
    assert offsets(page) == list(range(journal.floor(A), 101))


async def test_a_page_meets_a_trim_of_everything(open_journal: OpenJournal, gate: Gate) -> None:
    """When all was trimmed meanwhile the page is empty, and the floor already says why."""
    journal = await open_journal(tail_bytes=0)
    await journal.append(rows(10))
    with gate.closed_to_readers(journal):
        reading = asyncio.create_task(journal.read(A, 0))
        await asyncio.sleep(0)
        await journal.trim(0, 0)

    assert await reading == []
    assert (journal.floor(A), journal.head(A)) == (11, 10)


async def test_the_end_of_the_file_is_in_memory_after_a_restart(open_journal: OpenJournal) -> None:
    """Those who return after a restart of ours are a moment behind: they read from memory at once."""
    journal = await open_journal()
    appended = await journal.append(rows(2_500))
    await journal.close()

    journal = await open_journal(tail_bytes=2 * 400_000)
    tail = journal._channels[A].tail

    held = tail.read(2_500 - len(tail), 10_000, 1 << 30)
    assert held == appended[-len(tail) :]
    assert 1_000 < len(tail) < 2_500
