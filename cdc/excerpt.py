"""A second look into the log, over a connection of its own, between two of its places."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from typing import NamedTuple

from cdc import compression, statements
from cdc import events as ev
from cdc.control import ConnectArgs
from cdc.framing import Packets
from cdc.position import Flavour, Position, log_order
from cdc.source import BinlogSource

_HEARTBEAT = 5.0  # seconds
_STATEMENTS = (ev.QUERY, ev.MARIADB_QUERY_COMPRESSED)


class Found(NamedTuple):
    """An event: where it ends, its type, and its body without checksum."""

    end: tuple[int, int]
    kind: int
    body: bytes


def between(
    connect: ConnectArgs, flavour: Flavour, start: Position, end: Position, kinds: Collection[int]
) -> Iterator[Found]:
    """The events of these types from ``start``, which must be where one begins, to ``end``; raises SourceError.

    The others are not even looked at: a log may hold millions of rows between two statements.
    """
    source = BinlogSource(connect, random.randrange(1 << 31, 1 << 32), heartbeat=_HEARTBEAT)  # noqa: S311 - no secret
    source.open(Position(start.file, start.offset), flavour)
    file, target = start.file, log_order(end.file, end.offset)
    looked_at = {*kinds, ev.FORMAT_DESCRIPTION, ev.ROTATE}
    try:
        checksums = 4  # the source asks for them, and each file's format then says if it has any
        for packets in source.reads():
            for event in packets.events(looked_at):
                header = ev.parse_header(event)
                if header.kind == ev.FORMAT_DESCRIPTION:
                    checksums = 4 if ev.uses_checksum(event) else 0
                body = event[ev.HEADER_SIZE : len(event) - checksums]
                place = log_order(file, header.end)
                if header.kind == ev.ROTATE:
                    file, offset = ev.parse_rotate(body)
                    place = log_order(file, offset)
                if place > target:
                    return
                if header.kind in kinds:
                    yield Found(place, header.kind, body)
            if log_order(file, _reached(packets)) >= target:
                return
    finally:
        source.close()


def _reached(packets: Packets) -> int:
    """Where the last event that has a place of its own ends; 0 when there is none."""
    ends = (ev.parse_header(packets.data[at : at + ev.HEADER_SIZE]).end for at in reversed(packets.begins))
    return next(filter(None, ends), 0)


def alterations(
    connect: ConnectArgs, start: Position, end: Position, schema: str, table: str
) -> list[tuple[tuple[int, int], str]]:
    """The statements in MariaDB's log that may have given a table another shape: where each ends, and its text."""
    found = []
    for place, kind, body in between(connect, "mariadb", start, end, _STATEMENTS):
        if kind == ev.MARIADB_QUERY_COMPRESSED:
            body = compression.inflated(body, ev.statement_start(body))  # noqa: PLW2901 - the same statement
        elif ev.is_begin(body):
            continue
        query = ev.parse_query(body)
        if statements.reshapes(query, schema, table):
            found.append((place, query.sql))
    return found
