"""What can go wrong while setting up.

SetUpError
├── Unavailable        a part can neither be found nor fetched here
├── Misconfigured      a variable or a port has to be changed by the caller
├── Busy               another ./dev works in the same folder
└── ChildDied          a process that we started ended by itself
"""

from __future__ import annotations


class SetUpError(Exception):
    """Base of what ends ``./dev`` with one message. ``hint`` is the line to type; ``code`` the exit code."""

    code = 1

    def __init__(self, text: str, hint: str = "", *, code: int | None = None) -> None:
        super().__init__(text)
        self.hint = hint
        if code is not None:
            self.code = code


class Unavailable(SetUpError):
    """A dependency can neither be found nor fetched on this machine."""

    code = 69


class Misconfigured(SetUpError):
    """A variable, file or port must be changed."""

    code = 78


class Busy(SetUpError):
    """Another ./dev is running in the same folder; it may pass."""

    code = 75


class ChildDied(SetUpError):
    """A process that was started here ended by itself; the message holds the end of its log."""
