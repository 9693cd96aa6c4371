"""Looks for the newest table map of one table in the log: the shape that its last rows had."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from cdc import compression
from cdc import events as ev
from cdc.control import ConnectArgs, Control, Server
from cdc.position import Position
from cdc.source import BinlogSource
from cdc.tablemap import TableMap, parse, parse_name

_HEARTBEAT = 5.0  # seconds


def find(
    connect: ConnectArgs, schema: str, table: str, *, files: int, reading: Callable[[str], None]
) -> tuple[TableMap | None, Server]:
    """The newest map in the newest ``files`` of the log, None when there is none; and the server that keeps it.

    ``reading(file)`` is called before each file, the newest first. Raises SourceError.
    """
    with Control(connect) as control:
        server = control.server()
        logs = [str(row["Log_name"]) for row in control.rows("SHOW BINARY LOGS")]
        fold = str.lower if server.any_case else str
        for file in logs[: -files - 1 : -1]:
            reading(file)
            end = control.end(gtids=False)
            newest = None
            for body in _maps(connect, server, file, end.offset if file == end.file else None):
                name = parse_name(body)
                if (fold(name.schema), fold(name.table)) == (fold(schema), fold(table)):
                    newest = body
            if newest is not None:
                return parse(newest, mariadb=server.flavour == "mariadb"), server
    return None, server


def _maps(connect: ConnectArgs, server: Server, file: str, end: int | None) -> Iterator[bytes]:
    """The bodies of the table maps in one file, up to ``end`` or to the next file."""
    source = BinlogSource(connect, random.randrange(1 << 31, 1 << 32), heartbeat=_HEARTBEAT)  # noqa: S311 - no secret
    source.open(Position(file, 4), server.flavour)
    try:
        checksums = 4  # the source asks for them, and each file's format then says if it has any
        for event in source.events():
            header = ev.parse_header(event)
            if header.kind == ev.FORMAT_DESCRIPTION:
                checksums = 4 if ev.uses_checksum(event) else 0
            body = event[ev.HEADER_SIZE : len(event) - checksums]
            if header.kind == ev.ROTATE and ev.parse_rotate(body)[0] != file:
                return
            if header.kind == ev.TABLE_MAP:
                yield body
            elif header.kind == ev.TRANSACTION_PAYLOAD:
                yield from (one[ev.HEADER_SIZE :] for one in compression.unpack(body) if one[4] == ev.TABLE_MAP)
            if end is not None and header.end >= end:
                return
    finally:
        source.close()
