"""A second look into the log, over a connection of its own, between two of its places."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

from cdc import compression, statements
from cdc import events as ev
from cdc.control import ConnectArgs
from cdc.position import Flavour, Position, log_order
from cdc.source import BinlogSource

_HEARTBEAT = 5.0  # seconds


class Found(NamedTuple):
    """An event: where it ends, its type, and its body without checksum."""

    end: tuple[int, int]
    kind: int
    body: bytes


def between(connect: ConnectArgs, flavour: Flavour, start: Position, end: Position) -> Iterator[Found]:
    """The events from ``start``, which must be where one begins, to ``end``; raises SourceError."""
    source = BinlogSource(connect, random.randrange(1 << 31, 1 << 32), heartbeat=_HEARTBEAT)  # noqa: S311 - no secret
    source.open(Position(start.file, start.offset), flavour)
    file, target = start.file, log_order(end.file, end.offset)
    try:
        checksums = 4  # the source asks for them, and each file's format then says if it has any
        for event in source.events():
            header = ev.parse_header(event)
            if header.kind == ev.FORMAT_DESCRIPTION:
                checksums = 4 if ev.uses_checksum(event) else 0
            body = event[ev.HEADER_SIZE : len(event) - checksums]
            place = log_order(file, header.end)
            if header.kind == ev.ROTATE:
                file, offset = ev.parse_rotate(body)
                place = log_order(file, offset)
            yield Found(place, header.kind, body)
            if place >= target:
                return
    finally:
        source.close()


def alterations(
    connect: ConnectArgs, start: Position, end: Position, schema: str, table: str
) -> list[tuple[tuple[int, int], str]]:
    """The statements in MariaDB's log that may have given a table another shape: where each ends, and its text."""
    found = []
    for place, kind, body in between(connect, "mariadb", start, end):
        if kind == ev.MARIADB_QUERY_COMPRESSED:
            body = compression.inflated(body, ev.statement_start(body))  # noqa: PLW2901 - the same statement
        elif kind != ev.QUERY or ev.is_begin(body):
            continue
        query = ev.parse_query(body)
        if statements.reshapes(query, schema, table):
            found.append((place, query.sql))
    return found
