"""What leaves the assembler: a transaction, whole."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from cdc.position import Fingerprint, Position
from journal.types import Change


class Unread(NamedTuple):
    """Why rows could not be read, and whether it is enough to look which rows of the table are new."""

    detail: str
    mendable: bool


class Committed(NamedTuple):
    """A transaction: its changes, the boundaries around it, what it looked like, commit time in Unix seconds.

    The assembler always knows what it looked like; None stands for no transaction at all, only rows read from tables.
    ``held`` is where the oldest XA transaction begins that is prepared and not yet ended. ``complete``: with it every
    channel has what was fetched for it from its table, except those in ``vain``, whose table cannot tell. ``unread``
    are the channels that have a gap among these changes which the tables may mend.
    """

    changes: Sequence[Change]
    start: Position
    end: Position
    fingerprint: Fingerprint | None
    committed: float
    held: Position | None = None
    complete: bool = False
    vain: Collection[str] = ()
    unread: Mapping[str, Unread] = {}
