"""The binary log's event headers and the small events, parsed from bytes.

Formats: MySQL's source documentation of ``binary_log::*_event``, MariaDB's "Replication protocol" pages.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

from cdc.errors import MalformedEvent

QUERY = 2
STOP = 3
ROTATE = 4
INTVAR = 5
APPEND_BLOCK = 9
DELETE_FILE = 11
RAND = 13
USER_VAR = 14
FORMAT_DESCRIPTION = 15
XID = 16
BEGIN_LOAD_QUERY = 17
EXECUTE_LOAD_QUERY = 18
TABLE_MAP = 19
WRITE_ROWS_V1, UPDATE_ROWS_V1, DELETE_ROWS_V1 = 23, 24, 25
INCIDENT = 26
HEARTBEAT = 27
IGNORABLE = 28
ROWS_QUERY = 29
WRITE_ROWS, UPDATE_ROWS, DELETE_ROWS = 30, 31, 32
GTID = 33
ANONYMOUS_GTID = 34
PREVIOUS_GTIDS = 35
TRANSACTION_CONTEXT = 36
VIEW_CHANGE = 37
XA_PREPARE = 38
PARTIAL_UPDATE_ROWS = 39
TRANSACTION_PAYLOAD = 40
HEARTBEAT_V2 = 41
GTID_TAGGED = 42
MARIADB_ANNOTATE_ROWS = 160
MARIADB_BINLOG_CHECKPOINT = 161
MARIADB_GTID = 162
MARIADB_GTID_LIST = 163
MARIADB_START_ENCRYPTION = 164
MARIADB_QUERY_COMPRESSED = 165

UNPACKED_ROWS = {
    166: WRITE_ROWS_V1, 167: UPDATE_ROWS_V1, 168: DELETE_ROWS_V1, 169: WRITE_ROWS, 170: UPDATE_ROWS, 171: DELETE_ROWS,
}  # fmt: skip
"""MariaDB's compressed rows events, and the types that they are when unpacked."""

WITHOUT_ROWS = frozenset(
    {
        STOP, INTVAR, APPEND_BLOCK, DELETE_FILE, RAND, USER_VAR, BEGIN_LOAD_QUERY, IGNORABLE, ROWS_QUERY,
        TRANSACTION_CONTEXT, VIEW_CHANGE, HEARTBEAT_V2, MARIADB_ANNOTATE_ROWS, MARIADB_BINLOG_CHECKPOINT,
        MARIADB_START_ENCRYPTION,
    }
)  # fmt: skip
"""Event types that never carry a row of ours and end no transaction."""

WRITES = frozenset({WRITE_ROWS, WRITE_ROWS_V1})
ROWS = WRITES | {UPDATE_ROWS, DELETE_ROWS, UPDATE_ROWS_V1, DELETE_ROWS_V1, PARTIAL_UPDATE_ROWS}
PACKED = ROWS | {QUERY, TABLE_MAP, XID, XA_PREPARE}
"""What a transaction that MySQL has compressed may hold."""

IGNORABLE_FLAG = 0x80
HEADER_SIZE = 19
unpack_header = struct.Struct("<IBIIIH").unpack_from
"""The fields of a ``Header``, from a place in a buffer."""
_MARIADB_GTID = struct.Struct("<QIB").unpack_from
CRC_OF_ALL = 0x2144DF1C
"""The CRC-32 of any data with its own little-endian CRC-32 behind it."""
_CHECKSUM_CRC32 = 1


class Header(NamedTuple):
    """Unix seconds, type code, the server that wrote it, bytes, end offset in its file (0: artificial), flags."""

    timestamp: int
    kind: int
    server_id: int
    size: int
    end: int
    flags: int


def parse_header(event: bytes) -> Header:
    """The 19 bytes that begin every event."""
    try:
        return tuple.__new__(
            Header, unpack_header(event)
        )  # what _make does, without its steps: there is one for each event
    except struct.error:
        raise MalformedEvent(f"an event of {len(event)} bytes is shorter than its header") from None


def is_heartbeat(event: bytes) -> bool:
    """Whether the server has only said that it is alive and has nothing to send."""
    return event[4] == HEARTBEAT


def check_crc(event: bytes) -> None:
    """Raise MalformedEvent when the event's last four bytes are not the CRC-32 of the others.

    Artificial events, without a timestamp, may carry none.
    """
    if zlib.crc32(event) != CRC_OF_ALL and any(event[:4]):
        raise MalformedEvent(f"an event of type {event[4]} fails its checksum: it was damaged on disk or on the way")


def parse_rotate(body: bytes) -> tuple[str, int]:
    """The next binlog file and the offset in it."""
    return body[8:].decode(), int.from_bytes(body[:8], "little")


def uses_checksum(event: bytes) -> bool:
    """Whether the log that this format description opens has a CRC-32 behind each event."""
    return event[-5] == _CHECKSUM_CRC32


class Query(NamedTuple):
    """A statement in the log, and the default schema it ran in."""

    schema: str
    sql: str


def parse_query(body: bytes) -> Query:
    """The statement of a query event. Its status block is skipped: new servers add variables that nobody knows."""
    at = statement_start(body)
    schema = body[at - 1 - body[8] : at - 1].decode("utf-8", "replace")
    return Query(schema, body[at:].decode("utf-8", "replace"))


def is_begin(body: bytes) -> bool:
    """Whether a query event is the BEGIN that stands before each of MySQL's transactions, and nothing else."""
    return body.endswith(b"BEGIN") and statement_start(body) == len(body) - 5


def statement_start(body: bytes) -> int:
    """Where the statement itself begins in a query event: behind its status block and the schema's name."""
    schema_size = body[8]
    return 13 + int.from_bytes(body[11:13], "little") + schema_size + 1


class Gtid(NamedTuple):
    """A transaction's name.

    ``standalone``: one statement follows and ends it; ``prepares``: it ends with XA PREPARE (both MariaDB only).
    ``committed`` is the commit time in Unix seconds where the server says more than the header, else None.
    """

    text: str
    standalone: bool = False
    committed: float | None = None
    prepares: bool = False


def parse_mariadb_gtid(body: bytes, server_id: int) -> Gtid:
    """MariaDB's GTID event: sequence, domain, flags."""
    sequence, domain, flags = _MARIADB_GTID(body)
    return Gtid(f"{domain}-{server_id}-{sequence}", flags & 0x01 != 0, None, flags & 0x40 != 0)


def parse_mysql_gtid(body: bytes) -> Gtid:
    """MySQL's GTID event: flags, source UUID, number, logical clock, and commit times in microseconds (8.0 on)."""
    source = uuid(body[1:17])
    number = int.from_bytes(body[17:25], "little")
    committed = None
    if len(body) >= 49:  # 42 bytes of the 5.7 layout, then the immediate commit time in 7 bytes
        microseconds = int.from_bytes(body[42:49], "little") & ~(1 << 55)
        committed = microseconds / 1e6
    return Gtid(f"{source}:{number}", committed=committed)


def uuid(raw: bytes) -> str:
    """A source's 16 bytes as MySQL writes them."""
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def commits_in_one_phase(body: bytes) -> bool:
    """Whether an XA prepare event is the end of ``XA COMMIT … ONE PHASE`` (MySQL) and so commits."""
    return bool(body[0])


def parse_gtid_list(body: bytes) -> str:
    """MariaDB's GTID position at the beginning of a file; the newest entry of each domain comes last."""
    count = int.from_bytes(body[:4], "little") & 0x0FFFFFFF
    newest: dict[int, str] = {}
    for i in range(count):
        domain, server, sequence = struct.unpack_from("<IIQ", body, 4 + 16 * i)
        newest[domain] = f"{domain}-{server}-{sequence}"
    return ",".join(newest.values())


def parse_previous_gtids(body: bytes) -> str | None:
    """MySQL's executed set at the beginning of a file; None when it is in the format of tagged GTIDs."""
    count = int.from_bytes(body[:8], "little")
    if count >> 56:
        return None
    at, parts = 8, []
    for _ in range(count):
        source = uuid(body[at : at + 16])
        intervals = int.from_bytes(body[at + 16 : at + 24], "little")
        at += 24
        bounds = struct.iter_unpack("<QQ", body[at : at + 16 * intervals])
        parts.append(f"{source}:" + ":".join(f"{first}-{end - 1}" for first, end in bounds))
        at += 16 * intervals
    return ",".join(parts)


def read_length(body: bytes, at: int) -> tuple[int, int]:
    """A length-encoded integer at ``at`` and the offset behind it."""
    first = body[at]
    if first < 251:
        return first, at + 1
    size = {252: 2, 253: 3, 254: 8}.get(first)
    if size is None:
        raise MalformedEvent(f"{first} does not begin a length-encoded integer")
    return int.from_bytes(body[at + 1 : at + 1 + size], "little"), at + 1 + size


class Rows(NamedTuple):
    """Where the row images lie in a rows event's body. ``present``: the bitmap of columns that have a value.

    ``after`` is that of an update's second images, the rows as they became; ``present`` then is that of the first.
    """

    table_id: int
    columns: int
    present: bytes
    start: int
    after: bytes = b""


def parse_rows(body: bytes, kind: int) -> Rows:
    """The fixed part of a write, update or delete rows event, version 1 or 2."""
    table_id = int.from_bytes(body[:6], "little")
    at = 8
    if kind >= WRITE_ROWS:
        at += int.from_bytes(body[8:10], "little")
    columns = body[at]
    columns, at = (columns, at + 1) if columns < 251 else read_length(body, at)
    width = columns + 7 >> 3
    present = body[at : at + width]
    at += width
    after = b""
    if kind in (UPDATE_ROWS, UPDATE_ROWS_V1, PARTIAL_UPDATE_ROWS):
        after = body[at : at + width]
        at += width
    return Rows(table_id, columns, present, at, after)
