"""The capture loop: source → assembler → queue → journal → publish, and back to the checkpoint when the stream is lost.

A checkpoint is only ever the end of a transaction whose rows are in the journal: both go there in one commit.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Literal, Protocol, TypeVar

import msgspec

from cdc.backoff import Backoff
from cdc.batch import ended, to_append
from cdc.committed import Committed, Piece
from cdc.control import Control, Server
from cdc.errors import PositionLost, SourceError, Superseded
from cdc.fetch import Request
from cdc.gaps import Gaps
from cdc.handoff import Handoff
from cdc.ledger import Ledger
from cdc.position import Checkpoint, Owed
from cdc.reader import Origin, Reader
from cdc.repair import History, repair
from journal.errors import JournalError
from journal.types import GAP, Event, Transaction

logger = logging.getLogger(__name__)

T = TypeVar("T")
State = Literal["live", "catching_up", "stalled", "down"]
LIVE: State = "live"
CATCHING_UP: State = "catching_up"
STALLED: State = "stalled"  # the source sends, the journal takes nothing
DOWN: State = "down"
_CHECKPOINT_INTERVAL = 1.0  # seconds between checkpoints that carry no rows
_LAG_OF_LIVE = 2000  # milliseconds behind which a connected source is catching up
_SUPERSEDED_WAIT = 60.0
_GAPS_LOGGED = 5  # of one append


class Appender(History, Protocol):
    """The journal: what was written, and how more is."""

    @property
    def checkpoint(self) -> str | None:
        """The last durable checkpoint."""

    async def append(self, batch: Sequence[Transaction]) -> list[Event]:
        """Make a batch durable and return the events that are visible with it."""

    async def withdraw(self) -> None:
        """Forget the pieces of a transaction whose last one never came."""


class CaptureStats(msgspec.Struct):
    """Plain counters for /metrics."""

    transactions: int = 0
    rows: int = 0
    gaps: int = 0
    connects: int = 0
    lost: int = 0


class CaptureLoop:
    """Owns the reader thread. ``publish`` and ``on_source(state, lag_ms)`` are called on the event loop.

    ``derived_id``: the origin's server_id was made up, so another may be taken when somebody else has it too.
    """

    def __init__(
        self,
        origin: Origin,
        journal: Appender,
        publish: Callable[[list[Event]], None],
        on_source: Callable[[State, int], None],
        *,
        derived_id: bool,
    ) -> None:
        self._origin = origin
        self._derived_id = derived_id
        self._journal = journal
        self._publish = publish
        self._on_source = on_source
        self.state: State = DOWN
        self.lag_ms = 0
        self.reason = "not connected yet"
        self.stats = CaptureStats()
        self._at_end = False  # the reader is at the log's end, the journal not yet
        self._reached_end = False
        self._after_loss: Checkpoint | None = None
        self._ledger = Ledger()
        self._gaps = Gaps()
        self._server = ""  # the identity of the one that is read
        self._ahead = 0.0  # seconds that its clock is ahead of ours

    @property
    def missing(self) -> Mapping[str, str]:
        """Channels that may lack rows which the log did not show, and why: to be fetched, or beyond that."""
        return self._ledger.missing

    # Start

    async def run(self) -> None:
        """Capture until cancelled; raises JournalError when the journal is beyond use."""
        wait = Backoff()
        while True:
            gc.collect()  # the connection before left buffers that refer to themselves; what lives long is frozen
            began = time.monotonic()
            try:
                await self._session()
                self._tell(CATCHING_UP, self.lag_ms, "rows are fetched from the tables")
                await asyncio.sleep(wait.next(time.monotonic() - began))  # the next statement may come soon
            except PositionLost as error:
                await self._announce_gap(error, wait.next(time.monotonic() - began))
            except SourceError as error:
                await self._pause(error, wait.next(time.monotonic() - began))

    async def _pause(self, error: SourceError, seconds: float) -> None:
        self.stats.lost += 1
        self._tell(DOWN, self.lag_ms, error.public)
        if isinstance(error, Superseded):
            seconds = self._step_down(seconds)
        logger.warning("source lost: %s; coming back in %.1f s. %s", error, seconds, error.hint)
        await asyncio.sleep(seconds)

    def _step_down(self, seconds: float) -> float:
        """Two readers under one server_id would throw each other out for ever."""
        if not self._derived_id:
            return _SUPERSEDED_WAIT
        self._origin = msgspec.structs.replace(self._origin, server_id=random.randrange(1 << 31, 1 << 32))  # noqa: S311
        return seconds

    # Run

    async def _session(self) -> None:
        """One connection's life: a thread reads and assembles, this side appends and publishes.

        A transaction of which pieces came on the last connection is sent again, from its beginning.
        Ends by itself when tables are to be asked for rows that the log does not show.
        """
        await self._until_taken(self._journal.withdraw)
        after_loss, self._after_loss = self._after_loss, None
        checkpoint = after_loss or await self._start_checkpoint()
        requests = await self._requests(checkpoint)
        self._at_end = self._reached_end = False
        self._server = checkpoint.server
        handoff = Handoff(asyncio.get_running_loop())
        reader = Reader(
            self._origin, checkpoint, handoff, self._connected, lambda: self._caught_up(handoff), requests=requests
        )
        threading.Thread(target=reader.run, name="binlog-reader", daemon=True).start()
        try:
            await self._drain(handoff, checkpoint, {request.channel.channel for request in requests})
        finally:
            handoff.close()
            reader.abort()

    async def _start_checkpoint(self) -> Checkpoint:
        """Where to begin: what the journal remembers, or at first the end of the log, remembered at once."""
        text = self._journal.checkpoint
        if text is not None:
            return Checkpoint.decode(text)
        checkpoint = await asyncio.to_thread(_first_checkpoint, self._origin)
        await self._append([Transaction((), checkpoint.encode(), time.time())])
        logger.info("new journal: capturing from the log's end, %s", checkpoint.end)
        return checkpoint

    async def _requests(self, checkpoint: Checkpoint) -> list[Request]:
        """What channels need: rows behind a gap, seeds of new ones, what came while one was left out."""
        owed, seeds = dict(checkpoint.owed), []
        for channel in self._origin.channels:
            if channel.channel in owed or checkpoint.tables.get(channel.channel) == channel.source:
                continue
            if self._journal.head(channel.channel):
                owed[channel.channel] = Owed("reset", f"{channel.source} was not captured meanwhile")
            elif channel.seed:
                seeds.append(Request(channel))
        known = {channel.channel: channel for channel in self._origin.channels}
        owed = {name: why for name, why in owed.items() if name in known}
        self._ledger.begin(owed)
        return [*seeds, *[await repair(self._journal, known[name], why) for name, why in owed.items()]]

    async def _drain(self, handoff: Handoff, checkpoint: Checkpoint, waiting: Collection[str]) -> None:
        """Append whatever is ready, until tables must be asked. What waits while one batch is written is the next.

        ``waiting`` are the channels that rows are fetched for. No checkpoint names their tables before those rows are
        in the journal, so a restart fetches them again; and every one does from then on, so a restart never repeats
        them: a seed taken twice would pass over rows that only the log still has.
        """
        tables = _tables(self._origin)
        fed = {name: table for name, table in tables.items() if name not in waiting}
        checkpoint = msgspec.structs.replace(checkpoint, tables=fed)
        idle: Transaction | None = None
        written = time.monotonic()
        while True:
            taken = await _take(handoff, _CHECKPOINT_INTERVAL if idle else None)
            now = time.monotonic()
            batch = [self._gaps.new(item, now) for item in taken]
            if self._ledger.take([item for item in batch if isinstance(item, Committed)], self._journal.head):
                checkpoint = msgspec.structs.replace(checkpoint, tables=tables)
            origin = msgspec.structs.replace(checkpoint, server=self._server, owed=self._ledger.owed)
            transactions, last = to_append(batch, origin)
            if not transactions:
                idle = last or idle
                elapsed = time.monotonic() - written
                transactions = [idle] if idle and elapsed >= _CHECKPOINT_INTERVAL else []
            elif last is not None:
                transactions.append(last)
            if transactions:
                await self._append(transactions)
                self.stats.transactions += sum(map(ended, batch))
                idle, written = None, time.monotonic()
            if taken:
                if rows := [item for item in batch if isinstance(item, Piece) or not item.columns]:
                    self._progress(rows[-1].committed, handoff.waited())
                handoff.release(taken)
                if self._ledger.due:
                    return
                if self._at_end:
                    self._caught_up(handoff)

    async def _append(self, transactions: Sequence[Transaction]) -> None:
        """Append and publish."""
        events = await self._until_taken(lambda: self._journal.append(transactions))
        # No await between the return of append and this: head and published offset move together.
        if events or any(transaction.columns for transaction in transactions):
            self._publish(events)
        self._count(transactions, events)

    async def _until_taken(self, write: Callable[[], Awaitable[T]]) -> T:
        """Write; a journal that cannot take it now is tried again until it can."""
        wait = Backoff()
        while True:
            try:
                done = await write()
                break
            except JournalError as error:
                if not error.retry:
                    raise
                self._tell(STALLED, self.lag_ms, "the journal takes nothing")
                logger.warning("the journal takes nothing: %s %s", error, error.hint)
                await asyncio.sleep(wait.next(0))
        if self.state == STALLED:
            self._tell(CATCHING_UP, self.lag_ms, "catching up")
        return done

    def _count(self, transactions: Sequence[Transaction], events: Sequence[Event]) -> None:
        """What became visible, and what pieces brought that will be."""
        for gap in [event for event in events if event.op == GAP][:_GAPS_LOGGED]:
            logger.warning("gap in %s at %d: %s", gap.channel, gap.offset, gap.message.decode())
        gaps = sum(change.op == GAP for t in transactions for change in t.changes)
        self.stats.gaps += gaps
        self.stats.rows += sum(len(t.changes) for t in transactions) - gaps

    def _progress(self, committed: float, waited: float) -> None:
        """The lag as it was when the newest rows had gone out."""
        lag = max(proven_lag(committed, self._ahead), int(waited * 1000))
        behind = lag >= _LAG_OF_LIVE or not self._reached_end
        self._tell(CATCHING_UP if behind else LIVE, lag, f"{lag} ms behind" if behind else "")

    def _caught_up(self, handoff: Handoff) -> None:
        """The reader was at the log's end; live once everything that it read is in the journal."""
        self._at_end = not handoff.empty
        if handoff.empty and self.state != STALLED:
            self._reached_end = True
            self._tell(LIVE, 0, "")

    def _connected(self, server: Server) -> None:
        """The reader's stream is open; after a fail-over another server sends it."""
        self.stats.connects += 1
        self._server, self._ahead = server.identity, server.ahead
        self._tell(CATCHING_UP, self.lag_ms, "catching up")

    def _tell(self, state: State, lag_ms: int, reason: str) -> None:
        if state != self.state:
            logger.info("source is %s%s", state, f": {reason}" if reason else "")
        self.state, self.lag_ms, self.reason = state, lag_ms, reason
        self._on_source(state, lag_ms)

    # What is gone

    async def _announce_gap(self, error: PositionLost, seconds: float) -> None:
        """Tell every channel that rows may be missing, and bring what the tables still tell of them.

        The log is followed from its end on: read from its beginning, it would repeat what was captured before. Gap
        and rows reach the journal together, by the next session.
        """
        logger.warning("the log does not continue: %s", error)
        self._origin.hidden.follow("")  # a log that was begun anew has other rows at the same places
        if await self._let_go():
            return
        try:
            checkpoint = await asyncio.to_thread(_first_checkpoint, self._origin)
        except SourceError as away:
            await self._pause(away, seconds)
            return
        owed = {channel.channel: Owed(error.reason, str(error)) for channel in self._origin.channels}
        self._after_loss = msgspec.structs.replace(checkpoint, owed=owed)
        await asyncio.sleep(seconds)

    async def _let_go(self) -> bool:
        """Try again without the XA transactions that were held: the log behind them may still be whole.

        Returns whether there were any. The commit of each becomes a gap, for its rows are not known any more.
        """
        text = self._journal.checkpoint
        checkpoint = Checkpoint.decode(text) if text is not None else None
        if checkpoint is None or checkpoint.held is None:
            return False
        logger.warning("prepared XA transactions since %s are not known any more", checkpoint.held)
        await self._append([Transaction((), msgspec.structs.replace(checkpoint, held=None).encode(), time.time())])
        return True


def proven_lag(committed: float, ahead: float = 0.0) -> int:
    """Milliseconds since a commit by a clock ``ahead`` of ours, as far as it proves them: MariaDB's tells seconds."""
    resolution = 1.0 if committed == int(committed) else 0.0
    return max(0, int((time.time() + ahead - committed - resolution) * 1000))


async def _take(handoff: Handoff, seconds: float | None) -> list[Committed | Piece]:
    """Whatever is ready, or nothing when nothing has come for so long."""
    try:
        async with asyncio.timeout(seconds) as due:
            return await handoff.take()
    except TimeoutError:
        if not due.expired():
            raise  # the reader died of it
        return []


def _first_checkpoint(origin: Origin) -> Checkpoint:
    with Control(origin.connect) as control:
        server = control.server()
        end = control.end(gtids=server.gtids)
    return Checkpoint(server.flavour, server.identity, end, end)


def _tables(origin: Origin) -> dict[str, str]:
    return {channel.channel: channel.source for channel in origin.channels}
