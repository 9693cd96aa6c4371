"""Which tables of the stream are captured, and how the shapes that they have had are read."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from cdc import statements
from cdc.changes import Feed
from cdc.errors import MalformedEvent, UndecodableRow
from cdc.events import Query
from cdc.rows import Decoder
from cdc.tablemap import TableMap, TableName, parse, parse_name
from journal.types import DELETE, INSERT

BROKEN = (LookupError, ValueError, struct.error)
"""What becomes of bytes that are not what they should be."""

_KNOWN = 1024  # a bound for servers with very many tables; a map that fell out is parsed again


class Capture(NamedTuple):
    """A channel's wish: the table ``(schema, name)`` that feeds it, and the kinds of change."""

    channel: str
    schema: str
    table: str
    events: tuple[str, ...] = (INSERT,)


class Table(NamedTuple):
    """What to do with the rows of one table map: a feed for each channel, or for its wish why there is none."""

    feeds: Sequence[Feed]
    failed: Mapping[Capture, str]


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
        self._known: dict[bytes, tuple[int, Table]] = {}

    def forget(self) -> None:
        """Begin afresh, as the numbers of table maps do with a new file."""
        self._known.clear()

    def table(self, body: bytes) -> tuple[int, Table]:
        """The number that this table map gives its table, and what to do with the rows."""
        found = self._known.get(body)
        if found is None:
            if len(self._known) >= _KNOWN:
                self._known.clear()
            name = parse_name(body)
            found = self._known[body] = name.table_id, self._prepare(name, body)
        return found

    def known(self, body: bytes) -> Table | None:
        """What to do with the rows of a table map that has come before; None when it has not."""
        found = self._known.get(body)
        return found and found[1]

    def emptied_by(self, query: Query) -> list[str]:
        """Channels with deletes whose table this statement empties or drops, without a word of its rows."""
        gone = statements.emptied(query.sql)
        return [
            capture.channel
            for capture in self._captures
            for schema, table in gone
            if DELETE in capture.events and self._is(capture, schema or query.schema, table or capture.table)
        ]

    def altered_by(self, query: Query) -> list[Capture]:
        """Captures whose table this statement may give another shape. What was known of shapes is forgotten then."""
        found = [one for one in self._captures if statements.reshapes(query, one.schema, one.table)]
        if found:
            self.forget()
        return found

    def _is(self, capture: Capture, schema: str, table: str) -> bool:
        fold = self._fold
        return (fold(capture.schema), fold(capture.table)) == (fold(schema), fold(table))

    def _prepare(self, name: TableName, body: bytes) -> Table:
        captures = [capture for capture in self._captures if self._is(capture, name.schema, name.table)]
        if not captures:
            return _UNCAPTURED
        whole = f"{name.schema}.{name.table}"
        feeds, failed = [], {}
        for capture in captures:
            try:
                decode = self._compile(capture.channel, parse(body, mariadb=self._mariadb))
                feeds.append(Feed(capture.channel, whole, decode, capture.events))
            except (UndecodableRow, MalformedEvent) as error:
                failed[capture] = str(error)
            except BROKEN as error:
                failed[capture] = f"{whole}: its table map cannot be read: {error!r}"
        return Table(feeds, failed)
