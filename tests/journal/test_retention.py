from __future__ import annotations

import asyncio

import pytest

from journal.retention import STEP_BYTES, STEP_EVENTS
from journal.schema import ROW_OVERHEAD
from journal.sqlite import SqliteJournal
from tests.journal.conftest import Clock, OpenJournal
from tests.journal.gate import Gate
from tests.journal.rows import A, B, inserts, offsets, read_all, rows

HOUR = 3600.0
FOREVER = 1e9
ANY_SIZE = 1 << 60


async def test_events_go_by_age(open_journal: OpenJournal, clock: Clock) -> None:
    """Events leave when they have been in the journal longer than is kept, in every channel, not before."""
    journal = await open_journal(clock=clock)
    await journal.append(rows(10) + rows(3, channel=B))
    clock.now += HOUR
    await journal.append(rows(5))

    assert await journal.trim(HOUR + 1, ANY_SIZE) == 0
    assert await journal.trim(HOUR, ANY_SIZE) == 13
    assert (journal.floor(A), journal.head(A)) == (11, 15)
    assert (journal.floor(B), journal.head(B)) == (4, 3)
    assert offsets(await read_all(journal)) == list(range(11, 16))


async def test_events_go_by_size(open_journal: OpenJournal) -> None:
    """The oldest of the largest channel go until the journal fits; a quiet channel keeps its history."""
    journal = await open_journal(tail_bytes=0)
    quiet = await journal.append(rows(20, size=500, channel=B))
    for _ in range(30):
        await journal.append(rows(100, size=500))

    await journal.trim(FOREVER, 500_000)

    kept = journal.channels()[A]
    stored = sum(state.bytes + ROW_OVERHEAD * (state.head - state.floor + 1) for state in journal.channels().values())
    assert 490_000 < stored <= 500_000
    assert await read_all(journal, B) == quiet
    assert offsets(await read_all(journal)) == list(range(kept.floor, 3001))
    assert await journal.trim(FOREVER, 500_000) == 0


async def test_offsets_go_on_after_everything_went(open_journal: OpenJournal) -> None:
    """No offset is given twice: after a trim of everything and a restart the next is the old head plus one."""
    journal = await open_journal()
    await journal.append(rows(2_500))
    assert await journal.trim(0, 0) == 2_500
    assert (journal.floor(A), journal.head(A), journal.channels()[A].bytes) == (2_501, 2_500, 0)
    assert len(journal._channels[A].tail) == 0
    assert await journal.read(A, 0) == []
    await journal.close()

    journal = await open_journal()
    assert (journal.floor(A), journal.head(A)) == (2_501, 2_500)
    assert offsets(await journal.append(rows(1))) == [2_501]
    assert offsets(await journal.read(A, 0)) == [2_501]


async def test_no_clock_makes_it_storm(
    open_journal: OpenJournal, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wall clock a day ahead or back, of ours or of the source's, changes nothing about what is kept."""
    journal = await open_journal(clock=clock)
    for day in (0, +1, -1, -7000):
        monkeypatch.setattr("time.time", lambda day=day: 1_732_345_678.0 + day * 86_400)
        batch = [transaction._replace(committed=1_732_345_678.0 + day * 86_400) for transaction in rows(10)]
        await journal.append(batch)
        clock.now += 60
        assert await journal.trim(HOUR, ANY_SIZE) == 0
    assert journal.floor(A) == 1


async def test_age_goes_on_after_a_restart(open_journal: OpenJournal, clock: Clock) -> None:
    """Age is time the journal was open, all runs together: neither lost at a restart nor counted while it is down."""
    journal = await open_journal(clock=clock)
    await journal.append(rows(10))
    clock.now += HOUR / 2
    await journal.trim(HOUR, ANY_SIZE)  # a quiet journal notes its age as retention passes by
    await journal.close()

    clock.now = 5.0  # the machine was started anew, and its monotonic clock with it
    journal = await open_journal(clock=clock)
    assert await journal.trim(HOUR, ANY_SIZE) == 0
    clock.now += HOUR / 2 - 1
    assert await journal.trim(HOUR, ANY_SIZE) == 0
    clock.now += 1
    assert await journal.trim(HOUR, ANY_SIZE) == 10


async def test_a_channel_no_longer_served_is_trimmed(open_journal: OpenJournal, clock: Clock) -> None:
    """Nobody reads a channel taken out of the configuration, but it must not hold its room for ever."""
    journal = await open_journal([A, B], clock=clock)
    await journal.append(rows(10, channel=B))
    await journal.close()
    journal = await open_journal([A], clock=clock)
    clock.now += HOUR

    assert await journal.trim(HOUR, ANY_SIZE) == 10


@pytest.mark.parametrize(("count", "size", "steps"), [(3 * STEP_EVENTS, 30, 3), (16, STEP_BYTES // 4, 4)])
@pytest.mark.parametrize("keep", [(0, ANY_SIZE), (FOREVER, 0)])
async def test_steps_are_small(
    open_journal: OpenJournal, count: int, size: int, steps: int, keep: tuple[float, int]
) -> None:
    """One commit takes out a bounded number of events and bytes, and the floor is in memory after each."""
    journal = await open_journal(tail_bytes=0)
    await journal.append(rows(count, size=size))
    floors = {journal.floor(A)}

    trimming = asyncio.create_task(journal.trim(*keep))
    while not trimming.done():
        floors.add(journal.floor(A))
        await asyncio.sleep(0)

    assert await trimming == count
    assert len(floors) == steps + 1


async def test_appends_go_between_the_steps(open_journal: OpenJournal, gate: Gate) -> None:
    """An append that waits takes its turn after one step of a long trim, not after the whole of it."""
    journal = await open_journal(tail_bytes=0)
    await journal.append(rows(20 * STEP_EVENTS))
    with gate.closed(journal):
        trimming = asyncio.create_task(journal.trim(0, 0))
        await gate.waited(journal)
        appending = asyncio.create_task(journal.append(rows(1)))
        await asyncio.sleep(0)

    await appending
    assert journal.floor(A) <= 2 * STEP_EVENTS + 1
    await trimming


async def test_a_cancelled_trim_ends_after_its_step(journal: SqliteJournal, gate: Gate) -> None:
    """What the step under way took out is known; the rest is still there."""
    await journal.append(rows(3 * STEP_EVENTS))
    with gate.closed(journal):
        trimming = asyncio.create_task(journal.trim(0, 0))
        await gate.waited(journal)
        trimming.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await trimming

    assert journal.floor(A) == STEP_EVENTS + 1
    assert len(await read_all(journal)) == 2 * STEP_EVENTS


async def test_the_files_room_is_used_again(open_journal: OpenJournal) -> None:
    """With retention by size the file stops growing: freed pages take the events to come."""
    journal = await open_journal()
    sizes = []
    for _ in range(12):
        for _ in range(5):
            await journal.append([inserts(*[b"x" * 1000] * 200)])
        await journal.trim(FOREVER, 1_000_000)
        await journal.close()
        sizes.append(journal._writer.path.stat().st_size)
        journal = await open_journal()

    assert max(sizes[3:]) <= sizes[2] * 1.05
    assert max(sizes) < 3_000_000
