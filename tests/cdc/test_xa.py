from __future__ import annotations

import asyncio
import json
import struct
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pymysql
import pytest

from cdc.capture import LIVE, CaptureLoop
from cdc.committed import Committed
from cdc.position import Checkpoint, Position
from cdc.reader import Overlap
from cdc.xa import Waiting, Xid, named_xid, prepared_xid
from journal.types import INSERT, Change, Event, Transaction
from tests.cdc.database import Database, gaps, rows
from tests.conftest import MakeServer
from tests.waiting import until

START = Position("binlog.000001", 4)
ROW = Change("orders", INSERT, b'{"id":1}')


@pytest.mark.parametrize("xid", [Xid(1, b"x", b""), Xid(2**31 - 1, b"'\0", b"\xff" * 64), Xid(0, b"", b"b")])
def test_both_forms_of_an_xid_are_one(xid: Xid) -> None:
    """The prepare event carries bytes, the statement at the end writes them in hexadecimal."""
    sizes = struct.pack("<III", xid.format, len(xid.transaction), len(xid.branch))
    sql = f"XA COMMIT X'{xid.transaction.hex()}',X'{xid.branch.hex()}',{xid.format}"
    assert prepared_xid(b"\0" + sizes + xid.transaction + xid.branch) == named_xid(sql) == xid


def test_a_statement_without_an_xid_names_none() -> None:
    """What servers do not write is not guessed."""
    assert named_xid("XA RECOVER") is None


def test_what_waits_is_given_once() -> None:
    """And room is made for others."""
    waiting = Waiting()
    waiting.hold(Xid(1, b"a", b""), START, [ROW])
    assert waiting.end(Xid(1, b"b", b"")) is None
    assert waiting.end(Xid(1, b"a", b"")) == [ROW]
    assert waiting.end(Xid(1, b"a", b"")) is None
    assert waiting.oldest is None
    assert waiting._size == 0


def test_an_xid_that_is_used_again_waits_anew() -> None:
    """Its old rows were never committed; its place is that of the new transaction."""
    waiting, later = Waiting(), Position("binlog.000001", 900)
    waiting.hold(Xid(1, b"a", b""), START, [ROW, ROW])
    waiting.hold(Xid(1, b"b", b""), Position("binlog.000001", 500), [])
    waiting.hold(Xid(1, b"a", b""), later, [ROW])
    assert waiting.oldest == Position("binlog.000001", 500)
    assert waiting.end(Xid(1, b"a", b"")) == [ROW]
    assert waiting._size == 0


# On real servers


@contextmanager
def prepared(database: Database, xid: str, *numbers: int) -> Iterator[pymysql.Connection[Any]]:
    """A session that has prepared a transaction; a server's session can prepare one at a time."""
    inserts = [f"INSERT INTO t VALUES ({number})" for number in numbers]
    with database.session(f"XA START {xid}", *inserts, f"XA END {xid}", f"XA PREPARE {xid}") as session:
        yield session


def resumed(database: Database, done: list[Committed]) -> list[Committed]:
    """What a new reader captures behind ``done``, from the checkpoint of its last transaction."""
    last = done[-1]
    known = Checkpoint(database.flavour, "", last.start, last.end, last.fingerprint, last.held)
    overlap = Overlap(known)
    return [one for one in database.read(known.resume, "t") if overlap.is_new(one)]


@pytest.mark.parametrize("by_file", [False, True])
def test_prepared_transactions_arrive_at_their_commit(database: Database, *, by_file: bool) -> None:
    """Two wait at once, others commit between; a reader that begins anew behind any transaction gives the same."""
    database.run("CREATE TABLE t (id INT PRIMARY KEY)")
    start = database.end(by_file=by_file)
    with prepared(database, "'a','branch',7", 1, 2) as one, prepared(database, r"X'00ff27'", 3) as other:
        database.run("INSERT INTO t VALUES (4)")
        other.query("XA COMMIT X'00ff27'")
        with prepared(database, "'gone'", 5) as gone:
            gone.query("XA ROLLBACK 'gone'")
        database.run("INSERT INTO t VALUES (6)")
        one.query("XA COMMIT 'a','branch',7")
        database.run("INSERT INTO t VALUES (7)")
    done = database.read(start, "t")
    assert ([row["id"] for row in rows(done)], gaps(done)) == ([4, 3, 6, 1, 2, 7], [])
    assert sorted(row["id"] for row in rows(done)) == [int(row[0]) for row in database.select("SELECT id FROM t")]
    for count in range(1, len(done)):
        again = resumed(database, done[:count])
        assert [(each.changes, each.end, each.fingerprint) for each in again] == [
            (each.changes, each.end, each.fingerprint) for each in done[count:]
        ]


@pytest.mark.parametrize("flavour", ["mariadb", "mysql"])
@pytest.mark.parametrize("verb", ["COMMIT", "ROLLBACK"])
def test_a_prepared_transaction_outlives_the_server(make_server: MakeServer, flavour: str, verb: str) -> None:
    """Prepared, the server killed, ended by another session: its rows arrive at the commit, or never."""
    server = make_server(flavour)
    database = Database(server)
    database.run("CREATE TABLE t (id INT PRIMARY KEY)")
    start = database.end()
    with prepared(database, "'x'", 1):
        done = database.read(start, "t")
        server.kill()
    server.start()
    database.reconnect()
    database.run("USE test_cdc", f"XA {verb} 'x'", "INSERT INTO t VALUES (2)")
    again = resumed(database, done)
    expected = [1, 2] if verb == "COMMIT" else [2]
    assert ([row["id"] for row in rows(again)], gaps(again), again[-1].held) == (expected, [], None)
    assert [int(row[0]) for row in database.select("SELECT id FROM t")] == expected


# In the capture loop


class Memory:
    """A journal that keeps nothing when the process ends; ``events`` are all that were ever published."""

    def __init__(self) -> None:
        self.checkpoint: str | None = None
        self.events: list[Event] = []

    async def withdraw(self) -> None:
        """It holds no pieces."""

    async def append(self, batch: Sequence[Transaction]) -> list[Event]:
        """Number the changes."""
        self.checkpoint = batch[-1].checkpoint
        changes = [(change, one.committed) for one in batch for change in one.changes]
        new = [
            Event(change.channel, number, change.op, change.message, committed)
            for number, (change, committed) in enumerate(changes, len(self.events) + 1)
        ]
        self.events += new
        return new

    def head(self, channel: str) -> int:
        """How many events there are, all of one channel."""
        return len(self.events)

    async def read(self, channel: str, after: int, limit: int = 1000) -> list[Event]:
        """Those after ``after``."""
        return self.events[after : after + limit]

    @property
    def held(self) -> Position | None:
        """What the last checkpoint holds back."""
        return Checkpoint.decode(self.checkpoint).held if self.checkpoint else None

    def seen(self) -> list[object]:
        """The rows by their id, gaps by their reason."""
        messages = [json.loads(event.message) for event in self.events]
        return [message.get("id", message.get("reason")) for message in messages]


@asynccontextmanager
async def capturing(database: Database, journal: Memory) -> AsyncIterator[None]:
    """A capture loop over the table, from the journal's checkpoint to the log's end, and until the context ends."""
    loop = CaptureLoop(database.origin("t"), journal, lambda _: None, lambda *_: None, derived_id=False)
    task = asyncio.create_task(loop.run())
    try:
        await until(lambda: loop.state == LIVE)
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def purge(database: Database, file: str) -> None:
    """Throw a file of the log away; refused without a word while somebody reads it, so until it is gone."""
    deadline = time.monotonic() + 10
    newest = database.end().file
    while file in [name for name, *_ in database.select("SHOW BINARY LOGS")]:
        assert time.monotonic() < deadline
        database.run(f"PURGE BINARY LOGS TO '{newest}'")


async def test_a_restart_of_capture_keeps_what_is_prepared(database: Database) -> None:
    """The rows came before the restart and are delivered after it, once, at their commit."""
    database.run("CREATE TABLE t (id INT PRIMARY KEY)")
    journal = Memory()
    with database.session() as session:
        async with capturing(database, journal):
            session.query("XA START 'x'")
            for statement in ("INSERT INTO t VALUES (1)", "XA END 'x'", "XA PREPARE 'x'"):
                session.query(statement)
            database.run("INSERT INTO t VALUES (2)")
            await until(lambda: journal.seen() == [2] and journal.held)
        database.run("INSERT INTO t VALUES (3)")
        async with capturing(database, journal):
            await until(lambda: journal.seen() == [2, 3])
            session.query("XA COMMIT 'x'")
            await until(lambda: journal.seen() == [2, 3, 1])
    async with capturing(database, journal):
        database.run("INSERT INTO t VALUES (4)")
        await until(lambda: journal.seen() == [2, 3, 1, 4])
    assert journal.held is None


@pytest.mark.parametrize("flavour", ["mariadb", "mysql"])
async def test_a_log_purged_behind_what_is_prepared_costs_only_that(make_server: MakeServer, flavour: str) -> None:
    """Capture goes on from the last transaction without a gap; the commit of the forgotten one is the gap."""
    database = Database(make_server(flavour))
    database.run("CREATE TABLE t (id INT PRIMARY KEY)")
    journal = Memory()
    async with capturing(database, journal):
        with prepared(database, "'x'", 1):
            await until(lambda: journal.held)
    file = journal.held.file if journal.held else ""
    database.run("FLUSH BINARY LOGS", "INSERT INTO t VALUES (2)")
    async with capturing(database, journal):
        await until(lambda: journal.seen() == [2])
    purge(database, file)
    async with capturing(database, journal):
        database.run("INSERT INTO t VALUES (3)")
        await until(lambda: journal.seen() == [2, 3])
        assert journal.held is None
        database.run("XA COMMIT 'x'", "INSERT INTO t VALUES (4)")
        await until(lambda: journal.seen() == [2, 3, "unreadable", 4])
