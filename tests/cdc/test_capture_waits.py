from __future__ import annotations

import asyncio
import itertools
import random
import threading
import time
from pathlib import Path

import msgspec
import pytest

from cdc import backoff
from cdc.backoff import Backoff
from cdc.batch import to_append
from cdc.capture import proven_lag
from cdc.position import Checkpoint
from journal.errors import JournalDamaged, JournalFull
from tests.cdc.database import Database
from tests.cdc.following import TABLE, Follow, Following, Stubborn, insert, through
from tests.faults.proxy import CuttingProxy

# A journal that takes nothing


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
    monkeypatch.setattr(backoff, "_SLOWEST", 1.0)  # or the test would wait for the longest wait of all
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


@pytest.mark.parametrize("ahead", [-3600.0, 3600.0])
async def test_a_clock_that_is_not_the_server_s_is_no_lag(
    database: Database, follow: Follow, monkeypatch: pytest.MonkeyPatch, ahead: float
) -> None:
    """Our clock an hour ahead or behind: the source stays live, and its lag is what it is."""
    database.run(TABLE)
    right = time.time
    monkeypatch.setattr("time.time", lambda: right() + ahead)
    async with follow(database.origin("t")) as following:
        await following.live()
        database.run("INSERT INTO t (name) VALUES ('now')")
        await following.count(1)
        await following.live()
        assert max(following.lags) < 60_000
        assert following.states.count("catching_up") == 1


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
    transactions, last = to_append([one, two], Checkpoint(database.flavour, "server-a", start, start))
    checkpoints = [Checkpoint.decode(transaction.checkpoint) for transaction in transactions]
    assert last is None
    assert [(c.start, c.end, c.last) for c in checkpoints] == [(c.start, c.end, c.fingerprint) for c in (one, two)]
    assert checkpoints[1].start == checkpoints[0].end
