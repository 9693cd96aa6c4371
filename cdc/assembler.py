"""Binlog events in, whole committed transactions out. Pure: no socket, no thread, no clock.

A transaction that was rolled back, or whose end never came, leaves nothing behind.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

from cdc import compression, statements, xa
from cdc import events as ev
from cdc.changes import OPS, changes
from cdc.committed import Committed, Piece
from cdc.errors import MalformedEvent, UndecodableRow
from cdc.pending import Pending
from cdc.position import Fingerprint, Flavour, GtidState, Position, Written
from cdc.rows import Decoder
from cdc.tablemap import TableMap
from cdc.tables import BROKEN, Capture, Table, Tables
from journal.types import INSERT

_DUMMY_TABLE = 0xFFFFFF  # a rows event that only ends a statement
_BY_STATEMENT = "a write was logged as a statement; SET GLOBAL binlog_format = 'ROW'"


class Assembler:
    """The state machine over one connection's events.

    ``compile_decoder(channel, table_map)`` is asked once for each shape of a captured table. ``position`` is the
    boundary that the stream starts from; ``file`` and ``offset`` follow what was read. ``with_gtids`` says whether
    the server numbers its transactions, ``any_case`` whether it compares table names without case. ``pass_on`` is
    offered what has come of a large transaction, and tells whether it has taken it. ``altered`` is told of statements
    that may give a captured table another shape, before ``offset`` passes them.
    """

    def __init__(
        self,
        flavour: Flavour,
        captures: Sequence[Capture],
        compile_decoder: Callable[[str, TableMap], Decoder],
        position: Position,
        *,
        with_gtids: bool,
        any_case: bool = False,
        pass_on: Callable[[Piece], bool] = lambda _: False,
        altered: Callable[[Capture], None] = lambda _: None,
    ) -> None:
        self._altered = altered
        self._pass_on = pass_on
        self._with_gtids = with_gtids
        self._mariadb = flavour == "mariadb"
        self._flavour = flavour
        self._captures = captures
        self._channels = [capture.channel for capture in captures]
        self._inserts_only = {capture.channel for capture in captures if capture.events == (INSERT,)}
        self._gtids = None if position.gtid is None or not with_gtids else GtidState.parse(flavour, position.gtid)
        self._checksums = True  # the source has asked for them, and each file's format then says if it has any
        self._known = Tables(captures, compile_decoder, mariadb=self._mariadb, any_case=any_case)
        self.file, self.offset = position.file, position.offset
        self._prepared = xa.Waiting()
        self._mapped = ev.Header(0, ev.TABLE_MAP, 0, 0, 0, 0)  # the newest table map's
        self._reset(position)
        self._handlers: dict[int, Callable[[ev.Header, bytes], Committed | None]] = {
            ev.FORMAT_DESCRIPTION: self._format_description,
            ev.ROTATE: self._rotate,
            ev.QUERY: self._query,
            ev.XID: self._commit,
            ev.GTID: self._mysql_gtid,
            ev.ANONYMOUS_GTID: self._anonymous_gtid,
            ev.GTID_TAGGED: self._tagged_gtid,
            ev.PREVIOUS_GTIDS: self._gtid_base,
            ev.MARIADB_GTID: self._mariadb_gtid,
            ev.MARIADB_GTID_LIST: self._gtid_base,
            ev.TABLE_MAP: self._table_map,
            ev.HEARTBEAT: self._heartbeat,
            ev.XA_PREPARE: self._xa_prepare,
            ev.TRANSACTION_PAYLOAD: self._packed_transaction,
            ev.MARIADB_QUERY_COMPRESSED: self._packed_query,
        }
        self._handlers |= dict.fromkeys(ev.ROWS, self._rows) | dict.fromkeys(ev.UNPACKED_ROWS, self._packed_rows)
        self._ends: dict[statements.Kind, Callable[[ev.Header, str], Committed]] = {
            statements.Kind.COMMIT: self._commit,
            statements.Kind.ROLLBACK: self._rolled_back,
            statements.Kind.XA_COMMIT: self._xa_commit,
            statements.Kind.XA_ROLLBACK: self._xa_rollback,
        }

    def _reset(self, boundary: Position) -> None:
        self._pending = Pending(boundary, self._inserts_only)
        self._tables: dict[int, Table] = {}
        self._digest = 0
        self._open = False

    def feed(self, event: bytes) -> Committed | None:
        """Take the next event; return the transaction that it completes, if it does.

        Raises MalformedEvent when the event does not parse, or a rows event comes without its table map.
        """
        header = ev.parse_header(event)
        _, kind, _, _, end, _ = header
        try:
            if kind == ev.FORMAT_DESCRIPTION:
                self._checksums = ev.uses_checksum(event)
            if self._checksums:
                ev.check_crc(event)
            body = event[ev.HEADER_SIZE : -4] if self._checksums else event[ev.HEADER_SIZE :]
            done = self._handlers.get(kind, self._unlisted)(header, body)
        except BROKEN as error:
            raise MalformedEvent(f"an event of type {kind} at {self.file}:{self.offset} ends early") from error
        if end and kind != ev.ROTATE:
            self.offset = end
        return done

    @property
    def written(self) -> Written:
        """Where the table map lies whose shape is being asked about."""
        return Written(self.file, self.offset, self._mapped.timestamp, self._mapped.server_id)

    # The log itself

    def _format_description(self, _: ev.Header, __: bytes) -> None:
        self._known.forget()

    def _rotate(self, _: ev.Header, body: bytes) -> None:
        self.file, self.offset = ev.parse_rotate(body)

    def _heartbeat(self, _: ev.Header, body: bytes) -> None:
        """It says how far the server has read; it also comes while the server skips what we already have."""
        self.file = body.decode()

    def _gtid_base(self, header: ev.Header, body: bytes) -> None:
        """A file begins with the GTIDs before it; the base for a reader that started here by file and offset."""
        if self._with_gtids and self._gtids is None and header.end:
            text = ev.parse_gtid_list(body) if self._mariadb else ev.parse_previous_gtids(body)
            if text is not None:
                self._gtids = GtidState.parse(self._flavour, text)

    def _unlisted(self, header: ev.Header, body: bytes) -> Committed | None:
        """An event type that we do not decode could hide rows, unless the manual says that it never does.

        Outside BEGIN and COMMIT it is a transaction of its own, as an incident is.
        """
        if header.kind in ev.WITHOUT_ROWS or header.flags & ev.IGNORABLE_FLAG:
            return None
        self._unread(header, body, "not decoded")
        return None if self._open else self._commit(header)

    def _unread(self, header: ev.Header, body: bytes, why: str) -> None:
        self._digest = zlib.crc32(body, self._digest)
        self._pending.gap(self._channels, f"the log holds an event of type {header.kind}, {why}")

    # Where a transaction begins

    def _begin(self, header: ev.Header, gtid: ev.Gtid) -> None:
        start = header.end - header.size
        known = not header.end or self._is_boundary(start)
        if not known or self._open or self._tables or not self._pending.is_new:  # else the commit before has done it
            self._reset(self._pending.start if known else Position(self.file, start, self._gtid_text()))
        self._pending.gtid, self._pending.committed = gtid.text, gtid.committed
        if gtid.prepares:
            self._pending.most = xa.HELD_BYTES

    def _is_boundary(self, offset: int) -> bool:
        """Whether the last transaction ended there, as it mostly did."""
        known = self._pending.start
        return known.offset == offset and known.file == self.file and (known.gtid is None) is (self._gtids is None)

    def _mariadb_gtid(self, header: ev.Header, body: bytes) -> None:
        gtid = ev.parse_mariadb_gtid(body, header.server_id)
        self._begin(header, gtid)
        self._open = not gtid.standalone  # it stands in BEGIN's place, except before a single statement

    def _mysql_gtid(self, header: ev.Header, body: bytes) -> None:
        self._begin(header, ev.parse_mysql_gtid(body))

    def _anonymous_gtid(self, header: ev.Header, body: bytes) -> None:
        self._begin(header, ev.parse_mysql_gtid(body))
        self._pending.gtid = None

    def _tagged_gtid(self, header: ev.Header, _: bytes) -> None:
        """The library cannot ask for a set with tags, so from the first on we go by file and offset."""
        self._gtids = None
        self._begin(header, ev.Gtid(""))
        self._pending.gtid = None

    # What it holds

    def _table_map(self, header: ev.Header, body: bytes) -> None:
        self._mapped = header
        table_id, table = self._known.table(body)
        self._tables[table_id] = table

    def _rows(self, header: ev.Header, body: bytes) -> None:
        rows = ev.parse_rows(body, header.kind)
        self._digest = zlib.crc32(memoryview(body)[rows.start :], self._digest)
        table = self._tables.get(rows.table_id)
        if table is None:
            if rows.table_id == _DUMMY_TABLE:
                return
            raise MalformedEvent(f"rows of table map {rows.table_id} came without it")
        for capture, why in table.failed.items():
            if OPS[header.kind] in capture.events:
                self._pending.gap([capture.channel], why, inserts=header.kind in ev.WRITES)
        for feed in table.feeds:
            try:
                self._pending.add(changes(feed, header.kind, body, rows))
            except UndecodableRow as error:
                self._pending.gap([feed.channel], str(error), inserts=header.kind in ev.WRITES)
        if self._pending.is_full and self._pass_on(self._pending.piece(self._committed(header))):
            self._pending.passed_on()

    def _packed_rows(self, header: ev.Header, body: bytes) -> None:
        kind = ev.UNPACKED_ROWS[header.kind]
        try:
            unpacked = compression.inflated(body, ev.parse_rows(body, kind).start)
        except MalformedEvent as error:
            self._unread(header, body, f"which cannot be unpacked: {error}")
        else:
            self._rows(header._replace(kind=kind), unpacked)

    def _packed_query(self, header: ev.Header, body: bytes) -> Committed | None:
        return self._query(header, compression.inflated(body, ev.statement_start(body)))

    def _packed_transaction(self, header: ev.Header, body: bytes) -> Committed:
        """MySQL's compressed transaction, always a whole one. What does not unpack is a gap."""
        why = "which ends in the middle of a transaction"
        try:
            done = self._unpack(header, body)
        except (MalformedEvent, *BROKEN) as error:
            done, why = None, f"which cannot be unpacked: {error}"
        if done is not None:
            return done
        self._pending.undo()
        self._unread(header, body, why)
        return self._commit(header)

    def _unpack(self, header: ev.Header, body: bytes) -> Committed | None:
        """Its events have no place of their own in the log: they end where it ends."""
        for packed in compression.unpack(body):
            inner = ev.parse_header(packed)._replace(end=header.end)
            handler = self._handlers[inner.kind] if inner.kind in ev.PACKED else self._unlisted
            done = handler(inner, packed[ev.HEADER_SIZE :])
            if done is not None:
                return done
        return None

    def _query(self, header: ev.Header, body: bytes) -> Committed | None:
        if ev.is_begin(body):
            self._open = True
            return None
        query = ev.parse_query(body)
        kind = statements.classify(query.sql)
        end = self._ends.get(kind)
        if end is not None:
            return end(header, query.sql)
        if kind in (statements.Kind.BEGIN, statements.Kind.XA):
            self._open = True
            self._pending.most = xa.HELD_BYTES if kind is statements.Kind.XA else self._pending.most
        elif kind is statements.Kind.SAVEPOINT:
            self._pending.savepoint(statements.savepoint(query.sql))
        elif kind is statements.Kind.UNDO:
            self._pending.undo_to(statements.savepoint(query.sql))
        elif kind is statements.Kind.WRITE:
            named = [c.channel for c in self._captures if statements.names(query.sql, c.table)]
            # a view or a trigger hides the table
            self._pending.gap(named or self._channels, _BY_STATEMENT, inserts=statements.only_inserts(query.sql))
        elif kind is statements.Kind.HIDDEN:
            self._pending.gap(self._channels, _BY_STATEMENT)
        elif kind is statements.Kind.OTHER:
            self._changed(query)
        return None if self._open else self._commit(header)

    def _changed(self, query: ev.Query) -> None:
        """A statement that writes no row may still empty a table, or give it another shape."""
        for capture in self._known.altered_by(query):
            self._altered(capture)
        verb = query.sql.split(maxsplit=1)[0][:20]
        for channel in self._known.emptied_by(query):
            self._pending.tell(channel, f"every row is gone, and none was logged: {verb}")

    # How it ends

    def _rolled_back(self, header: ev.Header, _: str) -> Committed:
        """Logged only when a table without transactions took part: which of the rows remain, the log does not say."""
        self._pending.gap(self._pending.touched(), "rolled back after a table without transactions was written")
        self._pending.undo()
        return self._commit(header)

    def _xa_prepare(self, header: ev.Header, body: bytes) -> Committed:
        """Its rows may still be rolled back, and XA COMMIT does not repeat them: they wait for it."""
        pending = self._pending
        if not ev.commits_in_one_phase(body):
            if pending.in_pieces or not self._prepared.fits(pending.changes):
                pending.gap(pending.touched(), "a prepared XA transaction was too large to be held until its commit")
                pending.undo()
            self._prepared.hold(xa.prepared_xid(body), pending.start, pending.give_up())
        return self._commit(header)

    def _xa_commit(self, header: ev.Header, sql: str) -> Committed:
        held = self._prepared.end(xa.named_xid(sql))
        if held is None:
            self._pending.gap(self._channels, "an XA transaction was committed whose rows came before what was read")
        self._pending.let_in(held or ())
        return self._commit(header)

    def _xa_rollback(self, header: ev.Header, sql: str) -> Committed:
        self._pending.let_in(self._prepared.end(xa.named_xid(sql)) or ())
        self._pending.undo()
        return self._commit(header)

    def _commit(self, header: ev.Header, _: bytes | str = b"") -> Committed:
        pending = self._pending
        if pending.gtid is not None and self._gtids is not None:
            self._gtids.advance(pending.gtid)
        end = Position(self.file, header.end or self.offset, self._gtid_text())
        done = Committed(
            pending.changes,
            pending.start,
            end,
            Fingerprint(pending.gtid, f"{header.timestamp}-{self._digest:08x}"),
            self._committed(header),
            self._prepared.oldest,
            unread=pending.missed,
            in_pieces=pending.in_pieces,
        )
        self._reset(end)
        return done

    def _committed(self, header: ev.Header) -> float:
        """When it committed, Unix seconds: the event's whole second where the log has said nothing better."""
        said = self._pending.committed
        return float(header.timestamp) if said is None else said

    def _gtid_text(self) -> str | None:
        return None if self._gtids is None else str(self._gtids)
