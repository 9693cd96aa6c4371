"""What rows look like, kept beside them without taking offsets."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from journal.errors import JournalDamaged, UnknownChannel
from journal.reader import ReadOnlyJournal, describe
from journal.schema import VERSION
from journal.shapes import column_names, in_force
from journal.sqlite import SqliteJournal
from journal.types import FIRST, INSERT, LAST, NEXT, WHOLE, Change, Shape, Transaction
from tests.journal.conftest import Clock, OpenJournal
from tests.journal.rows import A, B, offsets, read_all, rows
from tests.journal.test_damage import flip


def named(*names: str) -> bytes:
    return ('[{"name":"' + '"},{"name":"'.join(names) + '"}]').encode()


def row(*names: str, channel: str = A) -> Change:
    return Change(channel, INSERT, b"{}", columns=named(*names) if names else b"")


def committed(*changes: Change, part: str = WHOLE, **columns: bytes) -> Transaction:
    return Transaction(changes, "here", 0.0, part, columns)


def shapes(journal: SqliteJournal | ReadOnlyJournal, channel: str = A) -> list[tuple[int, set[str]]]:
    return [(shape.first, set(column_names((shape,)))) for shape in journal.shapes(channel)]


async def test_a_shape_begins_with_the_first_row_that_has_it(journal: SqliteJournal) -> None:
    """It takes no offset; a change that does not say how it looks, such as a gap, changes nothing; channels differ."""
    events = await journal.append([
        committed(row("a"), row("a"), row(), row("b"), row("x", channel=B)),
        committed(row("b"), row("c"), row("a")),
        committed(row("a")),
    ])  # fmt: skip
    assert offsets([event for event in events if event.channel == A]) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert shapes(journal) == [(1, {"a"}), (4, {"b"}), (6, {"c"}), (7, {"a"})]
    assert shapes(journal, B) == [(1, {"x"})]
    with pytest.raises(UnknownChannel):
        journal.shapes("nobody")


async def test_a_shape_that_no_row_has_yet(open_journal: OpenJournal) -> None:
    """It holds from the next offset on; it gives way to another there, and the same as before is nothing new."""
    journal = await open_journal()
    assert await journal.append([committed(**{A: named("a")})]) == []
    assert shapes(journal) == [(1, {"a"})]
    known = journal.shapes(A)
    await journal.append([committed(row("a")), committed(**{A: named("a")})])
    assert journal.shapes(A) is known
    await journal.append([committed(**{A: named("b")})])
    assert shapes(journal) == [(1, {"a"}), (2, {"b"})]
    await journal.append([committed(**{A: named("c")})])
    assert shapes(journal) == [(1, {"a"}), (2, {"c"})]
    await journal.append([committed(row("a"))])
    assert shapes(journal) == [(1, {"a"})]
    await journal.close()
    assert shapes(await open_journal()) == [(1, {"a"})]


def test_which_one_an_offset_has() -> None:
    """The newest that begins at it or before; none before the first."""
    known = [Shape(2, b"a"), Shape(4, b"b")]
    assert [in_force(known, offset) for offset in (1, 2, 3, 4, 9)] == [None, *known[:1] * 2, *known[1:] * 2]


async def test_shapes_outlive_a_restart(open_journal: OpenJournal, path: Path) -> None:
    """The same after closing and opening, and for whoever only reads; what was known is not written once more."""
    journal = await open_journal()
    await journal.append([committed(row("a"), row("b"))])
    before = journal.shapes(A)
    await journal.close()
    again = await open_journal()
    await again.append([committed(row("b"))])
    assert again.shapes(A) == before
    reader = await ReadOnlyJournal.open(path)
    assert reader.shapes(A) == before
    with pytest.raises(UnknownChannel):
        reader.shapes("nobody")
    await reader.close()


async def test_shapes_leave_with_the_last_row_that_had_them(open_journal: OpenJournal, clock: Clock) -> None:
    """The one in force at the floor stays, also when nothing else does."""
    journal = await open_journal(clock=clock)
    for name in ("a", "b", "c"):
        await journal.append([committed(row(name), row(name))])
        clock.now += 100
    await journal.trim(150, 1 << 30)
    assert (journal.floor(A), shapes(journal)) == (5, [(5, {"c"})])
    await journal.trim(0, 1 << 30)
    assert (journal.floor(A), shapes(journal)) == (7, [(5, {"c"})])
    await journal.close()
    assert shapes(await open_journal(clock=clock)) == [(5, {"c"})]


async def test_shapes_of_pieces_come_with_the_last(open_journal: OpenJournal) -> None:
    """Until a large transaction is whole nobody sees how its rows look, and one that never is leaves nothing."""
    journal = await open_journal()
    await journal.append([committed(row("a"))])
    await journal.append([committed(row("a"), row("b"), part=FIRST)])
    await journal.append([committed(row("b"), row("c"), part=NEXT)])
    assert shapes(journal) == [(1, {"a"})]
    await journal.withdraw()
    await journal.append([committed(row("a"), row("d"), part=FIRST)])
    await journal.append([committed(row("e"), part=FIRST), committed(row("f"), part=NEXT)])
    await journal.append([committed(row("f"), row("g"), part=LAST)])
    assert shapes(journal) == [(1, {"a"}), (2, {"e"}), (3, {"f"}), (5, {"g"})]
    await journal.append([committed(row("h"), part=FIRST), committed(row("g"))])
    assert shapes(journal)[-1] == (5, {"g"})
    await journal.close()
    again = await open_journal()
    assert [first for first, _ in shapes(again)] == [1, 2, 3, 5]
    assert len(await read_all(again)) == 6


async def test_a_damaged_shape_is_found_at_the_start(open_journal: OpenJournal, path: Path) -> None:
    """It carries a checksum like everything else."""
    journal = await open_journal()
    await journal.append([committed(row("easy to find"))])
    await journal.close()
    flip(path, path.read_bytes().index(b"easy to find"))
    with pytest.raises(JournalDamaged, match="A shape of channel cctv_updates fails its checksum"):
        await open_journal()


def make_older(path: Path) -> None:
    """What a journal of the version before was: without shapes."""
    connection = apsw.Connection(str(path))
    connection.execute("DROP TABLE shape; PRAGMA user_version = 2")
    connection.close()


async def test_a_journal_of_the_version_before_is_brought_up(open_journal: OpenJournal, path: Path) -> None:
    """Epoch, events and checkpoint stay; what its rows look like is known from the next on. Once is enough."""
    journal = await open_journal()
    epoch, events = journal.epoch, await journal.append(rows(30, checkpoint="there"))
    await journal.close()
    make_older(path)
    reader = await ReadOnlyJournal.open(path)
    assert (describe(path).version, reader.shapes(A), len(await reader.read(A, 0))) == (2, (), len(events))

    journal = await open_journal()
    assert (journal.epoch, journal.checkpoint, journal.notices) == (epoch, "there", ())
    assert (await read_all(journal), journal.shapes(A), describe(path).version) == (events, (), VERSION)
    await journal.append([committed(row("a"))])
    assert shapes(reader) == [(journal.head(A), {"a"})]
    await reader.close()
    await journal.close()
    assert len(shapes(await open_journal())) == 1


async def test_a_journal_is_brought_up_whole_or_not_at_all(
    open_journal: OpenJournal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that dies in the middle of it leaves the version before, for the next to begin anew."""
    journal = await open_journal()
    await journal.append(rows(3))
    await journal.close()
    make_older(path)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("journal.writer.store_state", die)
        with pytest.raises(KeyboardInterrupt):
            await open_journal()
    assert describe(path).version == 2
    assert (await open_journal()).head(A) > 0
