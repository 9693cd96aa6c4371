"""The journal: appended to by one task, read by many, on one event loop.

What readers see (``head``, ``floor``, the memory tail) lives here, in memory. What is durable lives in the file, is
written by ``Writer`` in a thread of its own, and becomes visible after its commit has returned, never before.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Literal, NoReturn, Self

from journal.aside import set_aside, was_ours
from journal.channel import Channel
from journal.errors import JournalDamaged, JournalError, JournalReplaced, UnknownChannel
from journal.outlast import outlast
from journal.pages import Ask, PageReader
from journal.schema import MAX_OFFSET, new_epoch
from journal.types import ChannelState, Event, Shape, Transaction
from journal.wal import reserve
from journal.writer import Commit, Writer


class SqliteJournal:
    """A ``JournalReader`` that can also be written; made by ``open``, ended by ``close``.

    ``notices`` tell what had to be done when it was opened. ``renewed`` is called when a new epoch has begun, before
    any event of it is visible. ``writing`` is told when a commit begins and when it has ended.
    """

    def __init__(
        self, writer: Writer, thread: ThreadPoolExecutor, channels: dict[str, Channel], notices: Sequence[str] = ()
    ) -> None:
        self.notices = tuple(notices)
        self.renewed: Callable[[], None] = lambda: None
        self.writing: Callable[[bool], None] = lambda _: None
        self._writer = writer
        self._thread = thread  # the only one in which ``_writer`` is touched
        self._channels = channels
        self._state = writer.state
        self._pages = PageReader(writer.path, writer.state.epoch)
        self._turn = asyncio.Lock()  # one commit at a time, in the order asked for
        self._failed: JournalError | None = None
        self._damaged: JournalDamaged | None = None
        self._closed = False
        self._claims: dict[str, int] = {}  # the largest offset of this epoch that a client says it has, by channel
        self._alarm = asyncio.Event()  # damage was met, or the epoch is in doubt

    @classmethod
    async def open(
        cls,
        path: Path | str,
        channels: Sequence[str],
        *,
        sync: Literal["full", "normal"] = "full",
        tail_bytes: int = 16 << 20,
        clock: Callable[[], float] = time.monotonic,
        carry_over: Callable[[str], str] | None = None,
        written: Callable[[], None] | None = None,
    ) -> Self:
        """Open the journal at ``path`` for writing, making it when there is none.

        Channels new to the file start empty; those in the file but not named here stay in it, unserved.
        ``tail_bytes`` is the memory for the newest events, shared out among the channels. ``written`` is called in
        the writer's thread when a batch's events are written and their commit is not. Raises ``JournalLocked``,
        ``JournalDamaged``, ``JournalFull`` or ``JournalError``, and leaves a file it does not know as it was. With
        ``carry_over`` a damaged journal is set aside and a new one made, with what it makes of the old checkpoint.
        """
        thread = ThreadPoolExecutor(1, thread_name_prefix="journal-writer")
        start = partial(_start, Path(path), channels, sync, tail_bytes // max(len(channels), 1), clock, written=written)
        begin = partial(_start_anew, Path(path), start, carry_over) if carry_over else start
        try:
            writer, served, notices = await outlast(thread.submit(begin))
        except BaseException:
            thread.shutdown(wait=False)
            raise
        return cls(writer, thread, served, notices)

    async def reserve(self) -> None:
        """Take the room that the write-ahead log will need, so that no commit has to (``journal/wal.py``)."""
        self._require_open()
        await outlast(self._thread.submit(reserve, self._writer.path))

    @property
    def epoch(self) -> str:
        """The name of this journal's life."""
        return self._state.epoch

    @property
    def checkpoint(self) -> str | None:
        """Where to resume: the checkpoint of the last transaction appended; None in a new journal."""
        return self._state.checkpoint

    @property
    def writable(self) -> bool:
        """Whether the last commit succeeded, no damage was met, and the journal is open."""
        return self.error is None and not self._closed

    @property
    def error(self) -> JournalError | None:
        """Why it is not writable. Damage stays until a restart; a failed commit until the next that succeeds."""
        return self._damaged or self._failed

    def channels(self) -> dict[str, ChannelState]:
        """Every channel served, with its bounds and rate, from memory."""
        return {name: channel.state for name, channel in self._channels.items()}

    def head(self, channel: str) -> int:
        """The newest visible offset, 0 in a new channel; raises ``UnknownChannel``."""
        return self._served(channel).row.head

    def floor(self, channel: str) -> int:
        """The oldest offset kept, ``head + 1`` when there is none; raises ``UnknownChannel``."""
        return self._served(channel).row.floor

    def shapes(self, channel: str) -> tuple[Shape, ...]:
        """What its rows look like, as ``JournalReader.shapes`` says."""
        return self._served(channel).shapes

    async def append(self, batch: Sequence[Transaction]) -> list[Event]:
        """Write a batch in one commit with its last checkpoint; returns the events that are visible with it.

        Of a transaction that came in pieces, those of earlier batches are left out but for each channel's newest.
        After a ``JournalError`` nothing of the batch is in the journal and it may be appended again. Cancellation
        while the commit runs cannot undo it, so the events are returned, and the caller is cancelled at its next await.
        """
        return (await self._commit(partial(self._writer.append, batch))).events if batch else []

    async def withdraw(self) -> None:
        """Forget the pieces of a transaction whose last one never came; their offsets are given again."""
        await self._commit(self._writer.withdraw)

    async def read(self, channel: str, after: int, limit: int = 1000, max_bytes: int = 1 << 20) -> list[Event]:
        """A page of events after ``after``, as ``JournalReader.read`` says; from memory when they lie there."""
        served = self._served(channel)
        limit = max(limit, 1)
        while (after := max(after, served.row.floor - 1)) < served.row.head:
            page = served.tail.read(after, limit, max_bytes)
            if page is None:
                page = await self._read_disk(Ask(channel, after, limit, max_bytes, served.row.head))
            if page:
                return page
            async with self._turn:
                # Trimmed under our hands: when that commit's turn is over, ``floor`` says so. A lock that nobody holds
                # is taken without a pause, and this loop would then hold up everybody else.
                await asyncio.sleep(0)
        return []

    async def follow(self, channel: str, after: int) -> AsyncIterator[list[Event]]:
        """Every event after ``after``, page by page, waiting for those to come; ends when the journal is closed."""
        while not self._closed:
            if events := await self.read(channel, after):
                yield events
                after = events[-1].offset
            else:
                await self.arrival(channel, after)

    async def arrival(self, channel: str, after: int) -> None:
        """Wait for an event after ``after``, as ``JournalReader.arrival`` says."""
        served = self._served(channel)
        if served.row.head <= after and not self._closed:
            await served.arrival.wait()

    async def trim(self, keep_seconds: float, keep_bytes: int) -> int:
        """Let go of events older than ``keep_seconds`` and of the oldest beyond ``keep_bytes``; says how many.

        In small commits, each taking its turn behind the appends that wait.
        """
        trimmed = 0
        while count := (await self._commit(partial(self._writer.trim, keep_seconds, keep_bytes))).trimmed:
            trimmed += count
        return trimmed

    def doubt(self, channel: str, offset: int) -> bool:
        """Whether to believe a client that says it has this offset of our epoch, though it lies beyond the head.

        If so the journal is an older copy, and a new epoch begins before anything else is appended, or at once where
        ``guard`` runs. An epoch that began under our eyes cannot have given more than we know: the client is wrong.
        """
        if self.epoch != self._writer.first or offset > MAX_OFFSET:
            return False
        self._claims[channel] = max(offset, self._claims.get(channel, 0))
        self._alarm.set()
        return True

    async def guard(self) -> NoReturn:
        """Begin a new epoch whenever the present one is in doubt; raises the ``JournalDamaged`` that readers meet."""
        while True:
            await self._alarm.wait()
            self._alarm.clear()
            if self._damaged:
                raise self._damaged
            try:
                await self._commit(self._writer.unchanged)
            except JournalError as error:
                if not error.retry:  # else the next append, or the next client that comes back, tries again
                    raise

    async def close(self) -> None:
        """Let a running commit end, then close the file and its lock. ``follow`` ends; appends are refused."""
        if self._closed:
            return
        self._closed = True
        self._wake()
        await outlast(self._thread.submit(self._pages.close))
        await outlast(self._thread.submit(self._writer.close))
        self._thread.shutdown(wait=False)

    async def _commit(self, work: Callable[[], Commit]) -> Commit:
        """Run ``work`` in the writer's thread when its turn has come, and make its outcome visible.

        The rule on which replay-to-live rests: between a commit becoming visible here and the return to the caller
        there is no await. A caller that does ``hub.publish(await journal.append(batch))`` has then moved ``head`` and
        the hub's published offset in one step of the event loop, and whoever compares the two at any await finds them
        equal. One await in between, and a subscriber could read up to the new head, join live, and be sent the same
        events again by the publish that follows.
        """
        if (task := asyncio.current_task()) and task.cancelling():
            await asyncio.sleep(0)  # a cancellation that ``outlast`` held back is due; what follows may not suspend
        await self._turn.acquire()
        try:
            self._require_open()
            if self._claims:
                await self._settle_claims()
            self.writing(True)
            try:
                done = await outlast(self._thread.submit(work))
            finally:
                self.writing(False)
            # No await from here to the caller.
            if done.state is not self._state:
                self._failed = None
                self._adopt(done)
            return done
        except UnknownChannel:
            raise
        except JournalDamaged as error:
            self._condemn(error)
            raise
        except JournalError as error:
            self._failed = error
            raise
        finally:
            self._turn.release()

    async def _settle_claims(self) -> None:
        """Begin a new epoch if a claim still lies beyond the head, now that every commit before is visible."""
        if any(offset > self.head(channel) for channel, offset in self._claims.items()):
            epoch = new_epoch()
            self._pages.expect(epoch)
            self._adopt(await outlast(self._thread.submit(partial(self._writer.renew, epoch))))
            self.renewed()
            self._wake()
        self._claims.clear()

    def _condemn(self, error: JournalDamaged) -> None:
        self._damaged = error
        self._alarm.set()
        if not isinstance(error, JournalReplaced) and not self._closed:
            self._thread.submit(self._writer.suspect)

    def _adopt(self, done: Commit) -> None:
        self._state = done.state
        for name, channel in self._channels.items():
            channel.adopt(done.state.channels[name], done.by_channel.get(name, ()), done.shapes.get(name, ()))
        if self._writer.wal.due:
            self._thread.submit(self._fold)

    def _wake(self) -> None:
        for channel in self._channels.values():
            channel.wake()

    def _fold(self) -> None:
        with suppress(JournalError):  # journal/wal.py says why that does no harm
            self._writer.fold()

    async def _read_disk(self, ask: Ask) -> list[Event]:
        self._require_open()
        try:
            return await self._pages.read(ask)
        except JournalDamaged as error:
            self._condemn(error)
            raise

    def _require_open(self) -> None:
        if self._closed:
            raise JournalError("The journal is closed.")

    def _served(self, channel: str) -> Channel:
        try:
            return self._channels[channel]
        except KeyError:
            raise UnknownChannel(f"There is no channel {channel!r}.") from None


Started = tuple[Writer, dict[str, Channel], list[str]]


def _start_anew(path: Path, start: Callable[[], Started], carry_over: Callable[[str], str]) -> Started:
    """Start; if a journal of ours is there but damaged, with a new one."""
    path = path.resolve()
    try:
        return start()
    except JournalDamaged as error:
        if not was_ours(path):
            raise
        aside = set_aside(path, carry_over)
        writer, served, notices = start()
        resumed = "it resumes where the old one was" if writer.state.checkpoint else "it begins at the log's end"
        return writer, served, [f"{error} Set aside as {aside}; a new journal begins, and {resumed}.", *notices]


def _start(
    path: Path,
    channels: Sequence[str],
    sync: Literal["full", "normal"],
    tail_bytes: int,
    clock: Callable[[], float],
    *,
    written: Callable[[], None] | None,
) -> Started:
    path = path.resolve()
    writer = Writer(path, channels, sync, clock, written)
    try:
        state, shapes = writer.state, writer.shapes
        served = {name: Channel(state.channels[name], tail_bytes, clock, shapes[name]) for name in channels}
        for name, channel in served.items():
            channel.tail.extend(writer.newest(name, tail_bytes))
    except BaseException:
        writer.close()
        raise
    return writer, served, [f"{path} begins a new epoch: {writer.doubt}."] if writer.doubt else []
