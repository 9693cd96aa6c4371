"""The one connection that writes. Everything here blocks, and runs in the journal's writer thread only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal, NamedTuple

import apsw
from msgspec.structs import replace

from journal.check import check
from journal.draft import Draft, delete_pending
from journal.errors import JournalError
from journal.file import MAX_WAL, connect, create, explained, explained_os, identify, transaction, upgrade
from journal.lock import JournalLock
from journal.pages import read_newest
from journal.retention import next_cut
from journal.schema import MAX_CHANNELS, VERSION, ChannelRow, State, load_state, new_epoch, store_state
from journal.shapes import ShapeDraft, Shapes, kept, load_shapes, store_shapes
from journal.types import LAST, WHOLE, Event, Transaction
from journal.wal import WriteAheadLog
from journal.witness import Witness, contradiction, hear

AGE_STEP = 60  # seconds; a quiet journal notes its age no more often


class Commit(NamedTuple):
    """What a commit made durable, for the readers' side to adopt."""

    state: State
    events: list[Event]  # in the batch's order
    by_channel: dict[str, list[Event]]  # the same
    shapes: Shapes
    trimmed: int = 0


class Writer:
    """The file, locked and open for writing. ``state`` is that of the last commit.

    ``doubt`` says why it began a new epoch when it was opened, if it did. ``first`` is the epoch it was found with:
    any later one began under our eyes, and nobody can hold more of it than we have given.
    """

    def __init__(
        self,
        path: Path,
        channels: Sequence[str],
        sync: Literal["full", "normal"],
        clock: Callable[[], float],
        written: Callable[[], None] | None = None,
    ) -> None:
        self.path = path
        self._channels = tuple(channels)
        self._clock = clock
        self._written = written
        with explained_os(path), ExitStack() as undo:
            self._lock = JournalLock(path)
            undo.callback(self._lock.release)
            found = _found(path)
            self._connection, self.state, self.doubt = _open(path, channels, sync)
            undo.callback(self._connection.close)
            with explained(self._connection, path):
                self.shapes = load_shapes(self._connection, self.state)
            self.first = self.state.epoch if found and self.doubt is None else None
            self._witness = Witness(path, self.state)
            undo.pop_all()
        self._started = clock() - self.state.age
        self.wal = WriteAheadLog(self._connection)
        self._pending: dict[str, Event] = {}  # the newest event of each channel behind its head
        self._pending_shapes: Shapes = {}  # those that begin there

    @property
    def age(self) -> int:
        """Seconds the journal has been open for writing, in this run and all before."""
        return max(int(self._clock() - self._started), self.state.age)

    def append(self, batch: Sequence[Transaction]) -> Commit:
        """Write events, bounds and checkpoint in one commit. After any error the file is as it was before."""
        shapes = ShapeDraft(self.shapes, self._pending_shapes)
        draft = Draft([self.state.channels[name] for name in self._channels], self.age, self._pending, shapes)
        checkpoint = self.state.checkpoint
        for committed in batch:
            draft.add(committed)
            checkpoint = committed.checkpoint if committed.part in (WHOLE, LAST) else checkpoint
        channels = {**self.state.channels, **draft.grown()}
        state = replace(self.state, age=draft.age, checkpoint=checkpoint, channels=channels)
        with explained(self._connection, self.path), transaction(self._connection):
            draft.write(self._connection)
            store_shapes(self._connection, state, self.shapes, shapes.shapes)
            store_state(self._connection, state)
            if self._written is not None and draft.rows:
                self._written()
        self.state, self._pending = state, draft.pending
        self.shapes, self._pending_shapes = shapes.shapes, shapes.pending
        if draft.events:
            self._witness.note(state)
        return Commit(state, draft.events, draft.by_channel, self.shapes)

    def withdraw(self) -> Commit:
        """Delete the pieces of a transaction whose end has not come, in every channel of the file."""
        unfinished = [row for row in self.state.channels.values() if row.pending]
        if not unfinished:
            return self.unchanged()
        whole = {row.name: replace(row, pending=0, pending_bytes=0) for row in unfinished}
        state = replace(self.state, channels={**self.state.channels, **whole})
        with explained(self._connection, self.path), transaction(self._connection):
            delete_pending(self._connection, unfinished)
            store_state(self._connection, state)
        self.state, self._pending, self._pending_shapes = state, {}, {}
        return self.unchanged()

    def renew(self, epoch: str) -> Commit:
        """Begin a new epoch; events, offsets and checkpoint stay."""
        state = replace(self.state, epoch=epoch)
        with explained(self._connection, self.path), transaction(self._connection):
            store_state(self._connection, state)
        self.state = state
        self._witness.note(state)
        return self.unchanged()

    def unchanged(self) -> Commit:
        """The last commit once more."""
        return Commit(self.state, [], {}, self.shapes)

    def suspect(self) -> None:
        """Have the next start look at the whole file."""
        self._witness.suspect()

    def trim(self, keep_seconds: float, keep_bytes: int) -> Commit:
        """One bounded step of retention, in a commit of its own; ``trimmed`` is 0 when nothing more may go."""
        age = self.age
        with explained(self._connection, self.path):
            cut = next_cut(self._connection, self.state, age, keep_seconds, keep_bytes)
            if cut:
                state = cut.state(self.state, age)
            elif age - self.state.age >= AGE_STEP:
                state = replace(self.state, age=age)
            else:
                return self.unchanged()
            shapes = self._kept_shapes(state.channels[cut.channel.name]) if cut else self.shapes
            with transaction(self._connection):
                if cut:
                    cut.delete(self._connection)
                    store_shapes(self._connection, state, self.shapes, shapes)
                store_state(self._connection, state)
        self.state, self.shapes = state, shapes
        return Commit(state, [], {}, shapes, cut.events if cut else 0)

    def _kept_shapes(self, row: ChannelRow) -> Shapes:
        known = self.shapes.get(row.name, ())
        still = kept(known, row.floor)
        return self.shapes if len(still) == len(known) else {**self.shapes, row.name: still}

    def newest(self, channel: str, max_bytes: int) -> list[Event]:
        """The end of a channel, checked, to begin its memory tail with."""
        with explained(self._connection, self.path):
            row = self.state.channels[channel]
            return read_newest(self._connection, row, self.state.epoch, max_bytes)

    def fold(self) -> None:
        """Fold the write-ahead log back into the file."""
        with explained(self._connection, self.path):
            self.wal.fold()

    def close(self) -> None:
        """Close the file and let the next writer in."""
        try:
            self._connection.close()
        finally:
            self._witness.close()
            self._lock.release()


def _found(path: Path) -> bool:
    """Whether there is a file; if not, or nothing in it, one is made."""
    if path.exists() and path.stat().st_size > 0:
        return True
    create(path)
    return False


def _open(path: Path, channels: Sequence[str], sync: str) -> tuple[apsw.Connection, State, str | None]:
    """Recognise the file, check it, and bring its state up to date; says why that has a new epoch, if it has one."""
    version = identify(path)
    connection = connect(path)
    try:
        with explained(connection, path):
            connection.execute(f"PRAGMA synchronous = {sync}; PRAGMA journal_size_limit = {MAX_WAL}").fetchall()
            state = load_state(connection)
            testimony = hear(path)
            check(connection, path, state, suspect=testimony is not None and testimony.suspect)
            doubt = contradiction(testimony, state)
            current = _with_channels(replace(state, epoch=new_epoch()) if doubt else state, channels)
            if current is not state or version < VERSION:
                with transaction(connection):
                    upgrade(connection, version)
                    store_state(connection, current)
            return connection, current, doubt
    except BaseException:
        connection.close()
        raise


def _with_channels(state: State, names: Sequence[str]) -> State:
    """Add the channels the file does not know, empty. Those no longer named stay, and are trimmed like the rest."""
    missing = [name for name in names if name not in state.channels]
    if not missing:
        return state
    first = max((row.id for row in state.channels.values()), default=0) + 1
    if first + len(missing) > MAX_CHANNELS:
        raise JournalError(f"The journal holds {first - 1} channels, and no more than {MAX_CHANNELS} fit.")
    added = {name: ChannelRow(number, name, 1, 0, 0) for number, name in enumerate(missing, first)}
    return replace(state, channels={**state.channels, **added})
