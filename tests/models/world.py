"""Everything between the source's thread and the browsers, in one process that the test steps through.

The journal, the capture loop's drain and the gateway are the real ones; their loop, threads, sockets and clock are not
(``loop.py``, ``link.py``). The process can be killed between any two steps and started again on what is on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import apsw
import pytest

import journal.pages
import journal.sqlite
from cdc.capture import CaptureLoop
from cdc.committed import Committed
from cdc.fetch import TableChannel
from cdc.handoff import Handoff
from cdc.position import Checkpoint, Position
from cdc.reader import Origin
from gateway import batch_write
from gateway.batch_write import BatchWriter, OneByOne
from gateway.limits import Timing
from gateway.server import Gateway
from journal.errors import JournalError
from journal.reader import describe
from journal.schema import ROW_OVERHEAD
from journal.sqlite import SqliteJournal
from journal.types import GAP, INSERT, Change
from tests.models.client import Bounds, Client
from tests.models.loop import SteppedLoop, Threads

CHANNELS = ("a", "b")
_FOREVER = 1e9
_TIMING = Timing(ping=_FOREVER, silence=_FOREVER, unread=_FOREVER)
_ORIGIN = Origin({}, [TableChannel(name, "shop", name) for name in CHANNELS], 1)


class World:
    """The source's committed transactions, one Rowcast over them, and its clients.

    ``room`` is the write buffer's bound in bytes, ``tail`` the journal's memory, ``page`` the rows of a page. With
    ``batch`` many connections are written to at once.
    """

    def __init__(self, folder: Path, *, clients: int, room: int, tail: int, page: int, batch: bool) -> None:
        self.loop = SteppedLoop()
        self.clients = [Client(self, f"client {number}") for number in range(clients)]
        self.full = False  # the journal's disk
        self._path = folder / "journal.db"
        self._room = room
        self._tail = tail
        self._page = page
        self._batch = batch
        self._log: list[Committed] = []
        self._rows: dict[str, list[int | None]] = {name: [] for name in CHANNELS}
        self._sizes: dict[str, list[int]] = {name: [] for name in CHANNELS}
        self._numbers = 0
        self._copies: list[dict[Path, bytes]] = []
        self.start()

    # The process

    def start(self) -> None:
        """Open the journal, listen, and go on where the checkpoint says."""
        epoch = describe(self._path).epoch if self._path.exists() else None
        try:
            self.journal = self.loop.complete(self._open())
        except JournalError as error:
            raise AssertionError(f"it does not start: {error}") from error
        self._running = True
        self._may_be_older = self.journal.epoch == epoch
        self.gateway = Gateway(
            self.journal,
            channels=CHANNELS,
            host="127.0.0.1",
            port=0,
            origins=(),
            readiness=lambda: (True, {}),
            max_buffer=self._room,
            timing=_TIMING,
            ahead=self.journal.doubt,
        )
        self.journal.renewed = self._renewed
        self.journal.writing = self.gateway.writing
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(batch_write, "best", self._sender)
            self.loop.complete(self.gateway.start())
        self.gateway.set_source("live", 0)
        self._capture()
        self._spawn(self.journal.guard)

    async def _open(self) -> SqliteJournal:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(journal.sqlite, "ThreadPoolExecutor", self._threads)
            patch.setattr(journal.pages, "ThreadPoolExecutor", self._threads)
            return await SqliteJournal.open(
                self._path,
                CHANNELS,
                sync="normal",
                tail_bytes=self._tail,
                clock=self.loop.time,
                written=self._commit_begins,
            )

    def _sender(self) -> OneByOne:
        return BatchWriter(self.loop.kernel) if self._batch else OneByOne()

    def _threads(self, count: int, thread_name_prefix: str) -> Threads:
        return self.loop.pool(count, thread_name_prefix)

    def _commit_begins(self) -> None:
        if self.full:
            raise apsw.FullError("database or disk is full")

    def _renewed(self) -> None:
        self._may_be_older = False
        self.gateway.new_epoch()

    def _capture(self) -> None:
        """The capture loop without its reader: what it would read is put into the hand-off."""
        text = self.journal.checkpoint
        checkpoint = Checkpoint.decode(text) if text else Checkpoint("mariadb", "", _place(0), _place(0))
        capture = CaptureLoop(_ORIGIN, self.journal, self.gateway.publish, self.gateway.set_source, derived_id=False)
        self.handoff = Handoff(self.loop)
        self._spawn(capture._drain, self.handoff, checkpoint, ())
        for committed in self._log[checkpoint.end.offset :]:
            self.handoff.put(committed)

    def kill(self) -> None:
        """End the process between two steps."""
        for client in self.clients:
            client.cut()
        self.close()

    def copy(self) -> None:
        """Copy the journal's files as they lie there, as a backup does that knows nothing of SQLite."""
        self._copies.append({path: path.read_bytes() for path in self._files() if path.exists()})

    def restore(self, which: int, *, witness: bool) -> None:
        """Put a copy in the place of the journal of a killed process; with its witness or beside the newest."""
        if self._copies:
            copy = self._copies[which % len(self._copies)]
            for path in self._files():
                if path.suffix != ".witness" or witness:
                    path.unlink(missing_ok=True)
                    if path in copy:
                        path.write_bytes(copy[path])

    def _files(self) -> list[Path]:
        return [self._path.with_name(self._path.name + suffix) for suffix in ("", "-wal", "-shm", ".witness")]

    def close(self) -> None:
        """Stop for good."""
        if self._running:
            self._running = False
            self.loop.abandon()
            self.journal._pages.close()
            self.journal._writer.close()

    def _spawn(self, work: Callable[..., Coroutine[Any, Any, object]], *args: Any) -> None:
        self.loop.call(self.loop.create_task, _surviving(work, *args))

    # What happens around it

    def commit(self, changes: list[tuple[str, int]]) -> None:
        """The source commits rows: channel and size of each; a size below 0 is a gap."""
        made = [self._change(channel, size) for channel, size in changes]
        for change in made:
            self._sizes[change.channel].append(len(change.message) + ROW_OVERHEAD)
        number = len(self._log) + 1
        self._log.append(Committed(made, _place(number - 1), _place(number), None, 1.5))
        self.handoff.put(self._log[-1])

    def _change(self, channel: str, size: int) -> Change:
        if size < 0:
            self._rows[channel].append(None)
            return Change(channel, GAP, b'{"reason":"purged"}')
        self._numbers += 1
        self._rows[channel].append(self._numbers)
        return Change(channel, INSERT, b'{"n":%d,"x":"%b"}' % (self._numbers, b"x" * size))

    def trim(self, count: int, reader: Client | None = None) -> str:
        """Retention comes by and wants so many events of the largest channel, from where a reader is if it reads it."""
        states = self.journal.channels()
        kept = {name: self._sizes[name][state.floor - 1 : state.head] for name, state in states.items()}
        largest = max(kept, key=lambda name: sum(kept[name]))
        if reader and largest in reader.following:
            count += max(0, reader.following[largest].offset - states[largest].floor + 1)
        self._spawn(self.journal.trim, _FOREVER, sum(map(sum, kept.values())) - sum(kept[largest][:count]))
        return largest

    def threads(self, which: int) -> None:
        """One of the threads' works is done."""
        busy = [pool for pool in self.loop.pools if pool]
        if busy:
            busy[which % len(busy)].run(which)

    # What is promised

    def bounds(self, channel: str) -> Bounds:
        """The journal's bounds now."""
        journal = self.journal
        return Bounds(journal.epoch, journal.floor(channel), journal.head(channel), self._may_be_older)

    def row(self, channel: str, offset: int) -> int | None:
        """The row that has this offset: the source's rows in commit order."""
        assert offset <= len(self._rows[channel]), f"{channel}:{offset} was never committed"
        return self._rows[channel][offset - 1]

    def check(self) -> None:
        """What holds between any two steps."""
        for error in self.loop.errors:
            cause = error.get("exception")
            if isinstance(cause, AssertionError):
                raise cause
            raise AssertionError(f"{error['message']}: {cause!r}") from cause
        for channel in CHANNELS:
            head, published = self.journal.head(channel), self.gateway._shared.hub.published(channel)
            assert head == published, f"{channel}: the head is {head}, published is {published}"
        for client in self.clients:
            if client.link is not None:
                beyond = client.link.beyond
                assert beyond <= self._page * len(CHANNELS), f"{client.name} was sent {beyond} rows beyond its room"

    def settle(self) -> None:
        """Everybody reads until nothing is left to be done: then nobody may be without anything."""
        self.full = False
        for _ in range(60):
            for client in self.clients:
                client.reads = True
                if client.link is not None:
                    client.link.read()
            self.loop.idle()
            self.check()
            if all(self.journal.head(channel) == len(rows) for channel, rows in self._rows.items()):
                break
            self.loop.advance(0.5)  # the capture loop waits a while for a disk that was full
        for channel, rows in self._rows.items():
            assert self.journal.head(channel) == len(rows), f"{channel}: rows have not come to the journal"
        for client in self.clients:
            client.check_complete()


async def _surviving(work: Callable[..., Coroutine[Any, Any, object]], *args: Any) -> None:
    with suppress(JournalError):
        await work(*args)


def _place(number: int) -> Position:
    return Position("log.000001", number)
