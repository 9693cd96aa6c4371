"""One writer per journal, across processes and within one.

``flock`` rather than POSIX locks: it belongs to the open file, so a second journal in the same process is refused
too, and the kernel lets go of it however the process ends. The lock is a file of its own (``journal.db.lock``):
opening and closing the database beside SQLite would drop SQLite's own locks on it.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from journal.errors import JournalLocked


class JournalLock:
    """Held from construction to ``release``; raises ``JournalLocked`` naming the process that has it."""

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(path.name + ".lock")
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._descriptor, 20).decode("ascii", "replace").strip() or "unknown"
            os.close(self._descriptor)
            raise JournalLocked(
                f"{path} is written by another process (pid {holder}).",
                "Stop that process, or give this one a journal.path of its own.",
            ) from None
        self._write(b"%d\n" % os.getpid())

    def release(self) -> None:
        """Let the next writer in. The file stays: unlinking it could take the lock from under somebody waiting."""
        self._write(b"")
        os.close(self._descriptor)

    def _write(self, text: bytes) -> None:
        with suppress(OSError):  # the text is for people; on a full disk the lock holds without it
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, text, 0)
