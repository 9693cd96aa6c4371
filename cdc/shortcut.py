"""The way of a plain transaction: nine in ten are a GTID, table maps, written rows and an XID, and nothing else.

The state machine of ``cdc/assembler.py`` remains the one truth. This reads such a transaction in one go when all of it
came with one read, and changes nothing before it has the whole: whatever is unusual about it, down to a checksum that
fails, is left to the machine, from its first event on. A test feeds the same logs through both
(docs/decisions/0021-a-shortcut-for-plain-transactions.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple
from zlib import crc32

from cdc import events as ev
from cdc.assembler import Assembler
from cdc.changes import inserts
from cdc.committed import CHANGE_OVERHEAD, Committed
from cdc.errors import UndecodableRow
from cdc.framing import Packets
from cdc.position import Fingerprint, Position
from cdc.tables import BROKEN, Table
from journal.types import INSERT, Change

_PLAIN = {
    "mariadb": re.compile(rb"\xa2(?:\x13[\x17\x1e]+)+\x10"),  # GTID, (table map, write rows …) …, XID
    "mysql": re.compile(rb"[\x21\x22]\x02(?:\x13[\x17\x1e]+)+\x10"),  # the same with a BEGIN behind the GTID
}
"""Plain transactions, each event by the byte of its type."""

_WIDE = 251  # so many columns are no single byte any more


class _Content(NamedTuple):
    """What the events behind the GTID hold; ``timestamp`` and ``end`` are the XID's."""

    changes: list[Change]
    digest: int
    timestamp: int
    end: int


class Shortcut(Assembler):
    """The assembler, fed with many events at a time."""

    def steps(self, packets: Packets) -> Iterator[tuple[int, Committed | None]]:
        """Take the events of one read. At each step: the type of the last event taken, the transaction it completes.

        A plain transaction is one step, any other event is one. Raises what ``feed`` raises.
        """
        data, begins, ends, kinds, _ = packets
        match = _PLAIN[self._flavour].match
        at, count = 0, len(begins)
        between = self._is_between()
        while at < count:
            found = match(kinds, at) if between else None
            done = self._plain(packets, at, found.end()) if found else None
            if found and done:
                yield ev.XID, done
                at = found.end()
            else:
                yield kinds[at], self.feed(data[begins[at] : ends[at]])
                between = self._is_between()
                at += 1

    def _is_between(self) -> bool:
        """Whether nothing is open, so that a transaction may begin."""
        new = not (self._open or self._tables) and self._pending.is_new
        return new and self._checksums and self._is_boundary(self._pending.start.offset)

    def _plain(self, packets: Packets, first: int, last: int) -> Committed | None:
        """The plain transaction of these events; None when there is anything else about it."""
        data, at, stop = packets.data, packets.begins[first], packets.ends[first]
        start = self._pending.start
        try:
            _, kind, server_id, size, end, _ = ev.unpack_header(data, at)
            if end - size != start.offset or crc32(data[at:stop]) != ev.CRC_OF_ALL:
                return None
            gtid = self._named(kind, data[at + ev.HEADER_SIZE : stop - 4], server_id)
            content = self._content(packets, first + 1, last) if gtid else None
        except (UndecodableRow, KeyError, *BROKEN):
            return None
        if gtid is None or content is None:
            return None
        if gtid.text and self._gtids is not None:
            self._gtids.advance(gtid.text)
        self.offset = content.end
        self._pending.start = Position(self.file, content.end, self._gtid_text())
        return Committed(
            content.changes,
            start,
            self._pending.start,
            Fingerprint(gtid.text or None, f"{content.timestamp}-{content.digest:08x}"),
            float(content.timestamp) if gtid.committed is None else gtid.committed,
            self._prepared.oldest,
        )

    def _named(self, kind: int, body: bytes, server_id: int) -> ev.Gtid | None:
        """The transaction's name, empty where the server numbers none; None when it is no plain one."""
        if self._mariadb:
            gtid = ev.parse_mariadb_gtid(body, server_id)
            return None if gtid.standalone or gtid.prepares else gtid
        gtid = ev.parse_mysql_gtid(body)
        return gtid if kind == ev.GTID else gtid._replace(text="")

    def _content(self, packets: Packets, first: int, last: int) -> _Content | None:
        """The transaction's rows; None when not everything is known that they are read with, or they are too many."""
        data, begins, ends, kinds, _ = packets
        tables: dict[bytes, Table] = {}
        changes: list[Change] = []
        digest = size = 0
        for i in range(first, last):
            at, stop, kind = begins[i], ends[i], kinds[i]
            if crc32(data[at:stop]) != ev.CRC_OF_ALL:
                return None
            body, stop = at + ev.HEADER_SIZE, stop - 4
            number = data[body : body + 6]  # of the table
            if kind == ev.TABLE_MAP:
                table = self._known.known(data[body:stop])
                if table is None or table.failed:
                    return None
                tables[number] = table
            elif kind in ev.WRITES:
                images, columns, present = _images(data, body, kind)
                digest = crc32(data[images:stop], digest)
                for feed in tables[number].feeds:
                    if INSERT in feed.events:
                        messages = feed.decode.images(data, images, stop, columns, present)
                        changes += inserts(feed, messages)
                        size += sum(map(len, messages)) + CHANGE_OVERHEAD * len(messages)
                if size >= self._pending.most:
                    return None
            elif kind == ev.QUERY and not ev.is_begin(data[body:stop]):
                return None
        timestamp, _, _, _, end, _ = ev.unpack_header(data, begins[last - 1])
        return _Content(changes, digest, timestamp, end) if end else None


def _images(data: bytes, body: int, kind: int) -> tuple[int, int, bytes]:
    """Where the row images of a write rows event begin, how many columns they have, and which of those are present."""
    at = body + 8
    if kind >= ev.WRITE_ROWS:
        at += data[at] | data[at + 1] << 8
    columns = data[at]
    if columns >= _WIDE:
        raise ValueError("so many columns are counted in more than one byte")
    images = at + 1 + (columns + 7 >> 3)
    return images, columns, data[at + 1 : images]
