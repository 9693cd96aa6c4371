"""What one rows event means to a channel: its inserts, updates and deletes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from cdc import events as ev
from cdc.errors import UndecodableRow
from cdc.rows import Decoder
from journal.types import DELETE, INSERT, UPDATE, Change

OPS = {
    ev.WRITE_ROWS: INSERT, ev.UPDATE_ROWS: UPDATE, ev.DELETE_ROWS: DELETE, ev.PARTIAL_UPDATE_ROWS: UPDATE,
    ev.WRITE_ROWS_V1: INSERT, ev.UPDATE_ROWS_V1: UPDATE, ev.DELETE_ROWS_V1: DELETE,
}  # fmt: skip
"""What the rows of an event were subjected to, by the event's type."""


class Feed(NamedTuple):
    """A channel, how it reads the rows of one table's shape, and which kinds of change it wants."""

    channel: str
    table: str
    decode: Decoder
    events: tuple[str, ...] = (INSERT,)


def _changes(feed: Feed, op: str, messages: Iterable[bytes]) -> list[Change]:
    """Each made of all its fields at once, which is three times as fast: a transaction may have a million."""
    make, channel, described = tuple.__new__, feed.channel, feed.decode.described
    return [make(Change, (channel, op, message, b"", described)) for message in messages]


def changes(feed: Feed, kind: int, body: bytes, rows: ev.Rows) -> list[Change]:
    """The channel's changes in a rows event of type ``kind``; raises UndecodableRow.

    An update that changes nothing the channel carries is none, as an update that changes nothing at all is none to
    the server.
    """
    op = OPS[kind]
    if op not in feed.events:
        return []
    if op != UPDATE:
        return _changes(feed, op, feed.decode(body, rows, len(body)))
    if kind == ev.PARTIAL_UPDATE_ROWS:
        raise UndecodableRow(
            f"{feed.table}: a row was logged with parts of its JSON documents only;"
            " SET GLOBAL binlog_row_value_options = ''"
        )
    return list(_updates(feed, body, rows))


def _updates(feed: Feed, body: bytes, rows: ev.Rows) -> Iterator[Change]:
    """Images come in pairs: the row as it was, the row as it is."""
    texts, at = feed.decode.texts, rows.start
    keys = [msgspec.json.encode(name) + b":" for name in feed.decode.columns]
    while at < len(body):
        before, at = texts(body, at, rows.columns, rows.present)
        if at == len(body):
            raise UndecodableRow(f"{feed.table}: an update lacks the row as it became")
        after, at = texts(body, at, rows.columns, rows.after)
        if before != after:
            row = b",".join([key + now for key, now in zip(keys, after, strict=True)])
            changed = zip(keys, before, after, strict=True)
            old = b",".join([key + then for key, then, now in changed if then != now])
            yield Change(feed.channel, UPDATE, b"{%b}" % row, b"{%b}" % old, feed.decode.described)
