"""The thread's side of one connection: events in, whole transactions into the hand-off."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import msgspec

from cdc.backfill import Backfill
from cdc.committed import Committed, Piece
from cdc.control import ConnectArgs, Control, Server
from cdc.errors import MalformedEvent, PositionLost, ReplicaBehind, SourceError
from cdc.events import HEARTBEAT
from cdc.fetch import Request, TableChannel, fetch
from cdc.handoff import Closed, Handoff
from cdc.hidden import HiddenTypes
from cdc.position import Checkpoint, Fingerprint, GtidState, Position, Written, log_order
from cdc.present import Present, look
from cdc.rows import Decoder, Shape, compile_decoder
from cdc.shortcut import Shortcut
from cdc.source import BinlogSource
from cdc.tablemap import TableMap
from cdc.tables import Capture

_NEVER_COMES = "if it never will, because the only server with them is gone, make this one the primary"


class Origin(msgspec.Struct, frozen=True):
    """What to read, from where, and under which server_id; ``heartbeat`` in seconds.

    ``hidden`` keeps what was learnt of the tables through all connections.
    """

    connect: ConnectArgs
    channels: Sequence[TableChannel]
    server_id: int
    heartbeat: float = 5.0
    hidden: HiddenTypes = msgspec.field(default_factory=HiddenTypes)

    def decoder(self, channel: str, table: TableMap, charsets: Mapping[int, str], written: Written) -> Decoder:
        """A decoder for ``channel`` over the shape that ``table`` had when the rows at ``written`` were.

        Asks the server what the shape does not say; raises UndecodableRow.
        """
        wish = next(c for c in self.channels if c.channel == channel)
        hidden = self.hidden.of(table, written, self.connect)
        return compile_decoder(table, Shape(wish.columns, hidden, wish.bigint_strings, charsets))


class Overlap:
    """Proof that the log continues where we left it: the last transaction that we know must be sent again, the same.

    Where XA transactions are held, the stream begins before it, and what comes until then was captured before.
    Without a transaction to expect, everything is new. ``same_server``: the server is the one that the checkpoint is
    from, whose files and offsets mean the same as then.
    """

    def __init__(self, checkpoint: Checkpoint, *, same_server: bool = True) -> None:
        self._expected: Fingerprint | None = checkpoint.last
        self._end = checkpoint.end
        self._first = checkpoint.held is None
        self._by_file = same_server or checkpoint.end.gtid is None
        self._known = GtidState.parse(checkpoint.flavour, checkpoint.end.gtid or "")

    @property
    def proven(self) -> bool:
        """Whether nothing is expected any more."""
        return self._expected is None

    def is_new(self, committed: Committed) -> bool:
        """Whether this transaction was not captured yet; raises PositionLost when the expected one has not come."""
        if self._expected is None:
            return True
        due = self._first or self._passed(committed)
        # Without GTIDs two transactions without rows look alike, such as two ALTERs of one second: the place decides.
        if committed.fingerprint == self._expected and (due or not self._by_file):
            self._expected = None
        elif due:
            raise PositionLost(f"the log holds another transaction at {self._end} than the one captured there", "reset")
        return False

    def _passed(self, committed: Committed) -> bool:
        """Whether the expected transaction, which is not this one, should have come by now."""
        if self._by_file:
            return log_order(committed.end.file, committed.end.offset) >= log_order(self._end.file, self._end.offset)
        gtid = committed.fingerprint.gtid if committed.fingerprint else None
        return gtid is None or not self._known.holds(gtid)

    def at_log_end(self) -> None:
        """Call when the server has no more to send; raises PositionLost when the proof is still due."""
        if self._expected is not None:
            raise PositionLost(f"the log ends before {self._end}", "reset")


class Reader:
    """One connection's thread. ``connected(server)`` and ``caught_up()`` are called on the event loop.

    ``requests`` are rows to fetch from the tables and to put where the log has passed their snapshot.

    ``caught_up`` comes when the log's end at connect time was reached, and with every heartbeat after that.
    """

    def __init__(
        self,
        origin: Origin,
        checkpoint: Checkpoint,
        handoff: Handoff,
        connected: Callable[[Server], None],
        caught_up: Callable[[], None],
        *,
        requests: Sequence[Request] = (),
    ) -> None:
        self._requests = requests
        self._origin = origin
        self._checkpoint = checkpoint
        self._handoff = handoff
        self._connected = connected
        self._caught_up = caught_up
        self._newest = _nothing(checkpoint)
        self._present: Present | None = None  # still to be told
        self._altered = False  # a statement was read that the tables are to be asked behind
        self._ahead = 0.0  # seconds that the server's clock is ahead of ours
        self._source = BinlogSource(origin.connect, origin.server_id, heartbeat=origin.heartbeat)

    def run(self) -> None:
        """Read until the stream ends, then say why. Never lets an error out of the thread unsaid."""
        try:
            self._stream()
        except Closed:
            return
        except BaseException as error:  # noqa: BLE001 - whatever it is, the loop's side raises it
            self._handoff.end(error)
        finally:
            self._source.close()

    def abort(self) -> None:
        """End the thread from the loop's side."""
        self._source.abort()

    def _stream(self) -> None:
        with Control(self._origin.connect) as control:
            server = control.server()
            _check_identity(self._checkpoint, server, control.end(gtids=server.gtids))
            backfill = fetch(self._origin.connect, self._requests, self._checkpoint.end)
            self._present = look(control, self._origin.channels, gtids=server.gtids)
            end = self._present.place  # behind the snapshot
            try:
                _check_captured(self._checkpoint, server, end)
                self._follow(control, server, end, backfill)
            except PositionLost as error:
                raise _explained(error, self._checkpoint, server, end) from error

    def _follow(self, control: Control, server: Server, end: Position, backfill: Backfill) -> None:
        start = self._checkpoint.resume
        self._ahead = server.ahead
        self._source.open(start, server.flavour)
        self._handoff.call(self._connected, server)
        self._origin.hidden.follow(server.identity)
        assembler = Shortcut(
            server.flavour,
            [Capture(c.channel, c.schema, c.table, c.events) for c in self._origin.channels],
            lambda channel, table: self._origin.decoder(channel, table, server.charsets, assembler.written),
            start,
            with_gtids=server.gtids,
            any_case=server.any_case,
            pass_on=lambda piece: self._pass_on(piece, overlap, backfill),
            altered=lambda capture: self._note(capture, assembler),
        )
        overlap = Overlap(self._checkpoint, same_server=self._checkpoint.server == server.identity)
        try:
            self._pump(assembler, overlap, backfill, end, control)
        except MalformedEvent as error:
            if overlap.proven or not start.by_file(server.flavour):
                raise
            # Another log lies under our coordinates, and they point into the middle of one of its events.
            raise PositionLost(f"no transaction begins at {start}: {error}", "reset") from error

    def _pump(self, assembler: Shortcut, overlap: Overlap, backfill: Backfill, end: Position, control: Control) -> None:
        target = log_order(end.file, end.offset)
        caught_up = False
        for kind, committed in self._steps(assembler, overlap, backfill):
            if committed is not None:
                if not backfill.done or self._present or self._altered:
                    self._newest = committed._replace(changes=(), unread={}, in_pieces=False, times=())
                if overlap.is_new(committed):
                    self._handoff.put(backfill.admit(committed))
            elif kind == HEARTBEAT:
                _check_log(control, assembler)
                caught_up = False  # say it again: the server has nothing more
            if not caught_up and log_order(assembler.file, assembler.offset) >= target:
                overlap.at_log_end()
                if not backfill.done:  # this end lies behind the snapshot
                    self._finish(backfill)
                self._describe()
                caught_up = True
                self._handoff.call(self._caught_up)
            if self._altered and committed is not None:
                self._altered = False
                if self._present is None:  # else the statement lies before the place where the tables were asked
                    self._present = look(control, self._origin.channels, gtids=False)
                    target, caught_up = log_order(self._present.place.file, self._present.place.offset), False

    def _steps(
        self, assembler: Shortcut, overlap: Overlap, backfill: Backfill
    ) -> Iterator[tuple[int, Committed | None]]:
        joins = partial(self._joins, overlap, backfill)
        for packets in self._source.reads():
            yield from assembler.steps(packets, joins)

    def _joins(self, overlap: Overlap, backfill: Backfill) -> bool:
        """Whether the next transactions may come as one: none of them has to be looked at by itself."""
        return overlap.proven and backfill.done and not self._altered

    def _note(self, capture: Capture, assembler: Shortcut) -> None:
        """A statement was read that may give a captured table other columns."""
        self._altered = True
        self._origin.hidden.altered(capture.schema, capture.table, log_order(assembler.file, assembler.offset))

    def _pass_on(self, piece: Piece, overlap: Overlap, backfill: Backfill) -> bool:
        """Hand on a piece of a transaction that is new. What was captured before is only compared at its end."""
        if not overlap.proven:
            return True
        if not backfill.done:
            if backfill.passed(piece.start.file, piece.start.offset):
                self._finish(backfill)
            else:  # it ends before the snapshot does, so the rows are not put between its pieces
                piece = backfill.admit_piece(piece)
        self._handoff.put(piece)
        return True

    def _describe(self) -> None:
        """What the tables' rows look like, at the place where they were asked."""
        present, self._present = self._present, None
        if present is not None and present.columns:
            self._handoff.put(self._newest._replace(columns=present.columns, committed=time.time() + self._ahead))

    def _finish(self, backfill: Backfill) -> None:
        """Rows that were fetched, and what waited for them, at the place that was reached."""
        self._handoff.put(backfill.finish(self._newest._replace(committed=time.time() + self._ahead)))


def _nothing(checkpoint: Checkpoint) -> Committed:
    """No transaction, at the place of the checkpoint: what carries rows when the log has no transaction to do it."""
    return Committed((), checkpoint.start, checkpoint.end, checkpoint.last, time.time(), checkpoint.held)


def _explained(error: PositionLost, checkpoint: Checkpoint, server: Server, end: Position) -> SourceError:
    """The loss with the GTIDs that were captured and are not there; a replica that is only late has lost nothing."""
    if error.reason != "reset" or checkpoint.end.gtid is None or end.gtid is None:
        return error
    missing = _missing(checkpoint, server, end)
    if missing and server.read_only:
        return ReplicaBehind(f"it is read-only and has not yet {missing}", _NEVER_COMES)
    if missing:
        return PositionLost(f"{error}; captured and not there: {missing}", error.reason)
    last = checkpoint.last and checkpoint.last.gtid
    return PositionLost(f"{error}; captured last: {last}", error.reason) if last else error


def _check_captured(checkpoint: Checkpoint, server: Server, end: Position) -> None:
    """MySQL's sets tell more than the overlap: transactions before the last one may be missing on another server.

    The server that it came from needs no such proof, and may have sent what it commits only later. MariaDB's position
    names the newest of each domain, and may lose a domain for good without losing a row.
    """
    elsewhere = server.flavour == "mysql" and checkpoint.server != server.identity
    if elsewhere and _missing(checkpoint, server, end):
        raise PositionLost("the server never had all that was captured", "reset")


def _missing(checkpoint: Checkpoint, server: Server, end: Position) -> str:
    """What was captured and the server has not, as GTIDs."""
    if checkpoint.end.gtid is None or end.gtid is None:
        return ""
    captured, there = (GtidState.parse(server.flavour, gtids) for gtids in (checkpoint.end.gtid, end.gtid))
    return captured.beyond(there)


def _check_log(control: Control, assembler: Shortcut) -> None:
    """After a RESET both servers go on with heartbeats, until the new log is longer than what was read of the old."""
    end = control.end(gtids=False)
    if log_order(end.file, end.offset) < log_order(assembler.file, assembler.offset):
        raise PositionLost(f"the log ends at {end}, before {assembler.file}:{assembler.offset}", "reset")


def _check_identity(checkpoint: Checkpoint, server: Server, end: Position) -> None:
    """File and offset mean nothing on another server; GTIDs do, and the overlap then proves the rest."""
    if checkpoint.flavour != server.flavour:
        raise PositionLost(f"the journal followed a {checkpoint.flavour} server, this is {server.flavour}", "reset")
    start = checkpoint.resume
    if not start.by_file(server.flavour):
        return
    if checkpoint.server != server.identity:
        raise PositionLost("another server answers at this address", "reset")
    if log_order(start.file, start.offset) > log_order(end.file, end.offset):
        raise PositionLost(f"the log ends at {end}, before {start}", "reset")
