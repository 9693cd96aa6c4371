from __future__ import annotations

import asyncio
import itertools
import json
import threading
import uuid
from collections.abc import Iterator

import msgspec
import pytest

from devenv.database import Server
from journal.types import Transaction
from tests.cdc.database import Database
from tests.cdc.following import TABLE, Follow, insert, through
from tests.conftest import MakeServer
from tests.faults.proxy import CuttingProxy


@pytest.fixture
def proxy(database: Database) -> Iterator[CuttingProxy]:
    """A link to the server that can be cut."""
    with CuttingProxy(database.server.port) as proxy:
        yield proxy


# What arrives


async def test_committed_rows_arrive_in_the_order_of_their_commits(database: Database, follow: Follow) -> None:
    """Not in the order of their inserts; rolled back ones never; and what was published is what the journal holds."""
    database.run(TABLE)
    async with follow(database.origin("t")) as following:
        await following.live()
        with database.session("BEGIN", *insert(1)) as early, database.session("BEGIN", *insert(2)) as undone:
            database.run(*insert(3, 4))
            undone.query("ROLLBACK")
            early.query("COMMIT")
        database.run("BEGIN", *insert(5, 6), "COMMIT")
        await following.count(5)
        assert following.ids() == [3, 4, 1, 5, 6]
        assert [event.offset for event in following.published] == [1, 2, 3, 4, 5]
        assert await following.journal.read("t", 0) == following.published
        assert following.loop.stats.rows == 5


async def test_a_transaction_is_published_whole(database: Database, follow: Follow) -> None:
    """Thousands of rows of one transaction are one batch of the journal's, not cut anywhere."""
    database.run(
        TABLE, "CREATE TABLE u (n INT)", "INSERT INTO u VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9)"
    )
    async with follow(database.origin("t")) as following:
        await following.live()
        database.run("INSERT INTO t (name) SELECT 'x' FROM u a, u b, u c, u d")
        await following.count(1)
        assert following.batches == [10_000]


async def test_two_tables_feed_two_channels(database: Database, follow: Follow) -> None:
    """Each with offsets of its own; a table beside them feeds none."""
    database.run(TABLE, "CREATE TABLE u (id INT)", "CREATE TABLE v (id INT)")
    async with follow(database.origin("t", "u")) as following:
        await following.live()
        database.run(*insert(1), "INSERT INTO u VALUES (10), (11)", "INSERT INTO v VALUES (20)", *insert(2))
        await following.count(4)
        assert (following.ids("t"), following.ids("u")) == ([1, 2], [10, 11])
        assert [event.offset for event in following.published] == [1, 1, 2, 2]


async def test_a_first_start_begins_at_the_end_of_the_log(database: Database, follow: Follow) -> None:
    """And that place is kept at once: what is written while nothing captures is not lost, though no row was seen."""
    database.run(TABLE, *insert(1))
    following = follow(database.origin("t"))
    async with following:
        await following.live()
    database.run(*insert(2))
    async with following:
        await following.count(1)
        assert following.ids() == [2]


# Coming back


async def test_a_restart_loses_and_repeats_nothing(database: Database, follow: Follow) -> None:
    """Stopped anywhere, ten times, under writes: every row once, in order."""
    database.run(TABLE)
    following = follow(database.origin("t"))
    written = itertools.count(1)
    for turn in range(10):
        async with following:
            await following.until(lambda: following.loop.stats.connects)
            for _ in range(5):
                await asyncio.to_thread(database.run, *insert(next(written)))
            if turn % 3:
                await following.count(5 * turn)
        await asyncio.to_thread(database.run, *insert(next(written), next(written)))
    async with following:
        await following.count(70)
        await following.live()
    assert following.ids() == list(range(1, 71))
    assert [event.offset for event in following.published] == list(range(1, 71))


@pytest.mark.usefixtures("quick")
async def test_ten_cuts_of_the_link_lose_and_repeat_nothing(
    database: Database, proxy: CuttingProxy, follow: Follow
) -> None:
    """1,200 rows in transactions of three while the link is reset again and again: each once, in order."""
    database.run(TABLE)

    def write() -> None:
        with database.session() as session:
            for n in range(1, 1200, 3):
                session.query(f"INSERT INTO t (name) VALUES ('{n}'), ('{n + 1}'), ('{n + 2}')")

    async with follow(through(database.origin("t"), proxy)) as following:
        await following.live()
        writer = asyncio.create_task(asyncio.to_thread(write))
        for cut in range(1, 11):
            await following.count(100 * cut)
            connects = following.loop.stats.connects
            await following.until(lambda: following.loop.state != "down" and proxy.cut())
            await following.until(lambda before=connects: following.loop.stats.connects > before)
        await writer
        await following.count(1200)
        assert following.ids() == list(range(1, 1201))
        assert [json.loads(event.message)["name"] for event in following.published] == [str(n) for n in range(1, 1201)]
        await following.until(lambda: following.loop.stats.lost >= 10)
        assert following.loop.stats.gaps == 0


@pytest.mark.usefixtures("quick")
async def test_a_silent_link_is_replaced(database: Database, proxy: CuttingProxy, follow: Follow) -> None:
    """While nothing passes the source is down; when something does again, everything arrives."""
    database.run(TABLE)
    async with follow(through(database.origin("t"), proxy)) as following:
        await following.live()
        proxy.pause()
        await following.until(lambda: following.loop.state == "down")
        database.run(*insert(1))
        proxy.cut()
        proxy.resume()
        await following.count(1)
        await following.live()
        assert following.ids() == [1]
        assert following.states == ["catching_up", "live", "down", "catching_up", "live"]


async def test_a_killed_database_loses_nothing(make_server: MakeServer, follow: Follow) -> None:
    """Kill -9 under writes: down, then live again, and every row that was acknowledged arrives once."""
    server: Server = make_server("mariadb")
    database = Database(server)
    database.run(TABLE)
    acknowledged: list[int] = []

    def write() -> None:
        with database.session() as session:
            for number in itertools.count(1):
                try:
                    session.query(insert(number)[0])
                except Exception:  # noqa: BLE001 - whatever a killed server does to its clients
                    return
                acknowledged.append(number)

    async with follow(database.origin("t")) as following:
        await following.live()
        writer = threading.Thread(target=write)
        writer.start()
        await following.count(50)
        await asyncio.to_thread(server.kill)
        writer.join()
        await following.until(lambda: following.loop.state == "down")
        await asyncio.to_thread(server.start)
        await following.live(30)
        await following.count(len(acknowledged))
        assert following.ids()[: len(acknowledged)] == acknowledged
        assert len(following.ids()) - len(acknowledged) in (0, 1)  # one may have been committed and not answered
        assert "down" in following.states
        assert following.loop.stats.gaps == 0


async def test_another_domain_is_followed(maria: Database, follow: Follow) -> None:
    """A second GTID domain appears while nothing captures and while something does; neither repeats the other."""
    maria.run(TABLE)
    following = follow(maria.origin("t"))

    def write(number: int, domain: int) -> None:
        maria.run(f"SET gtid_domain_id = {domain}", *insert(number), "SET gtid_domain_id = 0", *insert(number + 1))

    for number in (1, 5, 9):
        async with following:
            await following.live()
            write(number, domain=5)
            await following.count(number + 1)
        write(number + 2, domain=9)
    async with following:
        await following.count(12)
        assert following.ids() == list(range(1, 13))
        assert {gtid.split("-")[0] for gtid in str(following.checkpoint.end.gtid).split(",")} >= {"0", "5", "9"}


async def test_a_gtid_set_with_holes_is_followed(oracle: Database, follow: Follow) -> None:
    """Numbers of another source come out of order and are filled in later, across restarts: each row once."""
    oracle.run(TABLE)
    source = uuid.uuid4()
    following = follow(oracle.origin("t"))

    def write(number: int) -> None:
        oracle.run(f"SET GTID_NEXT = '{source}:{number}'", *insert(number), "SET GTID_NEXT = AUTOMATIC")

    for turn, (live, away) in enumerate([(7, 3), (9, 1), (4, 2)], start=1):
        async with following:
            await following.live()
            write(live)
            await following.count(2 * turn - 1)
        write(away)
    async with following:
        await following.count(6)
        await following.live()
        assert f"{source}:1-4:7:9" in str(following.checkpoint.end.gtid)
        for number in (5, 6, 8):
            write(number)
        await following.count(9)
    assert following.ids() == [7, 3, 9, 1, 4, 2, 5, 6, 8]
    assert following.loop.stats.gaps == 0


async def test_a_backlog_keeps_the_names_of_then(database: Database, follow: Follow) -> None:
    """Columns that were added, renamed and dropped while nothing captured do not change the rows before."""
    database.run(TABLE)
    following = follow(database.origin("t"))
    async with following:
        await following.live()
    database.run(
        *insert(1),
        "ALTER TABLE t ADD flag INT DEFAULT 7",
        *insert(2),
        "ALTER TABLE t RENAME COLUMN name TO title",
        "ALTER TABLE t DROP flag",
        "INSERT INTO t VALUES (3, 'row 3')",
    )
    async with following:
        await following.count(3)
    assert [json.loads(event.message) for event in following.published] == [
        {"id": 1, "name": "row 1"},
        {"id": 2, "name": "row 2", "flag": 7},
        {"id": 3, "title": "row 3"},
    ]


async def test_other_tables_move_the_checkpoint(database: Database, follow: Follow) -> None:
    """A log full of rows that nobody captures does not have to be read again after a restart."""
    database.run(TABLE, "CREATE TABLE v (id INT)")
    async with follow(database.origin("t")) as following:
        await following.live()
        before = following.checkpoint
        database.run("INSERT INTO v VALUES (1)", "INSERT INTO v VALUES (2)")
        end = database.end()
        await following.until(lambda: following.checkpoint.end.offset == end.offset)
        assert following.checkpoint.last != before.last
        assert following.published == []


async def test_the_checkpoint_names_the_server_that_is_read(database: Database, follow: Follow) -> None:
    """After a fail-over by GTID it is the new one's identity that guards the coordinates."""
    database.run(TABLE)
    following = follow(database.origin("t"))
    async with following:
        await following.live()
        database.run(*insert(1))
        await following.count(1)
        identity = following.checkpoint.server
        moved = msgspec.structs.replace(following.checkpoint, server="the old primary")
        await following.journal.append([Transaction((), moved.encode(), 0.0)])
    async with following:
        await following.live()
        database.run(*insert(2))
        await following.count(2)
        assert following.checkpoint.server == identity
        assert following.story() == [1, 2]
