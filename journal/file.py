"""The journal's file on disk: made whole or not at all, recognised before it is touched, its errors in our words."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import apsw

from journal.errors import JournalBusy, JournalDamaged, JournalError, JournalFull
from journal.schema import APPLICATION_ID, DDL, SET_ASIDE, UPGRADES, VERSION, State, new_epoch, store_state
from journal.witness import testify

BUSY_MS = 5_000  # how long to wait for a lock that another program holds on the file
MAX_WAL = 64 << 20  # bytes; a longer write-ahead log, left by a large transaction, is cut back

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_FREE_SPACE = "Free space on its disk; what waits is then appended by itself."
_RIGHTS = "Check that its folder exists, the owner and rights of both, and the kernel's log for disk errors."
_OTHER_PATH = "Nothing was changed in it. Set journal.path (ROWCAST_JOURNAL_PATH) to another file."


def create(path: Path, checkpoint: str | None = None) -> None:
    """Make an empty journal with an epoch of its own. ``path`` must be absent or empty, and locked by the caller.

    It is made beside its place and moved there, so a crash leaves no half-made journal that would be refused later.
    Its witness comes first: a journal without one is taken for an older copy.
    """
    draft = path.with_name(path.name + ".new")
    for leftover in (draft, draft.with_name(draft.name + "-journal")):
        leftover.unlink(missing_ok=True)
    os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))  # SQLite gives -wal and -shm the same
    state = State(new_epoch(), int(time.time()), 0, checkpoint, {})
    connection = connect(draft)
    try:
        with explained(connection, path):
            with transaction(connection):
                connection.execute(DDL)
                store_state(connection, state)
            connection.execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()
    _set_orphans_aside(path)
    testify(path, state.epoch, state.given)
    draft.replace(path)
    sync_folder(path.parent)


def _set_orphans_aside(path: Path) -> None:
    """A write-ahead log left by a deleted journal would be replayed into the new one."""
    for suffix in ("-wal", "-shm"):
        orphan = path.with_name(path.name + suffix)
        with suppress(FileNotFoundError):
            orphan.replace(orphan.with_name(orphan.name + ".orphan"))


def sync_folder(folder: Path) -> None:
    """Make new names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def connect(path: Path, *, read_only: bool = False) -> apsw.Connection:
    """Open a connection to a file that exists; never makes one. Raises ``JournalError`` when it cannot."""
    flags = apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE
    try:
        connection = apsw.Connection(os.fspath(path), flags=flags)
    except apsw.CantOpenError as error:
        if not path.exists():
            raise JournalError(
                f"There is no journal at {path}.",
                "`rowcast serve` makes it; check journal.path (ROWCAST_JOURNAL_PATH).",
            ) from None
        raise explain(error, path) from error
    connection.set_busy_timeout(BUSY_MS)
    return connection


@contextmanager
def transaction(connection: apsw.Connection) -> Iterator[None]:
    """One commit, or nothing: apsw's own ``with connection`` trips when an error has already rolled back."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def explained(connection: apsw.Connection, path: Path) -> Iterator[None]:
    """Turn SQLite's errors into the journal's."""
    try:
        yield
    except apsw.Error as error:
        raise explain(error, path, connection) from error


def identify(path: Path) -> int:
    """The version of a journal's tables: ours, or one that ``upgrade`` makes ours. Raises when it is no such journal.

    Read-only, so that a file of somebody else's stays as it is: opened for writing, SQLite would roll back or fold in
    whatever its owner left beside it.
    """
    connection = connect(path, read_only=True)
    try:
        with explained(connection, path):
            application: int = connection.pragma("application_id")
            version: int = connection.pragma("user_version")
    finally:
        connection.close()
    if application != APPLICATION_ID:
        raise JournalDamaged(f"{path} is not a journal: an SQLite database of another program.", _OTHER_PATH)
    if version < min(UPGRADES):
        said = f"{path} was written by an older version (tables of version {version}; this one has {VERSION})."
        raise JournalDamaged(said, SET_ASIDE)
    if version > VERSION:
        raise JournalError(
            f"{path} was written by a newer version (tables of version {version}; this one knows {VERSION}).",
            "Run that version again, or move the file out of the way and start with an empty journal.",
        )
    return version


def upgrade(connection: apsw.Connection, version: int) -> None:
    """Make tables of an older version ours, inside the caller's transaction."""
    for step in range(version, VERSION):
        connection.execute(f"{UPGRADES[step]}; PRAGMA user_version = {step + 1}").fetchall()


@contextmanager
def explained_os(path: Path) -> Iterator[None]:
    """Turn errors of the operating system's, met while the file or its lock is made, into the journal's."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise JournalFull(f"No room for the journal {path}: {error.strerror}.", _FREE_SPACE) from error
        raise JournalError(f"The journal {path} cannot be opened: {error.strerror}.", _RIGHTS) from error


def explain(error: apsw.Error, path: Path, connection: apsw.Connection | None = None) -> JournalError:
    """The journal's error for one of SQLite's: what happened, where, and what mends it."""
    said = str(error).removeprefix(f"{type(error).__name__}: ")
    if isinstance(error, apsw.NotADBError):
        return JournalDamaged(f"{path} is not a journal: not an SQLite database at all.", _OTHER_PATH)
    if isinstance(error, apsw.CorruptError | apsw.SQLError):  # our SQL does not change: the tables must have
        return JournalDamaged(f"{path} is damaged: {said}.", SET_ASIDE)
    number = connection.system_errno if connection is not None else 0
    if isinstance(error, apsw.FullError) or number in _NO_ROOM:
        return JournalFull(f"No room for the journal {path}: {said}.", _FREE_SPACE)
    because = f"{said} ({os.strerror(number)})" if number else said
    if isinstance(error, apsw.BusyError):
        return JournalBusy(f"{path} is in use: {because}.", "Another program holds a lock on the file; end it.")
    return JournalError(f"{path} cannot be read or written: {because}.", _RIGHTS)
