from __future__ import annotations

import json
import tracemalloc
import zlib
from collections.abc import Iterator

import pytest
import zstandard

from cdc import compression
from cdc import events as ev
from cdc.errors import MalformedEvent
from cdc.position import Position
from journal.types import INSERT
from tests.cdc import forge
from tests.cdc.database import Database, gaps, rows
from tests.cdc.forge import Log, assemble, deflated, image, insert_events, payload

# MariaDB's events


@pytest.mark.parametrize("size_bytes", [1, 2, 3, 4])
def test_a_packed_event_is_unpacked_behind_its_fixed_part(size_bytes: int) -> None:
    """The length takes one to four bytes, the highest first."""
    data = b"abc" * 50
    packed = bytes([0x80 | size_bytes]) + len(data).to_bytes(size_bytes, "big") + zlib.compress(data)
    assert compression.inflated(b"fixed" + packed, 5) == b"fixed" + data


BROKEN = {
    "longer than it says": deflated(b"x" * 100, 99),
    "shorter than it says": deflated(b"x" * 100, 101),
    "cut": deflated(b"x" * 100)[:-5],
    "no zlib": b"\x81\x03xxx",
    "another algorithm": b"\x91" + deflated(b"x")[1:],
    "no length": b"\x80" + zlib.compress(b"x"),
    "a length of seven bytes": b"\x87" + bytes(6) + b"\1" + zlib.compress(b"x"),
}


@pytest.mark.parametrize("packed", BROKEN.values(), ids=list(BROKEN))
def test_a_packed_event_that_is_not_what_it_says_is_malformed(packed: bytes) -> None:
    """Too much, too little, no zlib, an unknown algorithm."""
    with pytest.raises(MalformedEvent, match="packed data"):
        compression.inflated(packed, 0)


def test_a_bomb_unpacks_no_further_than_it_says() -> None:
    """A hundred bytes are promised, and no more is made of the 100 MB that follow."""
    bomb = deflated(bytes(100 << 20), 100)
    tracemalloc.start()
    with pytest.raises(MalformedEvent, match="100 bytes"):
        compression.inflated(bomb, 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_packed_rows_are_the_rows() -> None:
    """Every version of a packed insert arrives, packed updates and deletes are none, a packed statement is read."""
    log = Log("mariadb")
    for number, kind in enumerate(ev.UNPACKED_ROWS):
        log.begin()
        log.table()
        body = forge.rows(7, 2, b"", ev.UNPACKED_ROWS[kind])
        log.add(kind, body + deflated(image(number, "packed")))
        commit = forge.query("COMMIT")
        log.add(ev.MARIADB_QUERY_COMPRESSED, commit[:-6] + deflated(b"COMMIT"))
    done = assemble(log)
    assert ([row["id"] for row in rows(done)], gaps(done), len(done)) == ([0, 3], [], 6)


def test_a_transaction_looks_the_same_packed_or_not() -> None:
    """Its fingerprint covers what was written, not how it was stored."""
    prints = []
    for kind in (ev.WRITE_ROWS_V1, 166):
        log = Log("mariadb")
        log.begin()
        log.table()
        images = image(1, "one")
        log.add(kind, forge.rows(7, 2, b"", ev.WRITE_ROWS_V1) + (images if kind < 160 else deflated(images)))
        log.xid()
        prints.append(assemble(log)[0].fingerprint)
    assert prints[0] == prints[1]


def test_packed_rows_that_do_not_unpack_are_a_gap() -> None:
    """The stream lives on, and the channels are told."""
    log = Log("mariadb")
    log.begin()
    log.table()
    log.add(166, forge.rows(7, 2, b"", ev.WRITE_ROWS_V1) + deflated(image(1, "x"), 5))
    log.xid()
    log.insert(2)
    done = assemble(log)
    ((channel, detail),) = gaps(done)
    assert (channel, [row["id"] for row in rows(done)]) == ("orders", [2])
    assert "type 166" in detail


# MySQL's transactions


@pytest.mark.parametrize("algorithm", [0, 255])
def test_a_packed_transaction_is_whole_and_ends_where_its_event_does(algorithm: int) -> None:
    """Packed by zstd or stored as it is; its events' own places, which are 0, are not used."""
    log = Log("mysql")
    log.insert(1)
    begin = log.offset
    name = log.gtid()
    log.add(ev.TRANSACTION_PAYLOAD, payload(*insert_events(2, 3), algorithm=algorithm))
    log.insert(4)
    done = assemble(log)
    assert ([[row["id"] for row in rows([one])] for one in done], gaps(done)) == ([[1], [2, 3], [4]], [])
    assert (done[1].start.offset, done[1].end.offset) == (begin, done[2].start.offset)
    assert done[1].end.gtid == f"{forge.UUID}:1-2"
    assert done[1].fingerprint.gtid == name


GOOD = insert_events(1)
DAMAGED = {
    "an unknown algorithm": payload(*GOOD, algorithm=7),
    "less than it says": payload(*GOOD[:3], size=10_000),
    "more than it says": payload(*GOOD[:2], size=len(GOOD[0])),
    "an event longer than the rest": payload(*GOOD[:2], size=len(GOOD[0]) + 30),
    "no zstd": payload(b"x" * 100)[:-30] + bytes(30),
    "cut": payload(*GOOD)[:-20],
    "without an end": payload(*GOOD[:3]),
    "empty": payload(),
    "rows without their table": payload(GOOD[0], GOOD[2], GOOD[3]),
    "half a header": b"\2",
    "a payload in a payload": payload(GOOD[0], forge.packed(ev.TRANSACTION_PAYLOAD, payload(*GOOD)), GOOD[3]),
}


@pytest.mark.parametrize("body", DAMAGED.values(), ids=list(DAMAGED))
def test_a_packed_transaction_that_does_not_unpack_is_a_gap(body: bytes) -> None:
    """It is seen whole or not at all; what follows arrives, and its GTID counts."""
    log = Log("mysql")
    log.gtid()
    log.add(ev.TRANSACTION_PAYLOAD, body)
    log.insert(2)
    done = assemble(log)
    ((channel, detail),) = gaps(done)
    assert (channel, [[row["id"] for row in rows([one])] for one in done]) == ("orders", [[], [2]])
    assert "type 40" in detail
    assert done[0].end.gtid == f"{forge.UUID}:1"


def test_a_packed_transaction_is_unpacked_one_event_at_a_time() -> None:
    """64 MB that pack into a few KB never stand in memory at once."""
    body = payload(*[forge.packed(ev.ROWS_QUERY, bytes(1 << 20))] * 64)
    tracemalloc.start()
    count = sum(1 for _ in compression.unpack(body))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 64
    assert peak < 8 << 20


def test_a_length_that_is_not_there_takes_no_memory() -> None:
    """An event that says that it has 4 GB is read piece by piece, until nothing more comes."""
    header = bytearray(forge.packed(ev.ROWS_QUERY, b""))
    header[9:13] = b"\xff\xff\xff\xff"
    body = payload(bytes(header), size=1 << 33)
    tracemalloc.start()
    with pytest.raises(MalformedEvent, match="ends early"):
        list(compression.unpack(body))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_fields_of_newer_servers_are_skipped() -> None:
    """A field of an unknown type has a length."""
    body = b"\x09\x03abc" + payload(*GOOD)
    assert list(compression.unpack(body)) == GOOD


@pytest.mark.parametrize("algorithm", [0, 255])
def test_a_payload_that_holds_more_than_it_says_is_malformed(algorithm: int) -> None:
    """Half an event behind the last would otherwise pass in silence."""
    body = payload(*GOOD, b"more", size=sum(map(len, GOOD)), algorithm=algorithm)
    with pytest.raises(MalformedEvent, match=r"more than|where 4 are left|ends early"):
        list(compression.unpack(body))


def test_several_zstd_frames_are_one_payload() -> None:
    """A server may close a frame in the middle."""
    half = len(GOOD[0]) + 25  # in the middle of an event
    data = b"".join(GOOD)
    frames = zstandard.compress(data[:half]) + zstandard.compress(data[half:])
    said = forge.length(len(data))
    assert list(compression.unpack(b"\2\1\0\3" + bytes([len(said)]) + said + b"\0" + frames)) == GOOD


# On real servers


@pytest.fixture
def packing(maria: Database) -> Iterator[Database]:
    """A MariaDB that packs whatever has ten bytes."""
    before = maria.value("SELECT @@GLOBAL.log_bin_compress_min_len")
    maria.run("SET GLOBAL log_bin_compress_min_len = 10", "SET GLOBAL log_bin_compress = ON")
    yield maria
    maria.run("SET GLOBAL log_bin_compress = OFF", f"SET GLOBAL log_bin_compress_min_len = {before}")


def kinds(events: list[bytes]) -> set[int]:
    """Which types of events the log holds."""
    return {event[4] for event in events}


def test_mariadb_packed_rows_and_statements(packing: Database) -> None:
    """log_bin_compress=ON: what SELECT shows arrives, from rows and statements that were packed."""
    start = packing.end()
    packing.run("CREATE TABLE t (id INT PRIMARY KEY, body TEXT CHARACTER SET utf8mb4)")
    packing.run("INSERT INTO t SELECT seq, REPEAT(CONCAT('né ', seq), 50) FROM seq_1_to_500")
    packing.run("UPDATE t SET body = REPEAT('changed', 20) WHERE id > 490", "DELETE FROM t WHERE id > 490")
    packing.run("INSERT INTO t VALUES (1000, '')", "ALTER TABLE t ADD COLUMN after_the_alter INT DEFAULT 7")
    packing.run("INSERT INTO t SELECT seq, REPEAT('x', 300), 8 FROM seq_2000_to_2005")
    assert kinds(packing.record(start)) >= {165, 166, 167, 168}
    done = packing.read(start, "t")
    found = [(row["id"], row["body"], row.get("after_the_alter")) for row in rows(done)]
    assert found[:490] == [(n, f"né {n}" * 50, None) for n in range(1, 491)]
    assert [row[0] for row in found[490:]] == [*range(491, 501), 1000, *range(2000, 2006)]
    assert found[-1] == (2005, "x" * 300, 8)
    assert gaps(done) == []


@pytest.mark.parametrize("by_file", [False, True])
def test_mysql_packed_transactions(oracle: Database, *, by_file: bool) -> None:
    """binlog_transaction_compression=ON: every row arrives, and a reader resumes behind each transaction."""
    oracle.run("CREATE TABLE t (id INT PRIMARY KEY, body TEXT)", "SET SESSION binlog_transaction_compression = ON")
    start = oracle.end(by_file=by_file)
    for first in range(0, 50, 10):
        oracle.run("BEGIN", *[f"INSERT INTO t VALUES ({n}, REPEAT('n{n}', 200))" for n in range(first, first + 10)])
        oracle.run("COMMIT", f"DELETE FROM t WHERE id = {first}", f"INSERT INTO t VALUES ({first}, 'again')")
    assert ev.TRANSACTION_PAYLOAD in kinds(oracle.record(start))
    done = oracle.read(start, "t")
    assert gaps(done) == []
    expected = [(n, f"n{n}" * 200) for n in range(50)]
    for first in range(40, -10, -10):
        expected.insert(first + 10, (first, "again"))
    assert [(row["id"], row["body"]) for row in rows(done)] == expected
    for number, one in enumerate(done[:-1]):
        again = oracle.read(one.end, "t")
        assert [each.fingerprint for each in again] == [each.fingerprint for each in done[number + 1 :]]
        assert [each.changes for each in again] == [each.changes for each in done[number + 1 :]]


def test_mysql_large_packed_transaction(oracle: Database) -> None:
    """Many rows events in one payload: all rows, once, in order, with the commit's time and GTID."""
    oracle.run("CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, body VARCHAR(200))")
    oracle.run("SET SESSION binlog_transaction_compression = ON", "INSERT INTO t (body) VALUES ('seed')")
    start = oracle.end()
    oracle.run("BEGIN", *["INSERT INTO t (body) SELECT REPEAT('r', 200) FROM t"] * 13, "COMMIT")
    (done,) = oracle.read(start, "t")
    arrived = [json.loads(change.message)["id"] for change in done.changes if change.op == INSERT]
    assert len(arrived) == 2**13 - 1
    assert arrived == [int(row[0]) for row in oracle.select("SELECT id FROM t WHERE body <> 'seed' ORDER BY id")]
    assert done.end == Position(done.end.file, oracle.end().offset, oracle.end().gtid)
