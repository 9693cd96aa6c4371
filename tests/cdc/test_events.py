from __future__ import annotations

import struct

import pytest

from cdc import events as ev
from cdc.errors import MalformedEvent
from tests.cdc import forge

SOURCE = bytes.fromhex(forge.UUID.replace("-", ""))


def test_a_header_is_unpacked() -> None:
    """Every field of the 19 bytes is where the manual puts it."""
    data = forge.event(ev.XID, bytes(8), end=500, timestamp=1700000001, server_id=3, flags=0x20)
    assert ev.parse_header(data) == ev.Header(1700000001, ev.XID, 3, 31, 500, 0x20)


def test_an_event_shorter_than_its_header_is_malformed() -> None:
    """Eighteen bytes are no event."""
    with pytest.raises(MalformedEvent, match="18 bytes"):
        ev.parse_header(bytes(18))


@pytest.mark.parametrize("at", [0, 5, 18, 19, 30])
def test_any_flipped_bit_fails_the_checksum(at: int) -> None:
    """The checksum covers header, body and itself."""
    data = bytearray(forge.event(ev.XID, bytes(8)))
    ev.check_crc(bytes(data))
    data[at] ^= 1
    with pytest.raises(MalformedEvent, match="fails its checksum"):
        ev.check_crc(bytes(data))


@pytest.mark.parametrize("checksum", [True, False])
def test_a_format_says_whether_its_log_has_checksums(checksum: bool) -> None:
    """The algorithm stands before the format's own checksum, which is always there."""
    data = forge.event(ev.FORMAT_DESCRIPTION, forge.format_description(checksum=checksum))
    assert ev.uses_checksum(data) is checksum


def test_a_rotate_names_the_next_file() -> None:
    """Offset, then name."""
    assert ev.parse_rotate((4).to_bytes(8, "little") + b"binlog.000002") == ("binlog.000002", 4)


@pytest.mark.parametrize("status", [b"", b"\x00\x01\x02", bytes(range(256)) * 3])
def test_a_statement_is_found_behind_any_status_block(status: bytes) -> None:
    """Status variables that nobody knows yet are skipped by their length."""
    assert ev.parse_query(forge.query("INSERT INTO t VALUES ('é')", "shöp", status)) == (
        "shöp",
        "INSERT INTO t VALUES ('é')",
    )


def test_a_statement_that_is_no_utf8_is_still_read() -> None:
    """A latin1 client's statement loses its letters, not its meaning."""
    assert ev.parse_query(forge.query("BEGIN", "s") + b" \xe9").sql == "BEGIN \ufffd"


@pytest.mark.parametrize(
    ("flags", "standalone", "prepares"),
    [(0x0C, False, False), (0x29, True, False), (0x8D, True, False), (0x4C, False, True)],
)
def test_a_mariadb_gtid_says_how_its_transaction_ends(flags: int, *, standalone: bool, prepares: bool) -> None:
    """Domain and sequence come from the body, the server from the header; the flags say what follows."""
    body = struct.pack("<QIB", 1 << 40, 7, flags)
    assert ev.parse_mariadb_gtid(body, 12) == ev.Gtid(f"7-12-{1 << 40}", standalone, prepares=prepares)


def test_a_mysql_gtid_knows_its_commit_to_the_microsecond() -> None:
    """The immediate commit time is read from 8.0's layout, with the bit that announces a second one removed."""
    gtid = ev.parse_mysql_gtid(forge.mysql_gtid(SOURCE, 9, 1700000000_123456 | 1 << 55) + bytes(7))
    assert gtid == ev.Gtid(f"{forge.UUID}:9", committed=1700000000.123456)


def test_an_old_mysql_gtid_has_no_commit_time() -> None:
    """MySQL 5.7's layout ends before it."""
    assert ev.parse_mysql_gtid(forge.mysql_gtid(SOURCE, 9)[:42]) == ev.Gtid(f"{forge.UUID}:9")


def test_the_newest_gtid_of_a_domain_stands_last_in_the_list() -> None:
    """A domain written by two servers is there twice; flags above the count are no part of it."""
    entries = [(0, 1, 100), (0, 2, 101), (5, 1, 7)]
    body = (len(entries) | 0x10000000).to_bytes(4, "little") + b"".join(struct.pack("<IIQ", *e) for e in entries)
    assert ev.parse_gtid_list(body) == "0-2-101,5-1-7"


def test_previous_gtids_have_open_ends() -> None:
    """Intervals are stored with the number behind their last."""
    body = struct.pack("<Q16sQQQQQ", 1, SOURCE, 2, 1, 6, 7, 8)
    assert ev.parse_previous_gtids(body) == f"{forge.UUID}:1-5:7-7"
    assert ev.parse_previous_gtids(bytes(8)) == ""


def test_previous_gtids_with_tags_are_not_guessed() -> None:
    """The format of tagged sets (MySQL 8.3 on) has a mark in the count's highest byte."""
    assert ev.parse_previous_gtids(bytes([1, 1, 0, 0, 0, 0, 0, 1]) + bytes(40)) is None


@pytest.mark.parametrize(
    ("data", "number", "size"),
    [
        (b"\x00", 0, 1),
        (b"\xfa", 250, 1),
        (b"\xfc\xfb\x00", 251, 3),
        (b"\xfd\x01\x02\x03", 0x030201, 4),
        (b"\xfe" + (1 << 40).to_bytes(8, "little"), 1 << 40, 9),
    ],
)
def test_lengths_are_read_in_every_width(data: bytes, number: int, size: int) -> None:
    """One, two, three or eight bytes, told apart by the first."""
    assert ev.read_length(b"x" + data, 1) == (number, 1 + size)


@pytest.mark.parametrize("first", [251, 255])
def test_what_is_no_length_is_malformed(first: int) -> None:
    """251 and 255 mean something else elsewhere."""
    with pytest.raises(MalformedEvent, match="length-encoded"):
        ev.read_length(bytes([first]), 0)


@pytest.mark.parametrize(
    ("kind", "start"),
    [
        (ev.WRITE_ROWS_V1, 8 + 1 + 2),
        (ev.UPDATE_ROWS_V1, 8 + 1 + 4),
        (ev.DELETE_ROWS_V1, 8 + 1 + 2),
        (ev.WRITE_ROWS, 8 + 2 + 1 + 2),
        (ev.UPDATE_ROWS, 8 + 2 + 1 + 4),
        (ev.DELETE_ROWS, 8 + 2 + 1 + 2),
    ],
)
def test_row_images_begin_behind_the_bitmaps(kind: int, start: int) -> None:
    """Version 2 has a block of its own in between, an update two bitmaps; nine columns take two bytes of each."""
    body = forge.rows(0x010203040506, 9, b"images", kind, present=b"\xff\x01")
    after = b"\xff\x01" if kind in (ev.UPDATE_ROWS, ev.UPDATE_ROWS_V1) else b""
    assert ev.parse_rows(body, kind) == ev.Rows(0x010203040506, 9, b"\xff\x01", start, after)
    assert body[start:] == b"images"


def test_rows_of_version_2_may_carry_more_in_front() -> None:
    """A partitioned table's rows say which partition; the block's length includes itself."""
    body = forge.rows(7, 2, b"images")
    body = body[:8] + b"\7\0" + b"12345" + body[10:]
    assert body[ev.parse_rows(body, ev.WRITE_ROWS).start :] == b"images"
