"""Pages of events from disk, each checked before anybody sees it.

A page is read in one read transaction of a connection that can only read, so it is consistent in itself whatever is
appended or trimmed meanwhile, and the next page starts a new one: a reader that dawdles holds nothing back.

The rows come out of SQLite as two values, one with all headers and one with all messages. Stepping row by row would
give up and take back Python's lock once a row, and beside a busy event loop each time can cost a switch interval:
measured 5 k events/s, against 120 k this way (docs/decisions/0002-few-steps-into-sqlite.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import apsw
import msgspec

from journal.errors import JournalDamaged, JournalError, JournalReplaced
from journal.file import connect, explained
from journal.schema import SET_ASIDE, ChannelRow, event_checksum, load_state
from journal.tail import EVENT_OVERHEAD
from journal.types import Event

_HEADERS = """
SELECT json_group_array(json_array(id, op, committed, crc, length, length_of_old))
FROM (SELECT id, op, committed, crc, length(message) AS length, length(old) AS length_of_old
      FROM event WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?)
"""
_MESSAGES = """
SELECT CAST(string_agg(message || old, '') AS BLOB)
FROM (SELECT message, old FROM event WHERE id BETWEEN ? AND ? ORDER BY id)
"""
_NEWEST = """
SELECT min(id)
FROM (SELECT id, sum(length) OVER (ORDER BY id DESC) AS total
      FROM (SELECT id, length(message) + length(old) + ? AS length
            FROM event WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT ?))
WHERE total <= ?
"""

_Header = tuple[int, str, int, int, int, int]  # key, op, committed, checksum, lengths of message and old
_headers = msgspec.json.Decoder(list[_Header])
# What is said to a column that is not of its kind any more.
_MISSHAPEN = (UnicodeDecodeError, msgspec.MsgspecError, KeyError)
_RESTART = "Stop this process, put the right file in place, and start it again."


class Ask(NamedTuple):
    """What a reader asks for, as ``JournalReader.read`` has it, not beyond the offset ``upto``."""

    channel: str
    after: int
    limit: int
    max_bytes: int
    upto: int


def read_page(connection: apsw.Connection, ask: Ask, epochs: Collection[str]) -> list[Event]:
    """One page of a channel; empty when the file's floor lies above ``ask.upto``.

    Raises ``JournalDamaged`` rather than leave out or pass on a row that is not what was written.
    """
    connection.execute("BEGIN DEFERRED")  # the first SELECT fixes what is seen
    try:
        state = load_state(connection)
        row = state.channels[ask.channel]
        if state.epoch not in epochs or row.head < ask.upto:
            raise JournalReplaced("The journal's file was replaced by another while it was open.", _RESTART)
        first = max(ask.after + 1, row.floor)
        return list(_read(connection, row, first, ask)) if first <= ask.upto else []
    except _MISSHAPEN as error:
        raise JournalDamaged(f"Channel {ask.channel} is damaged near {ask.after}: {error}.", SET_ASIDE) from error
    finally:
        if connection.in_transaction:  # some errors have ended it already
            connection.execute("COMMIT")


def _read(connection: apsw.Connection, row: ChannelRow, first: int, ask: Ask) -> Iterator[Event]:
    likely = 2 * ask.max_bytes // (row.bytes // row.count + 1) + 16  # not 1,000 headers for a page of two events
    bounds = (row.key(first), row.key(ask.upto))
    ((found,),) = connection.execute(_HEADERS, (*bounds, min(ask.limit, likely)))
    headers = _fitting(_headers.decode(found), ask.max_bytes)
    if not headers:
        raise JournalDamaged(f"Event {first} of channel {row.name} is missing.", SET_ASIDE)
    ((messages,),) = connection.execute(_MESSAGES, (row.key(first), headers[-1][0]))
    start = 0
    for offset, (key, op, committed, checksum, length, length_of_old) in enumerate(headers, first):
        middle = start + length
        message, old = messages[start:middle], messages[middle : middle + length_of_old]
        start = middle + length_of_old
        if key != row.key(offset) or event_checksum(key, op, committed, message, old) != checksum:
            raise JournalDamaged(f"Event {offset} of channel {row.name} is missing or fails its checksum.", SET_ASIDE)
        yield Event(row.name, offset, op, message, committed / 1e6, old)


def _fitting(headers: list[_Header], max_bytes: int) -> list[_Header]:
    """The first headers whose messages fit together, at least one."""
    left = max_bytes
    for index, header in enumerate(headers):
        left -= header[4] + header[5]
        if left < 0:
            return headers[: max(index, 1)]
    return headers


def read_newest(connection: apsw.Connection, row: ChannelRow, epoch: str, max_bytes: int) -> list[Event]:
    """The newest events of a channel that together take at most ``max_bytes`` of memory."""
    bounds = (row.key(row.floor), row.key(row.head))
    most = max_bytes // EVENT_OVERHEAD
    ((key,),) = connection.execute(_NEWEST, (EVENT_OVERHEAD, *bounds, most, max_bytes))
    events: list[Event] = []
    after = row.head if key is None else row.offset(key) - 1
    while after < row.head:
        events += read_page(connection, Ask(row.name, after, 1_000, 1 << 20, row.head), {epoch})
        after = events[-1].offset
    return events


class PageReader:
    """A few threads, each read with a connection of its own; connections are opened when first needed."""

    def __init__(self, path: Path, epoch: str, threads: int = 2) -> None:
        self._path = path
        self._epochs = {epoch}
        self._idle: list[apsw.Connection] = []
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="journal-reader")

    def expect(self, epoch: str) -> None:
        """Take pages of this epoch too: the file is about to begin it."""
        self._epochs.add(epoch)

    async def read(self, ask: Ask) -> list[Event]:
        """``read_page`` in one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, ask)

    def _read(self, ask: Ask) -> list[Event]:
        connection = self._borrow()
        try:
            with explained(connection, self._path):
                page = read_page(connection, ask, self._epochs)
        except JournalError:
            connection.close()
            raise
        self._idle.append(connection)
        return page

    def _borrow(self) -> apsw.Connection:
        try:
            return self._idle.pop()
        except IndexError:
            return connect(self._path, read_only=True)

    def close(self) -> None:
        """Wait for pages under way, then close the connections. Blocks; call it in a thread."""
        self._threads.shutdown()
        while self._idle:
            self._idle.pop().close()
