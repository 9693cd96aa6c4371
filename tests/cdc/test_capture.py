from __future__ import annotations

import asyncio
import itertools
import json
import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cdc import capture
from cdc.capture import Appender, Backoff, proven_lag
from cdc.errors import PositionLost
from cdc.position import Checkpoint
from cdc.reader import Origin
from devenv.database import Server
from journal.errors import JournalDamaged, JournalFull
from journal.sqlite import SqliteJournal
from journal.types import GAP, Transaction
from tests.cdc.database import Database
from tests.cdc.following import Following, Sometimes
from tests.conftest import MakeServer
from tests.faults.proxy import CuttingProxy

TABLE = "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(200))"
Follow = Callable[..., Following]


@pytest.fixture
async def follow(tmp_path: Path) -> AsyncIterator[Follow]:
    """Makes capture loops over the test's journal, and stops them."""
    made: list[Following] = []

    def make(origin: Origin, **options: Any) -> Following:
        made.append(Following(origin, tmp_path / "journal.db", **options))
        return made[-1]

    yield make
    for following in made:
        await following.stop()


@pytest.fixture
def proxy(database: Database) -> Iterator[CuttingProxy]:
    """A link to the server that can be cut."""
    with CuttingProxy(database.server.port) as proxy:
        yield proxy


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Come back soon, however often the link was lost."""
    monkeypatch.setattr(capture, "_SLOWEST", 0.1)


def through(origin: Origin, proxy: CuttingProxy) -> Origin:
    """The same server behind the proxy."""
    return msgspec.structs.replace(origin, connect=dict(origin.connect) | {"port": proxy.port})


def insert(*numbers: int) -> list[str]:
    return [f"INSERT INTO t (id, name) VALUES ({number}, 'row {number}')" for number in numbers]


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


# A log that is another one


def restart_log(database: Database) -> None:
    """Begin the log anew."""
    database.try_run("RESET BINARY LOGS AND GTIDS", "RESET MASTER")


@contextmanager
def without_gtids(database: Database) -> Iterator[None]:
    """MySQL with gtid_mode=OFF for a while: file and offset are all there is."""
    modes = ["ON", "ON_PERMISSIVE", "OFF_PERMISSIVE", "OFF"]
    database.run(*[f"SET GLOBAL gtid_mode = {mode}" for mode in modes[1:]])
    try:
        yield
    finally:
        database.run(*[f"SET GLOBAL gtid_mode = {mode}" for mode in reversed(modes[:-1])])


async def the_log_becomes_another(
    database: Database, follow: Follow, before: list[str], after: list[str], expected: list[Any]
) -> Following:
    """Follow ``before``, replace the log by one that holds ``after``, and follow again."""
    restart_log(database)
    database.run(TABLE)
    following = follow(database.origin("t"))
    async with following:
        await following.live()
        database.run(*before)
        await following.count(len(before))
        place = following.checkpoint.end
    database.run("DROP TABLE t")
    restart_log(database)
    database.run(TABLE, *after)
    async with following:
        await following.until(lambda: following.story() == expected)
        await following.live()
        assert [event.op for event in following.published].count(GAP) == 1
        if len(after) == len(before):
            assert database.end().offset == place.offset, "the coordinates should coincide"
    return following


OTHERS = {
    "the same coordinates": [statement.replace("row", "ROW") for statement in insert(1, 2)],
    "a shorter log": insert(7),
    "an empty log": [],
    "a longer log": [f"INSERT INTO t (id, name) VALUES ({n}, REPEAT('x', 57))" for n in range(1, 9)],
}


def new_keys(other: str) -> list[int]:
    """The primary keys in that log above 2."""
    ids = [int(statement.partition("VALUES (")[2].partition(",")[0]) for statement in OTHERS[other]]
    return [number for number in ids if number > 2]


@pytest.mark.parametrize("other", OTHERS)
async def test_another_log_under_the_same_gtids_is_a_gap(database: Database, follow: Follow, other: str) -> None:
    """After RESET the same GTIDs name other rows: a gap with its reason, then the rows with keys not seen before."""
    await the_log_becomes_another(database, follow, insert(1, 2), OTHERS[other], [1, 2, "reset", *new_keys(other)])


@pytest.mark.parametrize("other", OTHERS)
async def test_another_log_under_the_same_file_is_a_gap(oracle: Database, follow: Follow, other: str) -> None:
    """The same by file and offset, which may even point into the middle of another event."""
    expected = [1, 2, "reset", *new_keys(other)]
    with without_gtids(oracle):
        following = await the_log_becomes_another(oracle, follow, insert(1, 2), OTHERS[other], expected)
        assert following.checkpoint.end.gtid is None


async def test_a_log_that_is_reset_under_our_eyes_is_a_gap(database: Database, follow: Follow) -> None:
    """The connection survives it, with heartbeats and without rows: a gap, then the rows of the new log."""
    database.run(TABLE)
    async with follow(database.origin("t")) as following:
        await following.live()
        database.run(*insert(1, 2))
        await following.count(2)
        restart_log(database)
        database.run(*insert(3))
        await following.until(lambda: following.story()[-1:] == [3])
        assert following.story() == [1, 2, "reset", 3]


async def test_a_purged_log_is_a_gap(database: Database, follow: Follow) -> None:
    """What the server has thrown away is announced, and comes from the table."""
    database.run(TABLE)
    following = follow(database.origin("t"))
    async with following:
        await following.live()
        database.run(*insert(1))
        await following.count(1)
        place = following.checkpoint.start.file
    database.run(*insert(2))
    deadline = time.monotonic() + 10
    while place in [name for name, *_ in database.select("SHOW BINARY LOGS")]:
        assert time.monotonic() < deadline
        database.run("FLUSH BINARY LOGS", f"PURGE BINARY LOGS TO '{database.end().file}'")
    database.run(*insert(3))
    async with following:
        await following.count(4)
        assert following.story() == [1, "purged", 2, 3]
        assert set(json.loads(following.published[1].message)) == {"reason", "detail"}


async def test_a_gap_waits_for_a_server_that_can_be_asked(database: Database, follow: Follow, free_port: int) -> None:
    """Where to go on from is the server's to say; until it is back nothing is announced, and the source is down."""
    database.run(TABLE)
    following = follow(database.origin("t"))
    async with following:
        await following.live()
        away = dict(database.arguments) | {"port": free_port}
        following.loop._origin = msgspec.structs.replace(following.loop._origin, connect=away)
        await following.loop._announce_gap(PositionLost("gone", "purged"), 0.0)
        assert (following.states[-1], following.published) == ("down", [])


# A journal that takes nothing


class Stubborn(Following):
    """Appends through a journal that can be told to refuse."""

    sometimes: Sometimes

    def appender(self, journal: SqliteJournal) -> Appender:
        """The one that refuses."""
        self.sometimes = Sometimes(journal)
        return self.sometimes


@pytest.mark.usefixtures("quick")
async def test_a_full_journal_stalls_and_goes_on_by_itself(database: Database, tmp_path: Path) -> None:
    """Stalled, never live, as long as nothing can be written; then every row arrives."""
    database.run(TABLE)
    async with Stubborn(database.origin("t"), tmp_path / "journal.db") as following:
        await following.live()
        following.sometimes.error = JournalFull("no room", "make some")
        database.run(*insert(1, 2))
        await following.until(lambda: following.sometimes.refused > 5)
        assert (following.loop.state, following.loop.reason) == ("stalled", "the journal takes nothing")
        database.run(*insert(3))
        refused = following.sometimes.refused
        await following.until(lambda: following.sometimes.refused > refused + 10)
        assert following.published == []
        following.sometimes.error = None
        await following.count(3)
        await following.live()
        assert following.ids() == [1, 2, 3]
        assert following.states in (
            ["catching_up", "live", "stalled", "catching_up", "live"],
            ["catching_up", "live", "stalled", "live"],
        )


@pytest.mark.usefixtures("quick")
async def test_a_heartbeat_does_not_end_a_stall(maria: Database, tmp_path: Path) -> None:
    """Also when all that cannot be written is a checkpoint without rows, the server's silence makes nobody live."""
    maria.run(TABLE, "CREATE TABLE v (id INT)")
    async with Stubborn(maria.origin("t"), tmp_path / "journal.db") as following:
        await following.live()
        following.sometimes.error = JournalFull("no room")
        maria.run("INSERT INTO v VALUES (1)", "INSERT INTO v VALUES (2)")
        await following.until(lambda: following.loop.state == "stalled")
        began, states = time.monotonic(), len(following.states)
        await following.until(lambda: time.monotonic() > began + 1.2)  # two heartbeats
        assert following.states[states - 1 :] == ["stalled"]
        following.sometimes.error = None
        await following.live()


async def test_a_damaged_journal_ends_it(database: Database, tmp_path: Path) -> None:
    """What cannot pass by waiting is raised, and no thread is left behind."""
    database.run(TABLE)
    following = Stubborn(database.origin("t"), tmp_path / "journal.db")
    await following.start()
    await following.live()
    following.sometimes.error = JournalDamaged("a flipped bit")
    database.run(*insert(1))
    with pytest.raises(JournalDamaged):
        await following.until(lambda: False)
    with pytest.raises(JournalDamaged):
        await following.stop()
    assert following.published == []
    await asyncio.to_thread(wait_for_readers_to_end)


def wait_for_readers_to_end() -> None:
    deadline = time.monotonic() + 10
    while any(thread.name == "binlog-reader" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


async def test_a_stopped_capture_leaves_no_thread(database: Database, follow: Follow) -> None:
    """Cancelled at any time, the reader's thread ends with it, and does not wait for the server's next word."""
    database.run(TABLE)
    following = follow(msgspec.structs.replace(database.origin("t"), heartbeat=60.0))
    for _ in range(3):
        await following.start()
        await asyncio.sleep(0)
        await following.stop()
    async with following:
        await following.live()
    await asyncio.to_thread(wait_for_readers_to_end)


# Coming back, but not too often


@pytest.mark.parametrize("seed", range(20))
def test_waits_grow_to_about_one_attempt_a_second(seed: int) -> None:
    """Half a minute of failures sees at most one attempt a second on average, and one at least every ten seconds."""
    random.seed(seed)
    backoff = Backoff()
    waits = [backoff.next(0.0) for _ in range(40)]
    attempts = sum(at < 30 for at in itertools.accumulate(waits))
    assert attempts <= 30
    assert all(0 < wait <= 10 for wait in waits)
    assert backoff.next(60.0) <= 0.25, "a connection that lasted is a success"


async def test_a_server_that_hangs_up_at_once_is_not_hammered(
    maria: Database, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It accepts and closes: about one connection a second, and live when it answers again."""
    monkeypatch.setattr(capture, "_SLOWEST", 1.0)  # or the test would wait for the longest wait of all
    maria.run(TABLE)
    with CuttingProxy(maria.server.port) as proxy:
        following = follow(through(maria.origin("t"), proxy))
        await following.start()
        await following.live()
        proxy.refusing = True
        before, began = proxy.accepted, time.monotonic()
        proxy.cut()
        await following.until(lambda: time.monotonic() > began + 2)
        assert proxy.accepted - before <= 5
        assert following.loop.state == "down"
        proxy.refusing = False
        await following.live()
        await following.stop()


async def test_two_captures_with_derived_ids_part(database: Database, tmp_path: Path) -> None:
    """The one that was thrown out takes another number, and both go on without a gap."""
    database.run(TABLE)
    one = Following(database.origin("t", server_id=5001), tmp_path / "one.db")
    two = Following(database.origin("t", server_id=5001), tmp_path / "two.db")
    async with one, two:
        await one.until(lambda: one.loop.stats.connects)
        await two.until(lambda: two.loop.stats.connects)
        await one.until(lambda: one.loop.stats.lost + two.loop.stats.lost)
        await one.live()
        await two.live()
        database.run(*insert(1, 2))
        await one.count(2)
        await two.count(2)
        assert (one.ids(), two.ids()) == ([1, 2], [1, 2])
        assert one.loop.stats.lost + two.loop.stats.lost < 4


async def test_a_given_id_steps_down(database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Somebody else uses our mysql.server_id: we stay away for a minute, and say what to do."""
    database.run(TABLE)
    ours = Following(database.origin("t", server_id=5002), tmp_path / "ours.db", derived_id=False)
    theirs = Following(database.origin("t", server_id=5002), tmp_path / "theirs.db")
    async with ours:
        await ours.live()
        async with theirs:
            await ours.until(lambda: ours.loop.state == "down")
            await theirs.live()
            assert theirs.loop.stats.lost == 0
    assert "coming back in 60.0 s" in caplog.text
    assert "server_id" in caplog.text


async def test_a_wrong_password_is_said_and_tried_again(
    database: Database, follow: Follow, caplog: pytest.LogCaptureFixture
) -> None:
    """The state is down, with a reason for strangers; the log has the server's own. The password stands nowhere."""
    database.run(TABLE)
    origin = database.origin("t")
    wrong = msgspec.structs.replace(origin, connect=dict(origin.connect) | {"password": "wr0ng-s3cret"})
    async with follow(wrong) as following:
        await following.until(lambda: following.loop.stats.lost > 1)
        assert following.loop.state == "down"
        assert following.loop.reason == "the server refuses us"
    assert "Access denied" in caplog.text
    assert "rowcast check" in caplog.text
    assert "wr0ng-s3cret" not in caplog.text


# How far behind


def test_a_lag_is_only_what_the_clock_proves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole seconds may be almost one too old; microseconds are what they are; the future is no lag."""
    monkeypatch.setattr("cdc.capture.time.time", lambda: 1000.875)
    assert proven_lag(1000.0) == 0
    assert proven_lag(995.0) == 4875
    assert proven_lag(1000.375) == 500
    assert proven_lag(2000.0) == 0


async def test_a_backlog_is_catching_up_and_then_live(database: Database, follow: Follow) -> None:
    """With old rows to read the source is catching up, its lag is their age, and live comes when the end is reached."""
    database.run(TABLE)
    following = follow(database.origin("t"))
    async with following:
        await following.live()
    with database.session("SET timestamp = UNIX_TIMESTAMP() - 3600") as session:
        session.query(insert(1)[0])
    following.states.clear()
    async with following:
        await following.count(1)
        await following.live()
        assert following.states == ["catching_up", "live"]
        if database.flavour == "mariadb":  # MySQL tells when it was committed, not what the writer's clock said
            assert max(following.lags) >= 3_500_000
        assert following.loop.lag_ms < 2000


def test_a_checkpoint_lies_one_transaction_before_its_end(database: Database) -> None:
    """A reader starts where the last transaction begins, so that it must be sent again."""
    database.run(TABLE)
    start = database.end()
    database.run(*insert(1, 2))
    one, two = database.read(start, "t")
    transactions, last = capture._transactions([one, two], Checkpoint(database.flavour, "server-a", start, start))
    checkpoints = [Checkpoint.decode(transaction.checkpoint) for transaction in transactions]
    assert last is None
    assert [(c.start, c.end, c.last) for c in checkpoints] == [(c.start, c.end, c.fingerprint) for c in (one, two)]
    assert checkpoints[1].start == checkpoints[0].end
