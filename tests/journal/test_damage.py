"""A file that is not what was written: found at the start or at the read, never served."""

from __future__ import annotations

import random
from contextlib import nullcontext
from pathlib import Path

import apsw
import pytest

from journal import check
from journal.errors import JournalDamaged
from journal.sqlite import SqliteJournal
from journal.types import Event
from tests.journal.conftest import OpenJournal
from tests.journal.rows import A, B, inserts, read_all, rows

MARK = b"a message that is easy to find"


async def filled(open_journal: OpenJournal) -> list[Event]:
    """A closed journal of 603 events in one channel."""
    journal = await open_journal()
    events = await journal.append(rows(300, size=400))
    events += await journal.append([inserts(b"x" * 30_000, MARK, b"{}", channel=A)])
    events += await journal.append(rows(300, size=100))
    await journal.append(rows(5, channel=B))
    await journal.close()
    return events


def flip(path: Path, position: int, bit: int = 0) -> None:
    """Flip one bit of the file."""
    content = bytearray(path.read_bytes())
    content[position] ^= 1 << bit
    path.write_bytes(content)


async def test_a_flipped_bit_in_a_message_is_not_served(open_journal: OpenJournal, path: Path) -> None:
    """The events around are served; the page with the damaged one is an error, and readiness tells."""
    events = await filled(open_journal)
    flip(path, path.read_bytes().index(MARK) + 3)
    journal = await open_journal(tail_bytes=0)

    assert await journal.read(A, 0, limit=301) == events[:301]
    with pytest.raises(JournalDamaged, match="Event 302 of channel cctv_updates is missing or fails") as raised:
        await journal.read(A, 300)
    assert await journal.read(A, 302) == events[302:]
    assert not journal.writable
    assert journal.error is raised.value
    await journal.append(rows(1))
    assert journal.error is raised.value


async def test_a_flipped_bit_at_the_end_is_found_at_the_start(open_journal: OpenJournal, path: Path) -> None:
    """The newest events are read, and so checked, at the start; with the file set aside a new life begins."""
    await filled(open_journal)
    flip(path, path.read_bytes().index(MARK) + 3)

    with pytest.raises(JournalDamaged, match="Event 302") as raised:
        await open_journal()

    assert "new epoch" in raised.value.hint
    path.rename(path.with_name("aside.db"))
    assert (await open_journal()).head(A) == 0


async def test_no_flipped_bit_is_ever_served(
    open_journal: OpenJournal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever in the file a bit flips: an error at the start or the read, or it changes nothing that is served.

    The walk over the whole file is left out, as for a file too large for it.
    """
    monkeypatch.setattr(check, "CHECKED_WHOLE", 0)
    events = await filled(open_journal)
    intact = path.read_bytes()
    chance = random.Random(19)
    found = 0
    for _ in range(150):
        path.write_bytes(intact)
        flip(path, chance.randrange(len(intact)), chance.randrange(8))
        try:
            assert await served(open_journal) == (events, 5, "here")
        except JournalDamaged:
            found += 1
    assert found > 75


async def served(open_journal: OpenJournal) -> tuple[list[Event], int, str | None]:
    """Everything that a journal just opened gives its readers."""
    journal = await open_journal(tail_bytes=0)
    try:
        return await read_all(journal), journal.head(B), journal.checkpoint
    finally:
        await journal.close()


@pytest.mark.parametrize("whole", [True, False])
async def test_a_small_file_is_walked_at_the_start(
    open_journal: OpenJournal, path: Path, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    """Damage that touches no event is found too, unless the file is larger than what is walked."""
    await filled(open_journal)
    flip(path, 39)  # the header's count of free pages
    if not whole:
        monkeypatch.setattr(check, "CHECKED_WHOLE", path.stat().st_size - 1)

    with pytest.raises(JournalDamaged, match="reelist") if whole else nullcontext():
        await open_journal()


@pytest.mark.parametrize("keep", [0.999, 0.5, 0.03, 0.0001])
async def test_a_truncated_file_is_found_at_the_start(open_journal: OpenJournal, path: Path, keep: float) -> None:
    """A file cut short is refused, not served as far as it goes."""
    await filled(open_journal)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep) or 1])

    with pytest.raises(JournalDamaged):
        await open_journal()


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        ("DELETE FROM event WHERE id & 0xffff = 300", "Event 300 of channel cctv_updates"),
        ("DELETE FROM event WHERE id & 0xffff = 603", "should hold events 1 to 603"),
        ("DELETE FROM event WHERE id & 0xffff = 1", "should hold events 1 to 603"),
        (
            "UPDATE event SET message = x'7b7d' WHERE id & 0xffff = 5",
            "Event 5 of channel cctv_updates is missing or fails",
        ),
        ("UPDATE event SET op = 'read' WHERE id & 0xffff = 6", "Event 6 of channel cctv_updates is missing or fails"),
        ("UPDATE event SET committed = 1 WHERE id & 0xffff = 7", "Event 7 of channel cctv_updates is missing or fails"),
        ("UPDATE journal SET checkpoint = 'elsewhere'", "state row fails its checksum"),
        ("UPDATE journal SET channels = replace(channels, 'cctv', 'cctw')", "state row fails its checksum"),
        ("DELETE FROM journal", "state row fails its checksum"),
    ],
)
async def test_every_row_is_checked(open_journal: OpenJournal, path: Path, statement: str, text: str) -> None:
    """A row changed, moved or removed behind our back is named."""
    await filled(open_journal)
    connection = apsw.Connection(str(path))
    connection.execute(statement)
    connection.close()

    with pytest.raises(JournalDamaged, match=text):
        await read_all(await open_journal(tail_bytes=0))


async def test_events_that_vanish_while_open_are_missed(journal: SqliteJournal, path: Path) -> None:
    """A page that should hold events and has none is damage, not the end."""
    await journal.append(rows(20))
    journal._channels[A].tail.forget(99)
    connection = apsw.Connection(str(path))
    connection.execute("DELETE FROM event WHERE id & 0xffff > 10")
    connection.close()

    assert len(await journal.read(A, 0, limit=10)) == 10
    with pytest.raises(JournalDamaged, match="Event 11 of channel cctv_updates is missing"):
        await journal.read(A, 10)


async def test_a_file_replaced_while_open_is_not_read(
    journal: SqliteJournal, open_journal: OpenJournal, path: Path
) -> None:
    """Another journal moved over the open one is not served in its name."""
    await journal.append(rows(5))
    other = await SqliteJournal.open(path.with_name("other.db"), [A])
    await other.append(rows(9))
    await other.close()
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink()
    path.with_name("other.db").replace(path)
    journal._channels[A].tail.forget(99)

    with pytest.raises(JournalDamaged, match="replaced"):
        await journal.read(A, 0)
