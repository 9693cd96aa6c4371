"""What a connection fetches from the tables before it follows the log: seeds of new channels, repairs behind a gap."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from cdc import snapshot
from cdc.backfill import Backfill, Bounds, Key, TableRows, key_of
from cdc.control import ConnectArgs, Control
from cdc.errors import UndecodableRow
from cdc.position import Position
from cdc.snapshot import TableShape
from journal.types import INSERT, Change

logger = logging.getLogger(__name__)

_ALL = 1 << 62  # rows
_COMPARABLE = frozenset(
    {"tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "char", "varchar", "date", "datetime"}
)


class TableChannel(msgspec.Struct, frozen=True):
    """One channel over one table: which columns (None: all) and changes, 64-bit integers as strings or numbers.

    ``seed`` is how many of the table's newest rows a channel without events begins with.
    """

    channel: str
    schema: str
    table: str
    columns: tuple[str, ...] | None = None
    bigint_strings: bool = False
    seed: int = 0
    events: tuple[str, ...] = (INSERT,)

    @property
    def source(self) -> str:
        """The table's whole name."""
        return f"{self.schema}.{self.table}"


class Request(NamedTuple):
    """One channel's need. ``known``: the newest rows before the gap in the journal, oldest first; None for a seed.

    ``behind`` are rows that were told later: not to be told again.
    ``whole``: the journal still has all that the channel was ever told, so that no row known means no row told.
    ``first`` are changes that go before the rows: the gap that a repair is for, unless it was told already. They go
    out without rows too.
    ``other_log``: what is known comes from a log that another took the place of, whose rows may have the same keys.
    """

    channel: TableChannel
    known: Sequence[bytes] | None = None
    first: Sequence[Change] = ()
    other_log: bool = False
    whole: bool = False
    behind: Sequence[bytes] = ()


def fetch(connect: ConnectArgs, requests: Sequence[Request], least: Position) -> Backfill:
    """Read what is asked for in one consistent snapshot, which holds everything up to ``least``.

    A channel whose table has no usable key gets nothing.
    """
    if not requests:
        return Backfill({}, Bounds(lambda _: False, Position("", 0)), done=True)
    with Control(connect, raw=True) as control:
        bounds = snapshot.begin(control, least)
        rows = {request.channel.channel: _rows(control, request) for request in requests}
    found = {}
    vain = [channel for channel, table in rows.items() if table is None]
    for request in requests:
        name = request.channel.channel
        table = rows[name] or _without_rows(request)
        if table is not None:
            found[name] = table
            logger.info("%s: %d rows read from the table", name, len(table.messages))
    return Backfill(found, bounds, vain=vain)


def _shape(control: Control, channel: TableChannel) -> TableShape | None:
    table = snapshot.shape(control, channel.schema, channel.table, channel.columns)
    names = {column.name for column in table.columns}
    return table if table.key and names.issuperset(table.key) else None


def _types(table: TableShape) -> set[str]:
    return {column.type for column in table.columns if column.name in table.key}


def _rows(control: Control, request: Request) -> TableRows | None:
    """The rows; None when the table cannot tell which they are."""
    channel = request.channel
    table = _shape(control, channel)
    if table is None:
        logger.warning("%s: no rows from %s.%s: it has no primary key among the columns carried",
                       channel.channel, channel.schema, channel.table)  # fmt: skip
        return None
    if request.known and not _types(table) <= _COMPARABLE:
        logger.warning("%s: the key of %s does not tell which rows are newer", channel.channel, channel.source)
        return None
    if request.known is not None and not (request.known or (request.whole and channel.seed)):
        logger.warning("%s: the journal knows no row that tells which of %s are newer", channel.channel, channel.source)
        return None
    try:
        messages = _messages(control, table, request)
    except UndecodableRow as error:
        logger.warning("%s: no rows from %s.%s: %s", channel.channel, channel.schema, channel.table, error)
        return None
    keys = frozenset(key_of(message, table.key) for message in messages)
    return TableRows(messages, keys, table.key, request.first, table.described)


def _messages(control: Control, table: TableShape, request: Request) -> list[bytes]:
    """A seed's rows, or a repair's. A channel that was seeded and told no row had an empty table: every row is new."""
    if request.known is None:
        return _newest(control, table, request.channel.seed, request.channel)
    found = (
        _above(control, table, request.channel, [key_of(message, table.key) for message in request.known])
        if request.known
        else _newest(control, table, _ALL, request.channel)
    )
    told = {key_of(message, table.key): message for message in (*request.known, *request.behind)}
    return [message for message in found if _is_missing(message, told.get(key_of(message, table.key)), request)]


def _without_rows(request: Request) -> TableRows | None:
    """The gap alone, if there is one to tell. What the log holds up to the snapshot then lies within that gap."""
    return TableRows((), (), (), request.first) if request.first else None


def _newest(control: Control, table: TableShape, limit: int, channel: TableChannel) -> list[bytes]:
    return snapshot.newest(control, table, limit, bigint_strings=channel.bigint_strings)


def _above(control: Control, table: TableShape, channel: TableChannel, known: Sequence[Key]) -> list[bytes]:
    """Rows about and beyond those that the journal knows; of a table that was made anew, its newest."""
    found = snapshot.since(control, table, _least(known), bigint_strings=channel.bigint_strings)
    return found or _newest(control, table, max(channel.seed, 1), channel)


def _is_missing(message: bytes, known: bytes | None, request: Request) -> bool:
    """Whether the journal lacks a row. After a fail-over a number can have been given to another row than before."""
    if known is None or not request.other_log:
        return known is None
    return bool(msgspec.json.decode(message) != msgspec.json.decode(known))


def _least(known: Sequence[Key]) -> Key:
    """Transactions commit out of the order of their numbers: look back over what is known, where keys are numbers."""
    newest = known[-1]
    if len(newest) == 1 and isinstance(newest[0], int):
        return (min(key[0] for key in known if isinstance(key[0], int)),)
    return newest
