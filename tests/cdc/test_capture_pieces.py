"""Large transactions from real servers into the journal: whole or not at all, once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cdc import pending
from journal.types import FIRST, NEXT, READ, Event
from tests.cdc.database import Database
from tests.cdc.following import TABLE, Follow, Following, Stubborn, insert, through
from tests.faults.proxy import CuttingProxy

ROWS = 2000


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some hundred rows are a piece."""
    monkeypatch.setattr(pending, "PIECE_BYTES", 40_000)


def many(first: int, count: int = ROWS) -> str:
    """One statement that inserts so many rows."""
    return "INSERT INTO t (id, name) VALUES " + ", ".join(
        f"({n}, RPAD('row {n}', 180, '.'))" for n in range(first, first + count)
    )


async def journalled(following: Following) -> list[int]:
    """The rows in the journal, in its order, offsets dense."""
    events: list[Event] = []
    while page := await following.journal.read("t", len(events)):
        events += page
    assert [event.offset for event in events] == list(range(1, len(events) + 1))
    return [json.loads(event.message)["id"] for event in events]


async def test_a_large_transaction_becomes_visible_at_once(database: Database, follow: Follow) -> None:
    """Among small ones: nothing of it before its end, then all; and after a restart it is not captured again."""
    database.run(TABLE)
    following = follow(database.origin("t"))
    async with following:
        await following.live()
        database.run(*insert(1), many(10), *insert(3))
        await following.until(lambda: following.journal.head("t") == ROWS + 2)
        assert await journalled(following) == [1, *range(10, 10 + ROWS), 3]
        assert following.loop.stats.rows == ROWS + 2
        assert following.loop.stats.transactions == 3
        database.run(many(10_000))
        await following.until(lambda: following.journal.head("t") == 2 * ROWS + 2)
    async with following:
        await following.live()
        database.run(*insert(4))
        await following.until(lambda: following.journal.head("t") == 2 * ROWS + 3)
        assert (await journalled(following))[-2:] == [10_000 + ROWS - 1, 4]


async def test_pieces_do_not_wait_for_another_table_s_rows(database: Database, tmp_path: Path) -> None:
    """A large transaction from before a seed's snapshot is passed on in pieces; only the seeded table's rows wait."""
    database.run(TABLE, TABLE.replace("TABLE t", "TABLE u"))
    async with Following(database.origin("t"), tmp_path / "journal.db") as following:
        await following.live()
        database.run(*insert(ROWS + 1))
        await following.count(1)
    database.run("BEGIN", "INSERT INTO u (id) VALUES (1)", many(1), "INSERT INTO u (id) VALUES (2)", "COMMIT")
    async with Stubborn(database.origin("t", "u", seed=10), tmp_path / "journal.db") as following:
        await following.until(lambda: following.journal.head("u") == 2)
        assert await journalled(following) == [ROWS + 1, *range(1, ROWS + 1)]
        appended = [transaction for batch in following.sometimes.batches for transaction in batch]
    assert [appended[0].part, *{t.part for t in appended[1:3]}] == [FIRST, NEXT]
    (seed,) = [t for t in appended if any(change.channel == "u" for change in t.changes)]
    assert [change.op for change in seed.changes] == [READ, READ]
    assert max(sum(change.size for change in t.changes) for t in appended) < 100_000


@pytest.mark.usefixtures("quick")
async def test_a_stream_that_ends_in_the_middle_leaves_nothing(database: Database, follow: Follow) -> None:
    """The link breaks again and again while it comes; in the end it is there once, and whole."""
    database.run(TABLE)
    with CuttingProxy(database.server.port) as proxy:
        async with follow(through(database.origin("t"), proxy)) as following:
            await following.live()
            proxy.bytes_per_second = 400_000
            database.run(many(1), *insert(90_000))
            for _ in range(3):
                await following.until(lambda: any(row.pending for row in following.journal._state.channels.values()))
                assert following.journal.head("t") == 0
                connects = proxy.accepted
                proxy.cut()
                await following.until(lambda before=connects: proxy.accepted > before)
            proxy.bytes_per_second = None
            await following.until(lambda: following.journal.head("t") == ROWS + 1)
            assert await journalled(following) == [*range(1, ROWS + 1), 90_000]
