"""When the write-ahead log is folded back into the file.

By us, after a commit has returned, and not by SQLite within it: the commit's events are on their way meanwhile. It may
fail without harm, the log holds everything; should that last, the disk fills and an append says so.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import apsw

from journal.file import BUSY_MS

FOLD_PAGES = 1_000  # fold when it has grown by so many pages (4 MB)
LONG_PAGES = 16_000  # so long (64 MB) it gets only when readers overlap without end: wait for a gap between them,
WAIT_MS = 50  # but no longer than this; a forgotten shell in a transaction must not hold up the writer
RESERVED = (FOLD_PAGES + FOLD_PAGES // 4) * (4096 + 24)  # bytes that it usually grows to; a frame's header is 24 bytes
_PLENTY = 16  # times as much must be free on the disk: what is scarce is not taken beforehand


def reserve(journal: Path) -> None:
    """Fill the write-ahead log of an open journal up with zeros, for commits that only write over what is there.

    A commit that makes its file longer waits for the file system's own log too, which takes ten times as long. Behind
    its last frame SQLite reads zeros as the end, so this changes nothing else. Where it cannot be done, the log grows
    as it always would.
    """
    with suppress(OSError):
        descriptor = os.open(journal.with_name(journal.name + "-wal"), os.O_WRONLY | os.O_APPEND)
        try:
            missing = RESERVED - os.fstat(descriptor).st_size
            disk = os.fstatvfs(descriptor)
            if 0 < missing * _PLENTY < disk.f_bavail * disk.f_frsize:
                os.write(descriptor, bytes(missing))
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


class WriteAheadLog:
    """Counts its pages and folds them back; ``due`` may be asked from another thread."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._pages = 0
        self._folded = 0  # pages it had when it was last folded
        self._long = LONG_PAGES
        connection.set_wal_hook(self._grew)  # takes the place of SQLite's own folding

    @property
    def due(self) -> bool:
        """Whether it has grown enough since it was last folded."""
        return self._pages - self._folded >= FOLD_PAGES

    def fold(self) -> None:
        """Copy what no reader needs from the log back into the file; when all of it was, the log starts anew."""
        self._folded = self._pages
        if self._pages < self._long:
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            return
        self._connection.set_busy_timeout(WAIT_MS)
        try:
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
        except apsw.BusyError:
            self._long = 2 * self._pages
        finally:
            self._connection.set_busy_timeout(BUSY_MS)

    def _grew(self, _connection: apsw.Connection, _database: str, pages: int) -> int:
        if pages < self._pages:  # it was started anew
            self._folded = 0
            self._long = LONG_PAGES
        self._pages = pages
        return apsw.SQLITE_OK
