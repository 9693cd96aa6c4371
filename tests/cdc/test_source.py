from __future__ import annotations

import importlib.metadata
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pymysql
import pymysql.connections
import pytest
from pymysqlreplication import BinLogStreamReader

from cdc import events as ev
from cdc.control import Control
from cdc.errors import MalformedEvent, PositionLost, SourceError, SourceRefused, StreamLost, Superseded
from cdc.position import Position
from cdc.source import BinlogSource, _ending, _OneConnection
from tests.cdc.database import HEARTBEAT, NAME, Database, rows
from tests.faults.proxy import CuttingProxy

by_gtid_or_file = pytest.mark.parametrize("by_file", [False, True], ids=["gtid", "file"])
Open = Callable[..., BinlogSource]


@pytest.fixture
def open_source() -> Iterator[Open]:
    """Opens sources, and closes them."""
    made: list[BinlogSource] = []

    def open_it(
        database: Database, start: Position | None = None, *, server_id: int = 4001, **connect: Any
    ) -> BinlogSource:
        source = BinlogSource(database.arguments | connect, server_id, heartbeat=HEARTBEAT)
        made.append(source)
        source.open(start or database.end(), database.flavour)
        return source

    yield open_it
    for source in made:
        source.close()


def ending(events: Iterator[bytes]) -> tuple[SourceError, float]:
    """Why a source ended, and after how many seconds."""
    began = time.monotonic()
    try:
        for _ in events:
            assert time.monotonic() < began + 10, "the source goes on"
    except SourceError as error:
        return error, time.monotonic() - began
    raise AssertionError("a source never ends without an error")


def in_background(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


# What it stands on


def test_the_library_is_the_one_that_was_looked_into() -> None:
    """cdc/source.py uses private names of this very version: look at them again before you raise it."""
    assert importlib.metadata.version("mysql-replication") == "1.0.17"


def test_the_private_names_are_there(database: Database, open_source: Open) -> None:
    """Those of the library and of its driver, each as the source expects it."""
    assert callable(BinLogStreamReader._BinLogStreamReader__connect_to_stream)
    connection: Any = open_source(database)._connection
    assert connection._sock.gettimeout() == 2 * HEARTBEAT
    assert connection._next_seq_id == 1
    connection._force_close()
    assert connection._sock is None
    assert isinstance(connection, pymysql.connections.Connection)


def test_the_library_connects_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own reconnect would read on from inside a transaction, or everything again."""
    monkeypatch.setattr(pymysql, "connect", lambda **_: "connected")
    connect = _OneConnection()
    assert connect(host="x") == "connected"
    with pytest.raises(StreamLost, match="reconnect by itself"):
        connect(host="x")


# Where it starts


@by_gtid_or_file
def test_reading_begins_behind_the_position(database: Database, *, by_file: bool) -> None:
    """What was committed before does not come, what came after does, into the next file too."""
    database.run("CREATE TABLE t (id INT)", "INSERT INTO t VALUES (1)")
    start = database.end(by_file=by_file)
    database.run("INSERT INTO t VALUES (2)", "FLUSH BINARY LOGS", "INSERT INTO t VALUES (3)")
    assert rows(database.read(start, "t")) == [{"id": 2}, {"id": 3}]


@by_gtid_or_file
def test_the_checksums_of_then_are_understood(database: Database, *, by_file: bool) -> None:
    """A log that was written with checksums, without, and with again is read from any of them, whatever holds now."""
    checksum = database.value("SELECT @@GLOBAL.binlog_checksum")
    database.run("CREATE TABLE t (id INT)")
    starts = []
    try:
        for number, value in enumerate(["CRC32", "NONE", "CRC32", "NONE"]):
            database.run(f"SET GLOBAL binlog_checksum = {value}")
            starts.append(database.end(by_file=by_file))
            database.run(f"INSERT INTO t VALUES ({number})")
            for first, start in enumerate(starts):
                assert [row["id"] for row in rows(database.read(start, "t"))] == list(range(first, number + 1))
    finally:
        database.run(f"SET GLOBAL binlog_checksum = {checksum}")


def reset(database: Database) -> None:
    """Begin the log anew."""
    database.try_run("RESET BINARY LOGS AND GTIDS", "RESET MASTER")


def test_a_server_without_a_past_is_followed_from_its_beginning(database: Database) -> None:
    """An empty GTID state means everything from here on, not the log's end at the time of connecting."""
    database.run("CREATE TABLE t (id INT)")
    reset(database)
    start = database.end()
    assert not start.gtid
    database.run("INSERT INTO t VALUES (1)")
    assert rows(database.read(start, "t")) == [{"id": 1}]


def test_tagged_gtids_are_followed_by_file(oracle: Database) -> None:
    """Rows with a tag in their GTID arrive, and a reader can start before, between and behind them."""
    oracle.run("CREATE TABLE t (id INT)")
    starts = [oracle.end()]
    for number, tag in enumerate(["AUTOMATIC", "AUTOMATIC:blue", "AUTOMATIC"]):
        oracle.run(f"SET gtid_next = '{tag}'", f"INSERT INTO t VALUES ({number})", "SET gtid_next = 'AUTOMATIC'")
        starts.append(oracle.end())
    assert [start.gtid is None for start in starts[1:]] == [False, True, True]
    try:
        for first, start in enumerate(starts):
            committed = oracle.read(start, "t")
            assert [row["id"] for row in rows(committed)] == list(range(first, 3))
            for one in committed:
                assert rows(oracle.read(one.start, "t"))[:1] == rows([one])
    finally:
        reset(oracle)


# How it ends


def dump_threads(database: Database) -> list[int]:
    found = database.select("SELECT id FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%'")
    return [int(number) for (number,) in found]


def wait_for(condition: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_killed_dump_thread_is_a_lost_stream(database: Database, open_source: Open) -> None:
    """KILL on the server ends the stream, not the reader's future."""
    before = dump_threads(database)
    source = open_source(database)
    wait_for(lambda: len(dump_threads(database)) > len(before))
    (killed,) = set(dump_threads(database)) - set(before)
    database.run(f"KILL {killed}")
    assert isinstance(ending(source.events())[0], StreamLost)


def test_a_silent_link_is_lost_within_two_heartbeats(database: Database, open_source: Open) -> None:
    """Heartbeats keep an idle link; one that forwards nothing any more is found out by their absence."""
    with CuttingProxy(database.server.port) as proxy:
        events = open_source(database, port=proxy.port).events()
        heartbeats = 0
        while heartbeats < 3:
            heartbeats += ev.is_heartbeat(next(events))
        proxy.pause()
        error, seconds = ending(events)
    assert isinstance(error, StreamLost)
    assert "no event and no heartbeat for 1 s" in str(error)
    assert seconds < 2 * HEARTBEAT + 2  # and two seconds for a busy machine


def test_a_cut_link_is_a_lost_stream(database: Database, open_source: Open) -> None:
    """A reset connection says so at once."""
    with CuttingProxy(database.server.port) as proxy:
        source = open_source(database, port=proxy.port)
        events = source.events()
        next(events)
        proxy.cut()
        assert isinstance(ending(events)[0], StreamLost)


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "TLS"])
def test_an_abort_ends_a_blocked_read(database: Database, open_source: Open, *, encrypted: bool) -> None:
    """From another thread, at once, without waiting for a heartbeat."""
    database.encrypted = encrypted
    source = open_source(database)
    aborted: list[float] = []

    def abort() -> None:
        time.sleep(0.7 * HEARTBEAT)
        aborted.append(time.monotonic())
        source.abort()

    thread = in_background(abort)
    error, _ = ending(source.events())
    thread.join()
    assert isinstance(error, StreamLost)
    assert time.monotonic() - aborted[0] < 2 * HEARTBEAT


def test_an_abort_before_the_start_counts(database: Database) -> None:
    """A reader that is turned away while it connects does not read."""
    source = database.source()
    source.abort()
    source.open(database.end(), database.flavour)
    assert isinstance(ending(source.events())[0], StreamLost)
    source.close()
    assert isinstance(ending(source.events())[0], StreamLost)


def test_an_encrypted_link_carries_the_same(oracle: Database) -> None:
    """Where the server offers TLS, events are read through it."""
    oracle.run("CREATE TABLE t (id INT, filler LONGTEXT)")
    start = oracle.end()
    oracle.run("INSERT INTO t VALUES (1, REPEAT('x', 3000000)), (2, 'y')")
    oracle.encrypted = True
    assert [(row["id"], len(row["filler"])) for row in rows(oracle.read(start, "t"))] == [(1, 3000000), (2, 1)]


def test_an_event_larger_than_a_packet_is_read_whole(maria: Database) -> None:
    """From 16 MiB on the server sends an event in pieces; what follows is found behind the last of them."""
    maria.run("CREATE TABLE t (id INT, filler LONGBLOB)")
    start = maria.end()
    maria.run("INSERT INTO t VALUES (1, REPEAT('x', 16777216))", "INSERT INTO t VALUES (2, 'y')")
    assert [(row["id"], len(row["filler"])) for row in rows(maria.read(start, "t"))] == [(1, 22369624), (2, 4)]


@by_gtid_or_file
def test_a_purged_position_is_lost(database: Database, open_source: Open, *, by_file: bool) -> None:
    """The server has thrown the file away: what was in it will not come."""
    database.run("CREATE TABLE t (id INT)")
    start = database.end(by_file=by_file)
    database.run("INSERT INTO t VALUES (1)")

    def purged() -> bool:
        # refused without a word while somebody reads the file, or the server still needs it
        database.run("FLUSH BINARY LOGS")
        newest = database.end().file
        database.run(f"PURGE BINARY LOGS TO '{newest}'")
        return start.file not in [name for name, *_ in database.select("SHOW BINARY LOGS")]

    wait_for(purged)
    error, _ = ending(open_source(database, start).events())
    assert isinstance(error, PositionLost)
    assert error.reason == "purged"


def test_a_gtid_that_the_log_never_had_is_a_reset(database: Database, open_source: Open) -> None:
    """After RESET the server does not know what we have seen."""
    database.run("CREATE TABLE t (id INT)", "INSERT INTO t VALUES (1)")
    start = database.end()
    reset(database)
    database.run("INSERT INTO t VALUES (2)")
    error, _ = ending(open_source(database, start).events())
    assert isinstance(error, PositionLost)
    assert error.reason == "reset"


def test_an_offset_beyond_the_file_is_a_reset(database: Database, open_source: Open) -> None:
    """The file has our name for it and is shorter than what we have read of it."""
    end = database.end()
    error, _ = ending(open_source(database, Position(end.file, end.offset + 100_000)).events())
    assert isinstance(error, PositionLost)
    assert error.reason == "reset"


def test_the_younger_of_two_readers_with_one_id_wins(database: Database, open_source: Open) -> None:
    """The older one is told that it was superseded, and not that its link broke."""
    events = open_source(database, server_id=4711).events()
    next(events)
    next(open_source(database, server_id=4711).events())
    assert isinstance(ending(events)[0], Superseded)


@pytest.mark.parametrize(
    ("packet", "kind", "words"),
    [
        (b"\xfe\0\0\2\0", StreamLost, "ended the stream"),
        (b"\x01", StreamLost, "begins with 0x01"),
        (b"\xff\xd4\x04#HY000event read from binlog did not pass crc check", MalformedEvent, "crc check"),
        (b"\xff\xd4\x04#HY000log event entry exceeded max_allowed_packet", MalformedEvent, "max_allowed_packet"),
        (b"\xff\xd4\x04#HY000Could not find first log file name in binary log index file", PositionLost, "first log"),
        (b"\xff\xcb\x04#42000Access denied; you need REPLICATION SLAVE", SourceRefused, "REPLICATION SLAVE"),
        (b"\xff\x1d\x05#08S01Server shutdown in progress", StreamLost, "1309: Server shutdown"),
    ],
)
def test_last_words_are_told_apart(packet: bytes, kind: type[SourceError], words: str) -> None:
    """A damaged log is no lost position, from which everything would be read again; a refusal is no lost link."""
    error = _ending(packet)
    assert type(error) is kind
    assert words in str(error)


# Who may


def test_a_wrong_password_is_a_refusal(database: Database) -> None:
    """For the stream and for questions; the text does not hold the password."""
    wrong = database.arguments | {"password": "wr0ng-s3cret"}
    source = BinlogSource(wrong, 4001, heartbeat=HEARTBEAT)
    for attempt in (lambda: source.open(database.end(), database.flavour), lambda: Control(wrong)):
        with pytest.raises(SourceRefused) as raised:
            attempt()
        assert "wr0ng-s3cret" not in f"{raised.value} {raised.value.hint}"


def test_an_account_without_the_right_is_refused(database: Database, open_source: Open) -> None:
    """It may connect and may not follow; where to find the remedy is said."""
    database.run("CREATE USER test_cdc@'%' IDENTIFIED BY 'x'", f"GRANT SELECT ON {NAME}.* TO test_cdc@'%'")
    try:
        with pytest.raises(SourceRefused, match="denied") as raised:
            open_source(database, user="test_cdc", password="x")
    finally:
        database.run("DROP USER test_cdc@'%'")
    assert "rowcast check" in raised.value.hint


def test_a_server_that_is_away_is_a_lost_stream(database: Database, free_port: int) -> None:
    """Nobody listens: come back later."""
    source = BinlogSource(database.arguments | {"port": free_port}, 4001, heartbeat=HEARTBEAT)
    with pytest.raises(StreamLost):
        source.open(database.end(), database.flavour)
    with pytest.raises(StreamLost):
        Control(database.arguments | {"port": free_port})


def test_no_password_is_logged(database: Database, caplog: pytest.LogCaptureFixture, capfd: Any) -> None:
    """Neither by us nor by the library, whatever the level, whether it works or fails."""
    caplog.set_level(logging.DEBUG)
    database.run("CREATE TABLE t (id INT)")
    start = database.end()
    database.run("INSERT INTO t VALUES (1)")
    database.read(start, "t")
    with pytest.raises(SourceRefused):
        BinlogSource(database.arguments | {"password": "wr0ng-s3cret"}, 1).open(start, database.flavour)
    said = caplog.text + "".join(capfd.readouterr())
    assert database.server.root_password not in said
    assert "wr0ng-s3cret" not in said
    assert [record.name for record in caplog.records if record.name.startswith("pymysqlreplication")] == []


def test_the_server_is_known_by_its_own_number(database: Database) -> None:
    """Flavour, identity, GTIDs and character sets are asked for once, and the end of the log is a place in it."""
    with Control(database.arguments) as control:
        server, end, oldest = control.server(), control.end(gtids=True), control.oldest()
    assert server.flavour == database.flavour
    assert len(server.identity) > 20
    assert server.gtids
    assert server.charsets[63] == "binary"
    assert server.charsets[8] == "latin1"
    assert oldest.offset == 4
    assert (oldest.file, oldest.offset) <= (end.file, end.offset)
    assert ev.HEADER_SIZE == 19
