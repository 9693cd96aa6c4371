"""When the write-ahead log is folded back into the file.

By us, after a commit has returned, and not by SQLite within it: the commit's events are on their way meanwhile. It may
fail without harm, the log holds everything; should that last, the disk fills and an append says so.
"""

from __future__ import annotations

import apsw

from journal.file import BUSY_MS

FOLD_PAGES = 1_000  # fold when it has grown by so many pages (4 MB)
LONG_PAGES = 16_000  # so long (64 MB) it gets only when readers overlap without end: wait for a gap between them,
WAIT_MS = 50  # but no longer than this; a forgotten shell in a transaction must not hold up the writer


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
