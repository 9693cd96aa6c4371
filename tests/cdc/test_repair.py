"""What a repair knows of a table, from a real journal."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdc.fetch import TableChannel
from cdc.position import Owed
from cdc.repair import repair
from journal.sqlite import SqliteJournal
from journal.types import DELETE, GAP, INSERT, READ, UPDATE, Change, Transaction

CHANNEL = TableChannel("t", "shop", "t")


def change(op: str, number: int, size: int = 0) -> Change:
    return Change("t", op, b'{"id":%d,"x":"%b"}' % (number, b"x" * size))


@pytest.mark.parametrize("size", [0, 3_000])
async def test_the_newest_rows_are_known(tmp_path: Path, size: int) -> None:
    """However large they are, and whatever updates, deletes and gaps came behind them: oldest first."""
    journal = await SqliteJournal.open(tmp_path / "journal.db", ["t"])
    changes = [change(READ if n < 600 else INSERT, n, size) for n in range(1200)]
    changes += [change((UPDATE, DELETE, GAP)[n % 3], n) for n in range(1500)]
    await journal.append([Transaction(changes, "here", 0.0)])
    request = await repair(journal, CHANNEL, Owed("purged", "gone"))
    await journal.close()
    assert request.known == [one.message for one in changes[200:1200]]
    assert [one.op for one in request.first] == [GAP]


async def test_a_channel_that_keeps_no_row_knows_none(tmp_path: Path) -> None:
    """Nothing but updates, the rows before them no longer kept: the search ends at the floor."""
    clock = [0.0]
    journal = await SqliteJournal.open(tmp_path / "journal.db", ["t"], clock=lambda: clock[0])
    await journal.append([Transaction([change(INSERT, n) for n in range(250)], "here", 0.0)])
    clock[0] = 100.0
    await journal.append([Transaction([change(UPDATE, n) for n in range(50)], "here", 0.0)])
    await journal.trim(50, 1 << 30)
    request = await repair(journal, CHANNEL, Owed("purged", "gone"))
    await journal.close()
    assert request.known == []


async def test_what_came_behind_the_gap_does_not_bound_the_search(tmp_path: Path) -> None:
    """Rows that were told behind the gap lie above those that it lacks: they are only not told again."""
    journal = await SqliteJournal.open(tmp_path / "journal.db", ["t"])
    rows = [change(INSERT, n) for n in range(3000)]
    await journal.append([Transaction([*rows[:10], change(GAP, 0), *rows[20:]], "here", 0.0)])
    request = await repair(journal, CHANNEL, Owed("unreadable", "by statement", told=True, after=5))
    first = await repair(journal, CHANNEL, Owed("unreadable", "by statement", told=True, after=0))
    await journal.close()
    assert request.known == [one.message for one in rows[:5]]
    assert request.behind == [one.message for one in (*rows[5:10], *rows[20:])]
    assert (first.known, len(first.behind), first.whole) == ([], 2990, True)
