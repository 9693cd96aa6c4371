"""What can go wrong in the journal.

JournalError
├── JournalLocked      another process writes this journal
├── JournalDamaged     the file is not a journal, or fails its checks
│   └── JournalReplaced   another file lies in its place, or an older copy of it
├── JournalBusy        another program holds a lock on the file; nothing was written, it may be appended again
├── JournalFull        no room on the disk; the batch was not written and may be appended again
└── UnknownChannel     no channel of this name is configured
"""

from __future__ import annotations


class JournalError(Exception):
    """Base of all journal errors. ``hint`` tells the person on call what to do; ``retry`` whether it may pass."""

    retry = False

    def __init__(self, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.hint = hint


class JournalLocked(JournalError):
    """Another process holds the journal's lock."""


class JournalDamaged(JournalError):
    """The file is not a journal, is truncated, or fails its integrity check."""


class JournalReplaced(JournalDamaged):
    """The file at the journal's path is not the one that was opened. What lies there now may be sound."""


class JournalBusy(JournalError):
    """Another program, a shell in a transaction perhaps, holds a lock on the file. Appending again later is safe."""

    retry = True


class JournalFull(JournalError):
    """The disk is full. Nothing of the batch was written; appending it again later is safe."""

    retry = True


class UnknownChannel(JournalError):
    """No channel of this name exists in the journal."""
