"""Rows that the log holds in a form that nobody can read: a gap, then the rows, from the table."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from cdc import backoff
from cdc.committed import Committed, Unread
from cdc.ledger import Ledger
from cdc.position import Owed, Position
from journal.types import GAP, INSERT, READ, Change, Transaction
from tests.cdc.database import Database
from tests.cdc.following import TABLE, Follow, Following, insert

STATEMENT, ROW = "SET SESSION binlog_format = STATEMENT", "SET SESSION binlog_format = ROW"


def by_statement(database: Database, _: Path) -> None:
    database.run(STATEMENT, *insert(3, 4), ROW)


def by_function(database: Database, _: Path) -> None:
    database.run("SET GLOBAL log_bin_trust_function_creators = 1")
    body = "BEGIN INSERT INTO t VALUES (3, 'row 3'), (4, 'row 4'); RETURN 1; END"
    database.run(f"CREATE FUNCTION two() RETURNS INT MODIFIES SQL DATA {body}", STATEMENT, "DO two()", ROW)


def by_file(database: Database, folder: Path) -> None:
    (file := folder / "rows.csv").write_text("3,row 3\n4,row 4\n")
    database.run("SET GLOBAL local_infile = 1")
    with database.connect(database="test_cdc", local_infile=True) as session:
        session.query(STATEMENT)
        session.query(f"LOAD DATA LOCAL INFILE '{file}' INTO TABLE t FIELDS TERMINATED BY ','")


@contextmanager
def without_names(database: Database) -> Iterator[None]:
    """A server that logs table maps without names, for a while."""
    database.run("SET GLOBAL binlog_row_metadata = MINIMAL", "FLUSH TABLES")
    try:
        yield
    finally:
        database.run("SET GLOBAL binlog_row_metadata = FULL", "FLUSH TABLES")


def by_rows_without_names(database: Database, _: Path) -> None:
    with without_names(database), database.session(*insert(3, 4)):
        pass


def story(following: Following) -> dict[int | None, str]:
    """How each row came, by its id; under None a gap."""
    return {json.loads(event.message).get("id"): event.op for event in following.published}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("write", [by_statement, by_function, by_file, by_rows_without_names])
async def test_rows_that_cannot_be_read_are_fetched(
    database: Database, follow: Follow, tmp_path: Path, write: Callable[[Database, Path], None]
) -> None:
    """A gap with its reason, then the rows, told from live ones; named as missing until then; no row twice."""
    database.run(TABLE)
    async with follow(database.origin("t")) as following:
        await following.live()
        database.run(*insert(1, 2))
        write(database, tmp_path)
        database.run(*insert(5))
        await following.until(lambda: sorted(following.ids()) == [1, 2, 3, 4, 5])
        assert following.loop.missing == {}
        database.run(*insert(6))
        await following.until(lambda: following.ids()[-1:] == [6])
        await following.live()
    assert story(following) | {5: INSERT} == {
        1: INSERT, 2: INSERT, None: GAP, 3: READ, 4: READ, 5: INSERT, 6: INSERT,
    }  # fmt: skip
    assert len(following.ids()) == 6
    (gap, *_) = [json.loads(event.message) for event in following.published if event.op == GAP]
    assert gap["reason"] == "unreadable"
    assert gap.keys() == {"reason", "detail", "position"}


async def test_a_table_without_a_key_stays_missing(database: Database, follow: Follow) -> None:
    """Nothing says which of its rows are new: that is named until the process ends, and the table not asked again."""
    database.run("CREATE TABLE t (id INT)")
    following = follow(database.origin("t"))
    async with following:
        await following.live()
        database.run("INSERT INTO t VALUES (1)", STATEMENT, "INSERT INTO t VALUES (2)", ROW, "INSERT INTO t VALUES (3)")
        await following.until(lambda: following.loop.stats.connects == 2)
        await following.live()
        database.run(STATEMENT, "INSERT INTO t VALUES (4)", ROW, "INSERT INTO t VALUES (5)")
        await following.until(lambda: following.ids() == [1, 3, 5])
        assert following.loop.stats.connects == 2
        assert list(following.loop.missing) == ["t"]
    async with following:
        await following.live()
        assert following.loop.missing == {}


async def test_a_repair_survives_the_end_of_the_process(
    database: Database, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended between the gap and the rows: the next one fetches them, and tells no second gap."""
    database.run(TABLE)
    following = follow(database.origin("t"))
    with monkeypatch.context() as patch:
        patch.setattr(backoff, "_QUICK", 3600.0)  # seconds before the tables are asked
        patch.setattr(backoff, "_SLOWEST", 3600.0)
        async with following:
            await following.live()
            database.run(*insert(1), STATEMENT, *insert(2), ROW)
            await following.until(lambda: story(following) == {1: INSERT, None: GAP})
            assert list(following.loop.missing) == ["t"]
    database.run(*insert(3))
    async with following:
        await following.count(4)
        await following.live()
    assert story(following) == {1: INSERT, None: GAP, 2: READ, 3: READ}
    assert len(following.published) == 4


async def test_a_loss_that_was_not_told_survives_the_end_of_the_process(database: Database, follow: Follow) -> None:
    """The checkpoint may already lie behind what was lost: it says that the gap and the rows are still owed."""
    database.run(TABLE)
    following = follow(database.origin("t"))
    async with following:
        await following.live()
        database.run(*insert(1))
        await following.count(1)
        database.run("SET SESSION sql_log_bin = 0", *insert(2), "SET SESSION sql_log_bin = 1")
        owed = {"t": Owed("purged", "the log begins later")}
        checkpoint = msgspec.structs.replace(following.checkpoint, owed=owed)
        await following.journal.append([Transaction((), checkpoint.encode(), 0.0)])
    async with following:
        await following.count(3)
        await following.live()
    assert following.story() == [1, "purged", 2]
    assert following.checkpoint.owed == {}


@pytest.mark.usefixtures("quick")
async def test_an_update_by_statement_stays_missing(database: Database, follow: Follow) -> None:
    """The table tells which rows are new, not which have changed: named still when the new rows were fetched."""
    database.run(TABLE)
    async with follow(database.origin("t", events=("insert", "update"))) as following:
        await following.live()
        database.run(*insert(1), STATEMENT, "UPDATE t SET name = 'other'", *insert(2), ROW)
        await following.until(lambda: following.ids() == [1, 2])
        await following.live()
        assert list(following.loop.missing) == ["t"]
        assert following.checkpoint.owed == {}


async def test_a_table_without_a_key_is_asked_once_for_a_whole_backlog(maria: Database, follow: Follow) -> None:
    """What cannot be read while the table is being asked does not begin the asking anew: two connections do."""
    maria.run("CREATE TABLE t (id INT)")
    following = follow(maria.origin("t"))
    async with following:
        await following.live()
        maria.run("INSERT INTO t VALUES (0)")
        await following.count(1)
    maria.run(STATEMENT, *[f"INSERT INTO t VALUES ({number})" for number in range(1, 501)], ROW)
    maria.run("INSERT INTO t VALUES (501)")
    async with following:
        await following.until(lambda: following.ids()[-1:] == [501] and following.loop.stats.connects == 2, 60)
        await following.until(lambda: following.checkpoint.owed == {})
        assert following.loop.stats.connects == 2
        assert list(following.loop.missing) == ["t"]


@pytest.mark.usefixtures("quick")
async def test_a_channel_without_rows_yet_is_repaired_whole(maria: Database, follow: Follow) -> None:
    """Behind a gap in a channel that has had no row, more rows than ``seed`` may be new: every one arrives."""
    maria.run(TABLE)
    async with follow(maria.origin("t", seed=2)) as following:
        await following.live()
        maria.run(STATEMENT, "INSERT INTO t (id, name) VALUES (1,'a'),(2,'a'),(3,'a'),(4,'a')", ROW, *insert(5))
        await following.until(lambda: len(following.ids()) == 5)
        await following.live()
        assert sorted(following.ids()) == [1, 2, 3, 4, 5]
        assert not following.loop.missing


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("before", [[], [1]])
async def test_rows_close_behind_a_gap_do_not_hide_those_in_it(
    maria: Database, follow: Follow, before: list[int]
) -> None:
    """Read in one go, a row behind the gap is in the journal before the table is asked; older ones lack."""
    maria.run(TABLE)
    following = follow(maria.origin("t", seed=2))
    async with following:
        await following.live()
        maria.run(*insert(*before))
        await following.count(len(before))
    maria.run(STATEMENT, *insert(2, 3, 4), ROW, *insert(5))
    async with following:
        await following.until(lambda: len(following.ids()) == len(before) + 4)
        assert sorted(following.ids()) == [*before, 2, 3, 4, 5]
        await following.until(lambda: not following.loop.missing)


@pytest.mark.usefixtures("quick")
async def test_rows_that_cannot_be_told_from_older_ones_stay_named(maria: Database, follow: Follow) -> None:
    """Without a seed nobody knows where the channel's rows began: behind a gap none is fetched, and that is said."""
    maria.run(TABLE, *insert(1))
    async with follow(maria.origin("t", seed=0)) as following:
        await following.live()
        maria.run(STATEMENT, *insert(2), ROW, *insert(3))
        await following.until(lambda: 3 in following.ids())
        await following.live()
        assert following.story() == ["unreadable", 3]
        assert list(following.loop.missing) == ["t"]


def test_a_second_gap_does_not_hide_what_the_first_lacks() -> None:
    """Of two gaps that come together, the place of the first bounds what was known."""
    place = Position("binlog.000001", 4)

    def done(*changes: Change, **unread: Unread) -> Committed:
        return Committed(changes, place, place, None, 0.0, unread=unread)

    gap, row, why = Change("t", GAP, b"{}"), Change("t", INSERT, b"{}"), Unread("by statement", mendable=True)
    ledger = Ledger()
    ledger.begin({})
    ledger.take([done(row, gap, t=why), done(*[row] * 5), done(gap, t=why)], lambda _: 10)
    assert ledger.owed["t"].after == 11
    assert ledger.due
