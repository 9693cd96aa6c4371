"""Plain transactions side by side in one read, on their way to one ``Committed``. Pure.

What depends only on bytes that are the same as in the transaction before is not looked at again: a legacy writer's
transactions differ in their row, their number and their time.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from zlib import crc32

from cdc import events as ev
from cdc.committed import CHANGE_OVERHEAD, RUN_BYTES
from cdc.errors import UndecodableRow
from cdc.framing import Packets
from cdc.tables import BROKEN, Tables
from journal.types import INSERT, Change

Origin = tuple[int, int] | bytes
"""What a GTID's number counts in: MariaDB's domain and server, MySQL's source."""
_Name = tuple[Origin, int, float | None]  # origin, number, and commit time in Unix seconds where a GTID event says it
_Feed = tuple[str, bytes, Callable[[bytes, int, int, int, bytes], list[bytes]]]  # channel, columns, decoder

_WIDE = 251  # so many columns are no single byte any more
_NOT_PLAIN = 0x41  # flags of MariaDB's GTID: a statement by itself, or an XA transaction's prepare
_TIME = (1 << 55) - 1  # of the seven bytes of MySQL's commit time; the bit above says that another time follows
_LEAST_MARIADB, _LEAST_MYSQL, _LEAST_XID = 36, 72, 23  # bytes of an event up to what is read of it, and its checksum
_mariadb_gtid = struct.Struct("<5xIII2xQIB").unpack_from  # server, size, end; number, domain, flags
_mysql_gtid = struct.Struct("<9xII3x16sQ17xQ").unpack_from  # size, end; source, number, commit time
_xid = struct.Struct("<I9xI").unpack_from  # timestamp, end
_new = tuple.__new__


class _Unusual(Exception):
    """There is something about a transaction that the state machine is to look at."""


class Run:
    """Plain transactions of one read, one behind the other, as far as they were taken.

    The next one to be taken begins with the event ``at`` of the read, at the place ``end`` of the log.

    ``changes`` weigh about ``size``, ``times`` is that of a ``Committed``. The last one begins at ``start`` and has
    ``committed`` at that time, in Unix seconds. ``first`` is the first one's number in its GTID.
    """

    def __init__(self, packets: Packets, known: Tables, at: int, end: int, *, mariadb: bool) -> None:
        self._data, self._begins, self._ends, self._kinds, _ = packets
        self._known = known
        self.at = at
        self._name = self._mariadb if mariadb else self._mysql
        self._shortest = 4 if mariadb else 5  # events: one of rows
        self.count = 0
        self.changes: list[Change] = []
        self.size = self._most = 0
        self.times: list[tuple[int, float]] = []
        self.start = self.end = end
        self._stamp, self.committed = 0, 0.0
        self._origin: Origin = b""
        self.first = self._before = self._number = 0
        self._last = at  # the last transaction's first event
        self._begin: bytes | None = None  # the bytes that were looked at last, and what they mean
        self._map = self._fixed = b""
        self._feeds: Sequence[_Feed] = ()
        self._kind = self._columns = 0
        self._present = b""

    @property
    def full(self) -> bool:
        """Whether it weighs so much that nothing more is to come to it."""
        return self.size >= RUN_BYTES

    def take(self, most: int) -> bool:
        """Take another transaction.

        Returns whether it did: not when there is anything unusual about it, it does not begin where the last one ended,
        its changes weigh ``most`` or more, or its GTID does not go on from the last one's.
        """
        kept, size = len(self.changes), self.size
        self._most = size + most
        try:
            name = self._name(self.at)
            last = self._content(self.at + 1)
            stamp, end = self._end(last)
        except (_Unusual, UndecodableRow, *BROKEN):
            del self.changes[kept:]
            self.size = size
            return False
        self._count(last + 1, name, stamp, end, len(self.changes) > kept)
        return True

    def take_alike(self, most: int) -> bool:
        """Take those that are like the one before, where that has one event of rows.

        Returns whether any was taken: none that ``take`` would leave, nor one with something that is to be looked at.
        """
        form = self._kinds[self._last : self.at]
        if len(form) != self._shortest or len(self._feeds) != 1:
            return False
        first = self.at
        try:
            self._alike(form, most)
        except (_Unusual, UndecodableRow, *BROKEN):
            pass
        return self.at > first

    def _alike(self, form: bytes, most: int) -> None:
        """The same in one go: for a single row, calls and attributes would be most of the work.

        Ends where one is not like it or raises; nothing of that one is kept, for all of it is looked at first.
        """
        data, begins, ends, kinds, changes = self._data, self._begins, self._ends, self._kinds, self.changes
        table, fixed, columns, present = self._map, self._fixed, self._columns, self._present
        channel, described, decode = self._feeds[0]
        count, head, images = len(form), ev.HEADER_SIZE, ev.HEADER_SIZE + len(fixed)
        at = self.at
        while self.size < RUN_BYTES and kinds[at : at + count] == form:
            name = self._name(at)
            if count > 4:
                self._usual_begin(at + 1)
            at += count
            a, b, c = begins[at - 3 : at]  # the table map, the rows, the XID
            a_end, b_end, c_end = ends[at - 3 : at]
            if not crc32(data[a:a_end]) == crc32(data[b:b_end]) == crc32(data[c:c_end]) == ev.CRC_OF_ALL:
                return
            if data[a + head : a_end - 4] != table or data[b + head : b + images] != fixed:
                return
            stamp, end = _xid(data, c)
            messages = decode(data, b + images, b_end - 4, columns, present)
            size = sum(map(len, messages)) + CHANGE_OVERHEAD * len(messages)
            if size >= most or c_end - c < _LEAST_XID or not end:
                return
            changes += [_new(Change, (channel, INSERT, message, b"", described)) for message in messages]
            self.size += size
            self._count(at, name, stamp, end, bool(messages))

    def _usual_begin(self, i: int) -> None:
        event = self._data[self._begins[i] : self._ends[i]]
        if crc32(event) != ev.CRC_OF_ALL or event[ev.HEADER_SIZE : -4] != self._begin:
            raise _Unusual

    def _count(self, behind: int, name: _Name, stamp: int, end: int, has_changes: bool) -> None:
        origin, number, committed = name
        self.first = self.first if self.count else number
        self._last, self.at = self.at, behind
        self.start, self.end, self._stamp = self.end, end, stamp
        self._origin, self._before, self._number = origin, self._number, number
        self.committed = float(stamp) if committed is None else committed
        self.count += 1
        if has_changes:
            self.times.append((len(self.changes), self.committed))

    # Its events; these raise what ``take`` expects

    def _mariadb(self, i: int) -> _Name:
        at, stop = self._begins[i], self._ends[i]
        server, size, end, number, domain, flags = _mariadb_gtid(self._data, at)
        origin = domain, server
        if crc32(self._data[at:stop]) != ev.CRC_OF_ALL or stop - at < _LEAST_MARIADB or end - size != self.end:
            raise _Unusual
        if flags & _NOT_PLAIN or (self.count and origin != self._origin):
            raise _Unusual
        return origin, number, None

    def _mysql(self, i: int) -> _Name:
        at, stop = self._begins[i], self._ends[i]
        size, end, source, number, time = _mysql_gtid(self._data, at)
        number = number if self._kinds[i] == ev.GTID else 0  # the server numbers none
        if crc32(self._data[at:stop]) != ev.CRC_OF_ALL or stop - at < _LEAST_MYSQL or end - size != self.end:
            raise _Unusual
        if self.count and (source != self._origin or number not in (self._number + 1, 0)):
            raise _Unusual
        return source, number, (time & _TIME) / 1e6

    def _content(self, i: int) -> int:
        """All events before the XID; returns which one that is."""
        data, begins, ends, kinds = self._data, self._begins, self._ends, self._kinds
        tables: dict[bytes, Sequence[_Feed]] = {}
        while (kind := kinds[i]) != ev.XID:
            at, stop = begins[i], ends[i]
            if crc32(data[at:stop]) != ev.CRC_OF_ALL:
                raise _Unusual
            at, stop = at + ev.HEADER_SIZE, stop - 4
            if kind == ev.TABLE_MAP:
                body = data[at:stop]
                if body != self._map:
                    self._look(body)
                tables[body[:6]] = self._feeds
            elif kind == ev.QUERY:
                body = data[at:stop]
                if body != self._begin:
                    if not ev.is_begin(body):
                        raise _Unusual
                    self._begin = body
            else:
                self._rows(at, stop, kind, tables)
            i += 1
        return i

    def _end(self, i: int) -> tuple[int, int]:
        """The XID's time, and where it ends."""
        at, stop = self._begins[i], self._ends[i]
        stamp, end = _xid(self._data, at)
        if crc32(self._data[at:stop]) != ev.CRC_OF_ALL or stop - at < _LEAST_XID or not end:
            raise _Unusual
        return stamp, end

    def _look(self, body: bytes) -> None:
        """What is to be done with the rows of another table map."""
        table = self._known.known(body)
        if table is None or table.failed:
            raise _Unusual
        self._map = body
        self._feeds = [
            (feed.channel, feed.decode.described, feed.decode.images) for feed in table.feeds if INSERT in feed.events
        ]

    def _rows(self, at: int, stop: int, kind: int, tables: dict[bytes, Sequence[_Feed]]) -> None:
        data, fixed = self._data, self._fixed
        images = at + len(fixed)
        if kind != self._kind or data[at:images] != fixed:
            images, self._columns, self._present = _fixed_part(data, at, kind)
            if images > stop:
                raise _Unusual
            self._kind, self._fixed = kind, data[at:images]
        for channel, described, decode in tables[self._fixed[:6]]:
            messages = decode(data, images, stop, self._columns, self._present)
            self.changes += [_new(Change, (channel, INSERT, message, b"", described)) for message in messages]
            self.size += sum(map(len, messages)) + CHANGE_OVERHEAD * len(messages)
        if self.size >= self._most:  # with packed columns, far more may follow in the same read
            raise _Unusual

    # What is made of it

    @property
    def gtid(self) -> str | None:
        """The last transaction's GTID; None where the server numbers none."""
        return self._text(self._number)

    @property
    def gtid_before(self) -> str | None:
        """That of the last but one."""
        return self._text(self._before)

    def _text(self, number: int) -> str | None:
        if not isinstance(self._origin, bytes):
            return f"{self._origin[0]}-{self._origin[1]}-{number}"
        return f"{ev.uuid(self._origin)}:{number}" if number else None

    @property
    def digest(self) -> str:
        """What a fingerprint says of the last transaction."""
        digest, i = 0, self._last
        while (kind := self._kinds[i]) != ev.XID:
            if kind in ev.WRITES:
                images, _, _ = _fixed_part(self._data, self._begins[i] + ev.HEADER_SIZE, kind)
                digest = crc32(self._data[images : self._ends[i] - 4], digest)
            i += 1
        return f"{self._stamp}-{digest:08x}"


def _fixed_part(data: bytes, body: int, kind: int) -> tuple[int, int, bytes]:
    """Where the row images of a write rows event begin, how many columns they have, and which of those are present."""
    at = body + 8
    if kind >= ev.WRITE_ROWS:
        at += data[at] | data[at + 1] << 8
    columns = data[at]
    if columns >= _WIDE:
        raise ValueError("so many columns are counted in more than one byte")
    images = at + 1 + (columns + 7 >> 3)
    return images, columns, data[at + 1 : images]
