"""What can go wrong between the source and us.

SourceError
├── StreamLost           the connection ended; come back from the checkpoint
├── PositionLost         the server no longer has, or never had, the position that we asked for
├── ReplicaBehind        a read-only replica that has not yet what was captured from another; it will come
├── Superseded           another reader took our server_id
├── SourceRefused        account, privilege or server setting is wrong; coming back does not help by itself
└── MalformedEvent       bytes that are not what the manual says, or that the server itself cannot read
UndecodableRow           one table's rows cannot be decoded; the stream lives on
"""

from __future__ import annotations


class SourceError(Exception):
    """Base of everything that ends a connection to the source. ``hint`` tells the person on call what to do.

    Its text may name hosts and accounts and is for the log; ``public`` is what strangers may read at /readyz.
    """

    public = "the connection to the server was lost"

    def __init__(self, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.hint = hint


class StreamLost(SourceError):
    """The connection ended or went silent. A new reader starts from the checkpoint."""


class PositionLost(SourceError):
    """The log does not continue where we left it. ``reason`` is ``purged`` or ``reset``, as in a gap frame."""

    def __init__(self, text: str, reason: str, hint: str = "") -> None:
        super().__init__(text, hint)
        self.reason = reason


class ReplicaBehind(SourceError):
    """The server is read-only and lacks transactions that were captured already: a replica that is late."""

    public = "the server is a replica that has not caught up"


class Superseded(SourceError):
    """The server ended our stream because another reader registered with the same server_id."""

    public = "another reader has our server_id"


class SourceRefused(SourceError):
    """The server will not serve us as it is set up: password, privilege or configuration."""

    public = "the server refuses us"


class MalformedEvent(SourceError):
    """An event that does not parse or fails its checksum, here or at the server."""

    public = "the server's log cannot be read"


class UndecodableRow(Exception):
    """Rows of one table cannot be turned into JSON: names the table, and where known the column and its type."""
