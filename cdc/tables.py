"""Which tables of the stream are captured, and the decoders for the shapes that they have had."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from cdc.errors import MalformedEvent, UndecodableRow
from cdc.rows import Decoder
from cdc.tablemap import TableMap, TableName, parse, parse_name

BROKEN = (IndexError, ValueError, struct.error)
"""What becomes of bytes that are not what they should be."""

_KNOWN = 1024  # a bound for servers with very many tables; a map that fell out is parsed again


class Capture(NamedTuple):
    """A channel's wish: the table ``(schema, name)`` that feeds it."""

    channel: str
    schema: str
    table: str


class Table(NamedTuple):
    """What to do with the rows of one table map: a decoder for each channel, or why there is none."""

    decoders: Sequence[tuple[str, Decoder]]
    failed: Mapping[str, str]


_UNCAPTURED = Table((), {})


class Tables:
    """Table maps by their bytes: one that comes again is not parsed again.

    ``compile_decoder(channel, table_map)`` is asked once for each shape of a captured table. ``any_case``: the server
    compares table names without case, and its log may write them otherwise than the settings do.
    """

    def __init__(
        self,
        captures: Sequence[Capture],
        compile_decoder: Callable[[str, TableMap], Decoder],
        *,
        mariadb: bool,
        any_case: bool = False,
    ) -> None:
        self._fold = str.lower if any_case else str
        self._captures = captures
        self._compile = compile_decoder
        self._mariadb = mariadb
        self._known: dict[bytes, Table] = {}

    def forget(self) -> None:
        """Begin afresh, as the numbers of table maps do with a new file."""
        self._known.clear()

    def table(self, body: bytes) -> tuple[int, Table]:
        """The number that this table map gives its table, and what to do with the rows."""
        name = parse_name(body)
        table = self._known.get(body)
        if table is None:
            if len(self._known) >= _KNOWN:
                self._known.clear()
            table = self._known[body] = self._prepare(name, body)
        return name.table_id, table

    def _is(self, capture: Capture, name: TableName) -> bool:
        fold = self._fold
        return (fold(capture.schema), fold(capture.table)) == (fold(name.schema), fold(name.table))

    def _prepare(self, name: TableName, body: bytes) -> Table:
        channels = [c.channel for c in self._captures if self._is(c, name)]
        if not channels:
            return _UNCAPTURED
        decoders, failed = [], {}
        for channel in channels:
            try:
                decoders.append((channel, self._compile(channel, parse(body, mariadb=self._mariadb))))
            except (UndecodableRow, MalformedEvent) as error:
                failed[channel] = str(error)
            except BROKEN as error:
                failed[channel] = f"{name.schema}.{name.table}: its table map cannot be read: {error!r}"
        return Table(decoders, failed)
