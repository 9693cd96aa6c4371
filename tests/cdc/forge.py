"""Makes binlog events by hand, byte for byte, and strings them into a log as a server would send it."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import cycle
from typing import NamedTuple

import zstandard

from cdc import events as ev
from cdc import tablemap as t
from cdc.committed import Committed, Piece
from cdc.framing import PacketCutter, Packets
from cdc.position import Flavour, Position
from cdc.rows import Decoder, Shape, compile_decoder
from cdc.shortcut import Shortcut
from cdc.tablemap import TableMap
from cdc.tables import Capture
from journal.types import GAP, INSERT

FILE = "binlog.000001"
UUID = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
CHARSETS = {8: "latin1", 45: "utf8mb4", 63: "binary"}
ARTIFICIAL = 0x20
LARGEST = 0xFFFFFF  # bytes in a packet


class Field(NamedTuple):
    """One column of a forged table map; ``collation`` for those of a character type."""

    name: str
    type: int = t.LONG
    meta: bytes = b""
    unsigned: bool = False
    collation: int | None = None
    labels: tuple[bytes, ...] = ()


ID = Field("id")
NAME = Field("name", t.VARCHAR, b"\x50\x00", collation=45)


def event(
    kind: int, body: bytes, *, end: int = 0, timestamp: int = 1700000000, server_id: int = 1, flags: int = 0
) -> bytes:
    """One event with its header and its checksum."""
    size = ev.HEADER_SIZE + len(body) + 4
    data = struct.pack("<IBIIIH", timestamp, kind, server_id, size, end, flags) + body
    return data + zlib.crc32(data).to_bytes(4, "little")


def format_description(*, checksum: bool = True) -> bytes:
    """The body of an event that opens a file; the last byte names the checksum."""
    return struct.pack("<H50sIB", 4, b"forged", 0, 19) + bytes(40) + bytes([checksum])


def query(sql: str, schema: str = "shop", status: bytes = b"") -> bytes:
    """A statement, behind a block of status variables."""
    name = schema.encode()
    return struct.pack("<IIBHH", 1, 0, len(name), 0, len(status)) + status + name + b"\0" + sql.encode()


def table_map(table_id: int, schema: str, table: str, fields: Sequence[Field], *, named: bool = True) -> bytes:
    """A table map; without ``named`` it is what ``binlog_row_metadata=MINIMAL`` logs."""
    names = bytes([len(schema)]) + schema.encode() + b"\0" + bytes([len(table)]) + table.encode() + b"\0"
    meta = b"".join(field.meta for field in fields)
    body = table_id.to_bytes(6, "little") + b"\1\0" + names
    body += bytes([len(fields)]) + bytes(field.type for field in fields) + bytes([len(meta)]) + meta
    body += b"\xff" * ((len(fields) + 7) // 8)
    return body + (_metadata(fields) if named else b"")


def _metadata(fields: Sequence[Field]) -> bytes:
    """Signedness, one collation for each character column, and the names."""
    numeric = [field.unsigned for field in fields if field.type in t._NUMERIC]
    bits = bytearray((len(numeric) + 7) // 8)
    for i, unsigned in enumerate(numeric):
        bits[i >> 3] |= unsigned << (7 - (i & 7))
    collations = bytes(field.collation for field in fields if field.collation is not None)
    names = b"".join(bytes([len(field.name)]) + field.name.encode() for field in fields)
    parts = ((1, bytes(bits)), (3, collations), (4, names))
    return b"".join(bytes([kind, len(value)]) + value for kind, value in parts if value)


def rows(table_id: int, columns: int, images: bytes, kind: int = ev.WRITE_ROWS, present: bytes = b"\xff") -> bytes:
    """A rows event, version 2 unless ``kind`` says otherwise."""
    extra = b"\2\0" if kind >= ev.WRITE_ROWS else b""
    bitmaps = present * (2 if kind in (ev.UPDATE_ROWS, ev.UPDATE_ROWS_V1) else 1)
    return table_id.to_bytes(6, "little") + b"\1\0" + extra + bytes([columns]) + bitmaps + images


def image(number: int, name: str) -> bytes:
    """A row of ``ID`` and ``NAME``."""
    text = name.encode()
    return b"\0" + struct.pack("<i", number) + bytes([len(text)]) + text


class Placed(NamedTuple):
    """An event of a log, and where it begins."""

    begin: int
    data: bytes


class Log:
    """A binlog file under construction: each event is given the place where it ends."""

    def __init__(self, flavour: Flavour = "mariadb", *, gtids: bool = True, file: str = FILE) -> None:
        self.flavour = flavour
        self.gtids = gtids
        self.file = file
        self.placed: list[Placed] = []
        self.offset = 4
        self.now = 1700000000  # the server's clock, Unix seconds
        self.names: list[tuple[int, str]] = []  # of the transactions, and where each begins
        self.sequence = 0
        self.add(ev.FORMAT_DESCRIPTION, format_description())
        if flavour == "mariadb":
            self.add(ev.MARIADB_GTID_LIST, bytes(4))
        else:
            self.add(ev.PREVIOUS_GTIDS, bytes(8), flags=ev.IGNORABLE_FLAG)

    def add(self, kind: int, body: bytes, *, timestamp: int | None = None, flags: int = 0) -> None:
        """Append an event."""
        end = self.offset + ev.HEADER_SIZE + len(body) + 4
        timestamp = self.now if timestamp is None else timestamp
        self.placed.append(Placed(self.offset, event(kind, body, end=end, timestamp=timestamp, flags=flags)))
        self.offset = end

    def gtid(self, *, standalone: bool = False, prepares: bool = False, domain: int = 0) -> str:
        """Begin a transaction as the server does before ``BEGIN`` or a single statement; the name it has.

        ``domain`` is MariaDB's; on MySQL it stands for another source, where it committed a minute before.
        """
        self.sequence += 1
        name, begin = f"{domain}-1-{self.sequence}", self.offset
        committed = self.now * 1_000_000 + 123455 + self.sequence
        if self.flavour == "mariadb":
            flags = standalone | prepares << 6
            self.add(ev.MARIADB_GTID, struct.pack("<QIB", self.sequence, domain, flags) + bytes(6))
        elif not self.gtids:
            name = ""
            self.add(ev.ANONYMOUS_GTID, mysql_gtid(bytes(16), 0, committed))
        else:
            source = f"{domain:x}{UUID[1:]}" if domain else UUID
            name = f"{source}:{self.sequence}"
            original = committed - 60_000_000 if domain else None
            self.add(ev.GTID, mysql_gtid(bytes.fromhex(source.replace("-", "")), self.sequence, committed, original))
        self.names.append((begin, name))
        return name

    def begin(self, domain: int = 0) -> str:
        """Begin a transaction of rows."""
        name = self.gtid(domain=domain)
        if self.flavour == "mysql":
            self.query("BEGIN")
        return name

    def query(self, sql: str) -> None:
        """Append a statement."""
        self.add(ev.QUERY, query(sql))

    def ddl(self, sql: str) -> None:
        """A statement that is a transaction of its own."""
        self.gtid(standalone=True)
        self.query(sql)

    def table(self, table_id: int = 7, schema: str = "shop", table: str = "orders", *fields: Field) -> None:
        """Append a table map, of ``ID`` and ``NAME`` unless told otherwise."""
        self.add(ev.TABLE_MAP, table_map(table_id, schema, table, fields or (ID, NAME)))

    def rows(self, *images: bytes, table_id: int = 7, kind: int = ev.WRITE_ROWS, columns: int = 2) -> None:
        """Append rows of a table that was mapped before."""
        self.add(kind, rows(table_id, columns, b"".join(images), kind))

    def xid(self) -> None:
        """Commit."""
        self.add(ev.XID, bytes(8))

    def insert(self, *numbers: int, domain: int = 0) -> str:
        """A whole transaction that inserts these rows into shop.orders."""
        name = self.begin(domain)
        self.table()
        self.rows(*[image(number, f"row {number}") for number in numbers])
        self.xid()
        return name

    @property
    def begins_with(self) -> int:
        """The type of the event that begins a transaction."""
        if self.flavour == "mariadb":
            return ev.MARIADB_GTID
        return ev.GTID if self.gtids else ev.ANONYMOUS_GTID

    @property
    def start(self) -> Position:
        """Where the file begins, nothing executed."""
        return Position(self.file, 4, "" if self.gtids else None)

    def sent_from(self, offset: int) -> list[bytes]:
        """What a server sends to a reader that asks for ``offset``: an artificial rotate and format, then the rest."""
        rotate = offset.to_bytes(8, "little") + self.file.encode()
        head = [event(ev.ROTATE, rotate, timestamp=0, flags=ARTIFICIAL)]
        if offset > 4:
            head.append(event(ev.FORMAT_DESCRIPTION, format_description()))
        return head + [data for begin, data in self.placed if begin >= offset]


def mysql_gtid(source: bytes, number: int, committed: int = 1700000000_123456, original: int | None = None) -> bytes:
    """The body of MySQL's GTID event; ``committed`` in microseconds.

    A replica writes behind it when the transaction committed at its source, and says in the highest bit that it does.
    """
    times = committed.to_bytes(7, "little")
    if original is not None:
        times = (committed | 1 << 55).to_bytes(7, "little") + original.to_bytes(7, "little")
    return b"\0" + source + number.to_bytes(8, "little") + b"\2" + bytes(16) + times


def packed(kind: int, body: bytes) -> bytes:
    """An event inside a compressed transaction: no checksum, no place."""
    return struct.pack("<IBIIIH", 1700000000, kind, 1, ev.HEADER_SIZE + len(body), 0, 0) + body


def insert_events(*numbers: int) -> list[bytes]:
    """What a transaction that inserts these rows into shop.orders packs."""
    images = b"".join(image(number, f"row {number}") for number in numbers)
    return [
        packed(ev.QUERY, query("BEGIN")),
        packed(ev.TABLE_MAP, table_map(7, "shop", "orders", (ID, NAME))),
        packed(ev.WRITE_ROWS, rows(7, 2, images)),
        packed(ev.XID, bytes(8)),
    ]


def payload(*events: bytes, algorithm: int = 0, size: int | None = None) -> bytes:
    """MySQL's transaction payload: by zstd, or as it is (255); ``size`` is what it says that it unpacks to."""
    data = b"".join(events)
    fields = b"\2" + length(len(length(algorithm))) + length(algorithm)
    if algorithm != 255:
        said = length(len(data) if size is None else size)
        fields += b"\3" + length(len(said)) + said
        data = zstandard.compress(data)
    said = length(len(data))
    return fields + b"\1" + length(len(said)) + said + b"\0" + data


def length(number: int) -> bytes:
    """A length-encoded integer."""
    return bytes([number]) if number < 251 else b"\xfe" + number.to_bytes(8, "little")


def deflated(data: bytes, size: int | None = None) -> bytes:
    """MariaDB's packed data; ``size`` is what it says that it unpacks to."""
    return b"\x84" + (len(data) if size is None else size).to_bytes(4, "big") + zlib.compress(data)


ORDERS = Capture("orders", "shop", "orders")
PARTS = Capture("parts", "shop", "parts")


def decoder(_: str, table: TableMap) -> Decoder:
    """Decodes every column."""
    return compile_decoder(table, Shape(None, {}, bigint_strings=False, charsets=CHARSETS))


def assembler(
    log: Log,
    start: Position | None = None,
    captures: Sequence[Capture] = (ORDERS,),
    pass_on: Callable[[Piece], bool] = lambda _: False,
) -> Shortcut:
    """An assembler for the log, from its beginning unless told otherwise."""
    return Shortcut(
        log.flavour,
        captures,
        decoder,
        start or log.start,
        with_gtids=log.gtids,
        pass_on=pass_on,
    )


def assemble(log: Log, start: Position | None = None, captures: Sequence[Capture] = (ORDERS,)) -> list[Committed]:
    """Every transaction that the log holds from ``start`` on."""
    machine = assembler(log, start, captures)
    sent = log.sent_from(start.offset if start else 4)
    return [done for done in map(machine.feed, sent) if done is not None]


def framed(payloads: Iterable[bytes], sequence: int = 1) -> bytes:
    """The payloads as a server sends them: in packets of at most 16 MiB - 1, numbered."""
    stream = bytearray()
    for payload in payloads:
        for at in range(0, len(payload) + 1, LARGEST):
            piece = payload[at : at + LARGEST]
            stream += len(piece).to_bytes(3, "little") + bytes([sequence & 0xFF]) + piece
            sequence += 1
    return bytes(stream)


def chunks(stream: bytes, sizes: Sequence[int]) -> Iterator[bytes]:
    """The stream cut into chunks of these sizes, over and over."""
    at, turns = 0, cycle(sizes)
    while at < len(stream):
        size = next(turns)
        yield stream[at : at + size]
        at += size


def reads(events: Iterable[bytes], *sizes: int) -> Iterator[Packets]:
    """The events as the source finds them in reads of these sizes."""
    cutter = PacketCutter(1)
    for chunk in chunks(framed(b"\0" + event for event in events), sizes):
        yield from cutter.feed(chunk)


def prepare(log: Log, number: int, *, one_phase: bool = False, xid: bytes = b"x") -> None:
    """An XA transaction up to its XA_PREPARE event, in the flavour's own way."""
    log.gtid(prepares=True)
    if log.flavour == "mysql":
        log.query(f"XA START X'{xid.hex()}',X'',1")
    log.table()
    log.rows(image(number, "x"))
    log.query(f"XA END X'{xid.hex()}',X'',1")
    log.add(ev.XA_PREPARE, bytes([one_phase]) + struct.pack("<III", 1, len(xid), 0) + xid)


def finish(log: Log, verb: str = "COMMIT", xid: bytes = b"x") -> str:
    """The end of a prepared XA transaction."""
    name = log.gtid(standalone=True)
    log.query(f"XA {verb} X'{xid.hex()}',X'',1")
    return name


def ids(committed: Sequence[Committed], channel: str = "orders") -> list[int]:
    """The rows that arrived, by number."""
    changes = [change for done in committed for change in done.changes if change.channel == channel]
    return [json.loads(change.message)["id"] for change in changes if change.op == INSERT]


def gaps(committed: Sequence[Committed]) -> list[tuple[str, str]]:
    """The gaps that arrived: channel and detail."""
    changes = [change for done in committed for change in done.changes if change.op == GAP]
    assert all(json.loads(change.message)["reason"] == "unreadable" for change in changes)
    return [(change.channel, json.loads(change.message)["detail"]) for change in changes]
