"""A transaction that is too large to be held comes in pieces, and is seen whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from journal.errors import JournalError, JournalFull
from journal.reader import ReadOnlyJournal
from journal.sqlite import SqliteJournal
from journal.types import FIRST, INSERT, LAST, NEXT, Change, Transaction
from tests.journal.conftest import Clock, OpenJournal
from tests.journal.rows import A, B, inserts, offsets, read_all, rows
from tests.journal.test_full import pages_allowed


def first(*messages: bytes, channel: str = A) -> Transaction:
    return inserts(*messages, channel=channel)._replace(checkpoint="", part=FIRST)


def piece(*messages: bytes, channel: str = A) -> Transaction:
    return inserts(*messages, channel=channel)._replace(checkpoint="", part=NEXT)


def last(*messages: bytes, checkpoint: str = "there") -> Transaction:
    return inserts(*messages, checkpoint=checkpoint)._replace(part=LAST)


async def test_nothing_is_visible_before_the_last_piece(journal: SqliteJournal, path: Path) -> None:
    """Neither here nor to another process; then everything is, with the checkpoint, and in order."""
    await journal.append([inserts(b"1", checkpoint="here")])
    assert await journal.append([first(b"2")]) == []
    assert await journal.append([piece(b"3")]) == []
    assert await journal.append([piece(b"1", b"2", channel=B)]) == []
    other = await ReadOnlyJournal.open(path)
    for reader in (journal, other):
        assert (reader.head(A), reader.head(B), reader.checkpoint) == (1, 0, "here")
        assert offsets(await reader.read(A, 0)) == [1]
        assert await reader.read(B, 0) == []
    await journal.append([last(b"4")])
    for reader in (journal, other):
        assert (reader.head(A), reader.head(B), reader.checkpoint) == (4, 2, "there")
        assert [event.message for event in await reader.read(A, 0)] == [b"1", b"2", b"3", b"4"]
        assert offsets(await reader.read(B, 0)) == [1, 2]
    await other.close()
    assert journal.channels()[A].bytes == 4


async def test_of_earlier_pieces_only_the_newest_event_is_in_memory(journal: SqliteJournal) -> None:
    """``append`` gives each channel's newest one, so that every channel is told; the rest is read from disk."""
    await journal.append(rows(5))
    await journal.append([first(b"6", b"7"), piece(b"1", b"2", channel=B)])
    await journal.append([piece(b"8", b"9")])
    events = await journal.append([piece(b"10"), last(b"11"), inserts(b"12")])
    assert [(event.channel, event.offset) for event in events] == [(A, 9), (B, 2), (A, 10), (A, 11), (A, 12)]
    assert len(journal._channels[A].tail) == 4
    assert offsets(await read_all(journal)) == list(range(1, 13))


async def test_withdrawn_pieces_leave_nothing_behind(open_journal: OpenJournal) -> None:
    """Their offsets are given again, and a transaction that begins in pieces anew is whole."""
    journal = await open_journal()
    await journal.append([inserts(b"1")])
    await journal.append([first(b"old"), piece(b"old", channel=B)])
    await journal.withdraw()
    await journal.withdraw()
    await journal.append([inserts(b"2")])
    await journal.append([first(b"3")])
    await journal.append([last()])
    assert [event.message for event in await read_all(journal)] == [b"1", b"2", b"3"]
    assert journal.head(B) == 0
    await journal.close()
    assert [event.message for event in await read_all(await open_journal())] == [b"1", b"2", b"3"]


async def test_a_restart_cannot_go_on_with_them(open_journal: OpenJournal) -> None:
    """The file is sound, its visible end where it was; a further piece is refused, and a new transaction is whole."""
    journal = await open_journal()
    await journal.append([first(b"1"), piece(b"1", channel=B)])
    await journal.close()
    journal = await open_journal()
    assert (journal.head(A), journal.head(B), journal.checkpoint) == (0, 0, None)
    for transaction in (piece(b"2"), last(b"2")):
        with pytest.raises(JournalError, match="before a restart"):
            await journal.append([transaction])
    await journal.append([first(b"new")])
    await journal.append([last(b"end")])
    assert [event.message for event in await read_all(journal)] == [b"new", b"end"]
    assert journal.head(B) == 0


@pytest.mark.parametrize("other", [inserts(b"2", b"3"), first(b"2", b"3")])
@pytest.mark.parametrize("together", [True, False])
async def test_other_changes_show_that_the_last_never_comes(
    journal: SqliteJournal, other: Transaction, together: bool
) -> None:
    """Pieces are forgotten when another transaction begins, in the same batch or a later one."""
    begun = [inserts(b"1"), first(b"old", b"old", b"old"), piece(b"old", channel=B)]
    for batch in [[*begun, other]] if together else [begun, [other]]:
        await journal.append(batch)
    await journal.append([last(b"4")] if other.part == FIRST else [inserts(b"4")])
    assert [event.message for event in await read_all(journal)] == [b"1", b"2", b"3", b"4"]
    assert journal.channels()[A].bytes == 4
    assert journal.head(B) == 0


async def test_a_checkpoint_may_come_between(journal: SqliteJournal) -> None:
    """It reveals nothing and forgets nothing."""
    await journal.append([first(b"1")])
    await journal.append([Transaction((), "between", 0.0)])
    assert (journal.head(A), journal.checkpoint) == (0, "between")
    await journal.append([last(b"2")])
    assert [event.message for event in await read_all(journal)] == [b"1", b"2"]


async def test_retention_never_takes_what_is_not_visible(open_journal: OpenJournal, clock: Clock) -> None:
    """Neither by age nor by size; afterwards the pieces count like all other events."""
    journal = await open_journal(clock=clock)
    await journal.append(rows(50))
    await journal.append([first(*[b"x" * 1000] * 50)])
    clock.now += 3600
    assert await journal.trim(60, 1 << 30) == 50
    assert journal.channels()[A][:3] == (51, 50, 0)
    assert await journal.trim(60, 0) == 0
    await journal.append([last(b"end")])
    assert journal.channels()[A][:3] == (51, 101, 50_003)
    assert await journal.trim(1e9, 20_000) > 0
    assert journal.channels()[A].bytes < 20_000
    assert (await read_all(journal))[-1].message == b"end"


async def test_a_piece_that_finds_no_room_is_appended_again(journal: SqliteJournal) -> None:
    """A full disk in the middle: what was there stays invisible, and with room the same piece goes on."""
    await journal.append([first(*[b"x" * 1000] * 50)])
    pages_allowed(journal, 1)
    more = piece(*[b"y" * 1000] * 50)
    with pytest.raises(JournalFull):
        await journal.append([more])
    assert journal.head(A) == 0
    pages_allowed(journal, 1 << 20)
    await journal.append([more])
    await journal.append([last()])
    assert [event.message[:1] for event in await read_all(journal)] == [b"x"] * 50 + [b"y"] * 50


async def test_gaps_and_all_channels_may_be_among_them(journal: SqliteJournal) -> None:
    """A piece holds changes of any channel and kind; one that is not configured is refused, and nothing written."""
    with pytest.raises(JournalError, match="No channel"):
        await journal.append([first(b"1", channel="nowhere")])
    await journal.append([first(b"1")])
    await journal.append([Transaction([Change(B, INSERT, b"1"), Change(A, "gap", b"{}")], "x", 1.0, LAST)])
    assert [(event.op, event.offset) for event in await read_all(journal)] == [(INSERT, 1), ("gap", 2)]
    assert offsets(await read_all(journal, B)) == [1]
