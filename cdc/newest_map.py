"""Looks for the newest table map of one table in the log: the shape that its last rows had."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from cdc import compression, excerpt
from cdc import events as ev
from cdc.control import ConnectArgs, Control, Server
from cdc.position import Position
from cdc.tablemap import TableMap, parse, parse_name

_MAPS = (ev.TABLE_MAP, ev.TRANSACTION_PAYLOAD)


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
        end = control.end(gtids=False)
        for file in logs[: -files - 1 : -1]:
            reading(file)
            newest, start = None, Position(file, 4)
            for body in _maps(connect, server, start, end):
                name = parse_name(body)
                if (fold(name.schema), fold(name.table)) == (fold(schema), fold(table)):
                    newest = body
            if newest is not None:
                return parse(newest, mariadb=server.flavour == "mariadb"), server
            end = start
    return None, server


def _maps(connect: ConnectArgs, server: Server, start: Position, end: Position) -> Iterator[bytes]:
    """The bodies of the table maps between two places."""
    for _, kind, body in excerpt.between(connect, server.flavour, start, end, _MAPS):
        if kind == ev.TABLE_MAP:
            yield body
        else:
            yield from (one[ev.HEADER_SIZE :] for one in compression.unpack(body) if one[4] == ev.TABLE_MAP)
