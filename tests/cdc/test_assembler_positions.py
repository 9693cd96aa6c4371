from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdc import events as ev
from cdc import tablemap as t
from cdc.committed import Committed
from cdc.errors import MalformedEvent, SourceError
from cdc.position import Flavour, Position
from tests.cdc import forge
from tests.cdc.forge import ID, NAME, Field, Log, assemble, assembler, finish, gaps, ids, image, prepare

both = pytest.mark.parametrize("flavour", ["mariadb", "mysql"])


# Positions


@both
def test_boundaries_meet(flavour: Flavour) -> None:
    """Each transaction begins where its GTID event does and ends behind its commit."""
    log = Log(flavour)
    begins = []
    for number in range(3):
        begins.append(log.offset)
        log.insert(number)
    done = assemble(log)
    assert [one.start.offset for one in done] == begins
    assert [one.end.offset for one in done] == [*begins[1:], log.offset]
    assert [one.end.gtid for one in done][:-1] == [one.start.gtid for one in done][1:]


@both
def test_a_new_file_is_followed(flavour: Flavour) -> None:
    """Positions behind a rotate name the next file."""
    first, second = Log(flavour), Log(flavour, file="binlog.000002")
    first.insert(1)
    first.add(ev.ROTATE, (4).to_bytes(8, "little") + b"binlog.000002")
    second.insert(2)
    machine = assembler(first)
    done = [one for one in map(machine.feed, first.sent_from(4) + second.sent_from(4)) if one]
    assert [one.end.file for one in done] == ["binlog.000001", "binlog.000002"]
    assert done[1].start.offset == second.placed[2].begin


@both
def test_a_reader_by_file_learns_the_gtids_where_a_file_begins(flavour: Flavour) -> None:
    """Until then its positions have none; from then on they name every domain or source."""
    log = Log(flavour)
    log.insert(1)
    if flavour == "mariadb":
        log.add(ev.MARIADB_GTID_LIST, struct.pack("<IIIQIIQ", 2, 0, 1, 1, 7, 3, 9))
    else:
        source = bytes.fromhex(forge.UUID.replace("-", ""))
        log.add(ev.PREVIOUS_GTIDS, struct.pack("<Q16sQQQ", 1, source, 1, 1, 2), flags=ev.IGNORABLE_FLAG)
    log.insert(2)
    middle = Position(log.file, log.placed[2].begin)
    done = assemble(log, middle)
    newest = "0-1-2,7-3-9" if flavour == "mariadb" else f"{forge.UUID}:1-2"
    assert [one.end.gtid for one in done] == [None, newest]


def test_without_gtids_only_file_and_offset_count() -> None:
    """MySQL with gtid_mode=OFF: transactions are anonymous, positions and fingerprints have no GTID."""
    log = Log("mysql", gtids=False)
    log.insert(1)
    (done,) = assemble(log)
    assert (ids([done]), done.fingerprint.gtid, done.end) == ([1], None, Position(log.file, log.offset))


def test_a_tagged_gtid_leaves_file_and_offset() -> None:
    """Tags (MySQL 8.3 on) cannot be asked for by GTID; rows arrive, positions go on without."""
    log = Log("mysql")
    log.insert(1)
    begin = log.offset
    log.add(ev.GTID_TAGGED, bytes(40))
    log.query("BEGIN")
    log.table()
    log.rows(image(2, "tagged"))
    log.xid()
    log.insert(3)
    done = assemble(log)
    assert (ids(done), gaps(done)) == ([1, 2, 3], [])
    assert [one.end.gtid for one in done] == [f"{forge.UUID}:1", None, None]
    assert [one.fingerprint.gtid for one in done] == [f"{forge.UUID}:1", None, f"{forge.UUID}:2"]
    assert done[1].start == Position(log.file, begin)


@both
def test_a_heartbeat_only_moves_the_place(flavour: Flavour) -> None:
    """It says how far the server has read, in the middle of nothing."""
    log = Log(flavour)
    machine = assembler(log)
    for data in log.sent_from(4):
        machine.feed(data)
    assert machine.feed(forge.event(ev.HEARTBEAT, b"binlog.000009", end=777, timestamp=0)) is None
    assert (machine.file, machine.offset) == ("binlog.000009", 777)


def test_commit_times_are_as_exact_as_the_server_tells() -> None:
    """Whole seconds of the header on MariaDB, microseconds of the GTID event on MySQL."""
    maria, mysql = Log("mariadb"), Log("mysql")
    maria.insert(1)
    mysql.insert(1)
    assert [one.committed for one in assemble(maria) + assemble(mysql)] == [1700000000.0, 1700000000.123456]


@both
def test_fingerprints_tell_transactions_apart(flavour: Flavour) -> None:
    """Another value, another time or another GTID is another transaction; the same rows cut differently are not."""

    def fingerprint(name: str, *, split: bool = False, timestamp: int = 1700000000) -> object:
        log = Log(flavour, gtids=flavour == "mariadb")
        log.begin()
        log.table()
        if split:
            log.rows(image(1, "x"))
            log.rows(image(2, name))
        else:
            log.rows(image(1, "x"), image(2, name))
        log.add(ev.XID, bytes(8), timestamp=timestamp)
        return assemble(log)[0].fingerprint

    assert fingerprint("a") == fingerprint("a", split=True)
    assert len({fingerprint("a"), fingerprint("b"), fingerprint("a", timestamp=1700000001)}) == 3


# Whatever the stream, whatever the cut

TRANSACTIONS: dict[str, Callable[[Log, int], object]] = {}


def transaction(write: Callable[[Log, int], object]) -> Callable[[Log, int], object]:
    TRANSACTIONS[write.__name__] = write
    return write


@transaction
def insert(log: Log, number: int) -> None:
    log.insert(number)


@transaction
def insert_in_pieces(log: Log, number: int) -> None:
    log.begin()
    log.table()
    for piece in range(4):
        log.rows(image(number * 100 + piece, "piece"))
    log.xid()


@transaction
def insert_elsewhere(log: Log, _: int) -> None:
    log.begin()
    log.table(9, "shop", "other")
    log.rows(b"\0zzz", table_id=9)
    log.xid()


@transaction
def insert_without_transactions(log: Log, number: int) -> None:
    log.begin()
    log.table()
    log.rows(image(number, "MyISAM"))
    log.query("COMMIT")


@transaction
def roll_back(log: Log, number: int) -> None:
    log.begin()
    log.table()
    log.rows(image(number, "undone"))
    log.query("ROLLBACK")


@transaction
def die_in_the_middle(log: Log, number: int) -> None:
    log.begin()
    log.table()
    log.rows(image(number, "half"))


@transaction
def undo_a_part(log: Log, number: int) -> None:
    log.begin()
    log.table()
    log.rows(image(number, "kept"))
    log.query("SAVEPOINT `s`")
    log.rows(image(number, "undone"))
    log.query("ROLLBACK TO `s`")
    log.xid()


@transaction
def alter(log: Log, _: int) -> None:
    log.ddl("ALTER TABLE orders ADD z INT")


@transaction
def write_by_statement(log: Log, _: int) -> None:
    log.begin()
    log.query("INSERT INTO orders VALUES (1)")
    log.xid()


@transaction
def compress(log: Log, number: int) -> None:
    log.gtid()
    log.add(ev.TRANSACTION_PAYLOAD, forge.payload(*forge.insert_events(number)))


@transaction
def compress_badly(log: Log, _: int) -> None:
    log.gtid(standalone=True)
    log.add(ev.TRANSACTION_PAYLOAD, b"zstd")


@transaction
def prepare_xa(log: Log, number: int) -> None:
    prepare(log, number)


@transaction
def commit_xa(log: Log, _: int) -> None:
    finish(log)


@transaction
def roll_back_xa(log: Log, _: int) -> None:
    finish(log, "ROLLBACK")


def seen(done: Sequence[Committed]) -> list[tuple[object, ...]]:
    """What the journal would be given."""
    return [(one.changes, one.end, one.fingerprint, one.committed) for one in done]


@both
@settings(max_examples=30)
@given(st.lists(st.sampled_from(sorted(TRANSACTIONS)), min_size=1, max_size=8), st.booleans())
def test_every_cut_resumes_to_the_same_transactions(flavour: Flavour, names: list[str], by_file: bool) -> None:
    """Cut at any event, a new reader by GTID or by file and offset completes the same list.

    It begins at the last transaction, or at the oldest XA transaction that is prepared, and is sent the last one again.
    """
    log = Log(flavour)
    for number, name in enumerate(names):
        TRANSACTIONS[name](log, number)
    whole = assemble(log, Position(log.file, 4) if by_file else None)
    for cut in range(len(log.placed) + 1):
        machine = assembler(log, Position(log.file, 4) if by_file else None)
        done = [one for one in map(machine.feed, log.sent_from(4)[:cut]) if one]
        assert seen(done) == seen(whole[: len(done)])
        if done:
            begin = done[-1].held or done[-1].start
            again = assemble(log, begin)
            known = [one.start for one in whole].index(begin)
            assert again[len(done) - known - 1].fingerprint == done[-1].fingerprint
            assert seen(done + again[len(done) - known :]) == seen(whole)


# Damage


@both
def test_damage_is_an_error(flavour: Flavour) -> None:
    """An event whose checksum fails is not used."""
    log = Log(flavour)
    log.insert(1)
    begin, data = log.placed[-2]
    log.placed[-2] = forge.Placed(begin, data[:-6] + b"!" + data[-5:])
    with pytest.raises(MalformedEvent, match="fails its checksum"):
        assemble(log)


@both
def test_a_log_without_checksums_is_read(flavour: Flavour) -> None:
    """Each file's format says whether its events have them, and the server's first, artificial event always has."""
    log = Log(flavour)
    log.insert(1)
    log.placed[0] = forge.Placed(4, forge.event(ev.FORMAT_DESCRIPTION, forge.format_description(checksum=False)))
    damaged = log.placed[0].data[:-4] + b"old!"  # servers change the event before they send it
    sent = log.sent_from(4)
    machine = assembler(log)
    done = [machine.feed(data) for data in [sent[0], damaged, *[data[:-4] for data in sent[2:]]]]
    assert ids([one for one in done if one]) == [1]


FUZZED = (
    ID,
    NAME,
    Field("d", t.NEWDECIMAL, b"\x0a\x02"),
    Field("j", t.JSON, b"\4"),
    Field("s", t.STRING, b"\xfe\x28", collation=63),
    Field("t", t.TIME2, b"\3"),
    Field("b", t.BIT, b"\1\1"),
)


@both
@given(st.data())
def test_no_bytes_raise_anything_but_ours(flavour: Flavour, data: st.DataObject) -> None:
    """Events with a right checksum and wrong bytes end in a row, a gap or a SourceError, never in another exception."""
    log = Log(flavour)
    log.begin()
    log.table(7, "shop", "orders", *FUZZED)
    log.rows(b"\0" + b"\1\0\0\0" + b"\2ab" + b"\x80\0\0\0\1\2" + b"\7\0\0\0\0\1\0\7\0\4\0\0" + bytes(20), columns=7)
    log.xid()
    which = data.draw(st.integers(0, len(log.placed) - 1))
    begin, good = log.placed[which]
    header = ev.parse_header(good)
    body = bytearray(good[ev.HEADER_SIZE : -4])
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    size = data.draw(st.integers(0, len(body)) | st.just(len(body)))
    bad = forge.event(header.kind, bytes(body[:size]), end=header.end, flags=header.flags)
    log.placed[which] = forge.Placed(begin, bad)
    with contextlib.suppress(SourceError):
        assemble(log)
