from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

from cdc.errors import PositionLost
from journal.types import GAP
from tests.cdc.database import Database
from tests.cdc.following import TABLE, Follow, Following, insert


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
        if after in (OTHERS["the same coordinates"], OTHERS["the same rows at another time"]):
            assert database.end().offset == place.offset, "the coordinates should coincide"
    return following


OTHERS = {
    "the same coordinates": [statement.replace("row", "ROW") for statement in insert(1, 2)],
    "the same rows at another time": ["SET timestamp = 1700000000", *insert(1, 2), "SET timestamp = DEFAULT"],
    "a shorter log": insert(7),
    "an empty log": [],
    "a longer log": [f"INSERT INTO t (id, name) VALUES ({n}, REPEAT('x', 57))" for n in range(1, 9)],
}


def new_rows(other: str) -> list[int]:
    """The primary keys in that log, of rows that are not the same as before."""
    new = [statement for statement in OTHERS[other] if "VALUES" in statement and statement not in insert(1, 2)]
    return [int(statement.partition("VALUES (")[2].partition(",")[0]) for statement in new]


@pytest.mark.parametrize("other", OTHERS)
async def test_another_log_under_the_same_gtids_is_a_gap(database: Database, follow: Follow, other: str) -> None:
    """After RESET the same GTIDs name other rows: a gap with its reason, then the rows that are new."""
    await the_log_becomes_another(database, follow, insert(1, 2), OTHERS[other], [1, 2, "reset", *new_rows(other)])


@pytest.mark.parametrize("other", OTHERS)
async def test_another_log_under_the_same_file_is_a_gap(oracle: Database, follow: Follow, other: str) -> None:
    """The same by file and offset, which may even point into the middle of another event."""
    expected = [1, 2, "reset", *new_rows(other)]
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
