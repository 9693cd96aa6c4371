"""What cannot be read for long is told once, and again now and then."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from cdc.committed import Committed, Piece, Unread
from cdc.gaps import AGAIN, Gaps
from cdc.position import Position
from journal.types import GAP, INSERT, Change
from tests.cdc.database import Database
from tests.cdc.following import TABLE, Follow, Following

PLACE = Position("binlog.000001", 4)


def gap(why: str = "a", reason: str = "unreadable", channel: str = "t", at: str = "0-1-1") -> Change:
    return Change(channel, GAP, json.dumps({"reason": reason, "detail": why, "position": at}).encode())


def row(channel: str = "t") -> Change:
    return Change(channel, INSERT, b"{}")


def transaction(*changes: Change) -> Committed:
    unread = {change.channel: Unread("", mendable=True) for change in changes if change.op == GAP}
    return Committed(changes, PLACE, PLACE, None, 0.0, unread=unread)


def told(*transactions: Committed | Piece, gaps: Gaps | None = None, now: float = 0.0) -> list[Change]:
    """The changes that are left."""
    gaps = gaps or Gaps()
    return [change for item in transactions for change in gaps.new(item, now).changes]


def test_a_gap_in_pieces_whose_end_never_came_is_told_again() -> None:
    """The link broke in the middle: nobody heard of it, and the transaction comes once more."""
    gaps = Gaps()
    told(transaction(gap(channel="u")), gaps=gaps)
    piece = Piece([gap(), row("u")], PLACE, 0.0, first=True)
    assert told(piece, piece, gaps=gaps) == [*piece.changes, *piece.changes]
    assert told(transaction(gap()), gaps=gaps) == [gap()]


def test_a_gap_that_lasts_is_told_once() -> None:
    """Wherever it lies, and whether or not other channels have rows meanwhile."""
    items = [transaction(gap(at=f"0-1-{n}"), row("u")) for n in range(1, 1001)]
    assert told(*items) == [gap(), *[row("u")] * 1000]
    waited = Committed([gap()] * 3 + [row()] + [gap()] * 3, PLACE, PLACE, None, 0.0, complete=True)
    assert told(waited) == [gap(), row(), gap()]


@pytest.mark.parametrize("between", [row(), gap("b"), gap("a", "purged")])
def test_what_stands_between_begins_anew(between: Change) -> None:
    """Behind a row, or a gap of another kind, the same gap says something new; also in pieces."""
    changes = [gap(), between, gap()]
    assert told(*[transaction(change) for change in changes]) == changes
    gaps = Gaps()
    assert told(transaction(gap()), Piece([between, gap()], PLACE, 0.0, first=True), gaps=gaps) == changes


def test_other_gaps_are_never_left_out() -> None:
    """Two purges are two, though they read the same; and each channel has its own."""
    purged = gap("a", "purged")
    assert told(transaction(gap()), transaction(purged), transaction(purged)) == [gap(), purged, purged]
    assert told(transaction(gap(), gap(channel="u"))) == [gap(), gap(channel="u")]


def test_a_gap_that_lasts_is_told_again_later() -> None:
    """Whoever subscribed since has not heard it."""
    gaps = Gaps()
    times = [0.0, AGAIN - 1, AGAIN, AGAIN + 1, 2 * AGAIN]
    assert [len(told(transaction(gap()), gaps=gaps, now=now)) for now in times] == [1, 0, 1, 0, 1]


def old_format(maria: Database, key: str) -> list[str]:
    """A table with a DATETIME as servers before 5.6 had them, whose width the log does not tell; and one beside it."""
    create = f"CREATE TABLE t (id INT {key}, d DATETIME(3))"
    set_format = "SET GLOBAL mysql56_temporal_format = {}".format
    maria.run(set_format("OFF"), create, set_format("ON"), TABLE.replace(" t ", " u "))
    return [f"INSERT INTO t VALUES ({n}, '2026-11-23 08:19:33.5')" for n in range(1, 61)]


def details(following: Following) -> Sequence[str]:
    return [json.loads(event.message)["detail"] for event in following.published if event.op == GAP]


NAMED = "test_cdc.t: column d (type 12) cannot be decoded by this version"


async def test_a_table_that_nobody_can_read_is_one_gap(maria: Database, follow: Follow) -> None:
    """60 transactions, live and as a backlog: its channel is told once in each life and named as missing.

    Others go on, and when the column is gone the rows come again.
    """
    inserts = old_format(maria, key="")
    following = follow(maria.origin("t", "u"))
    async with following:
        await following.live()
        maria.run(*inserts, "INSERT INTO u VALUES (1, '')")
        await following.until(lambda: following.ids("u") == [1])
        await following.live()
        assert details(following) == [NAMED]
        assert following.loop.missing["t"].startswith(NAMED)
    maria.run(*inserts, "INSERT INTO u VALUES (2, '')", "ALTER TABLE t DROP d", "INSERT INTO t VALUES (99)")
    async with following:
        await following.until(lambda: following.ids("t") == [99])
        assert following.ids("u") == [1, 2]
        assert details(following) == [NAMED] * 2
        assert list(following.loop.missing) == ["t"]


@pytest.mark.usefixtures("quick")
async def test_the_table_tells_what_its_log_cannot(maria: Database, follow: Follow) -> None:
    """With a primary key the same rows come from the table: each once, and nothing is missing then."""
    inserts = old_format(maria, key="PRIMARY KEY")
    following = follow(maria.origin("t", seed=1))
    async with following:
        await following.live()
    maria.run(*inserts)
    async with following:
        await following.until(lambda: len(following.ids()) == 60)
        await following.live()
        await following.until(lambda: following.loop.missing == {})
    assert sorted(following.ids()) == [*range(1, 61)]
    assert details(following) == [NAMED]
    assert json.loads(following.published[-1].message)["d"] == "2026-11-23T08:19:33.500"
