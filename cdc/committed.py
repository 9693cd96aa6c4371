"""What leaves the assembler: whole transactions, and pieces of those that are too large to be held."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from cdc.position import Fingerprint, Position
from journal.types import Change

CHANGE_OVERHEAD = 128  # bytes of memory, about, beside its message
_TIME_OVERHEAD = 128  # the same for a time of a run
PIECE_BYTES = 8 << 20
"""How much of a transaction is held before it is passed on: messages, and something for what carries each."""

RUN_BYTES = 1 << 20
"""How much of transactions that came together is joined, before one more may come to it."""


class Unread(NamedTuple):
    """Why rows could not be read, and whether it is enough to look which rows of the table are new."""

    detail: str
    mendable: bool


class Committed(NamedTuple):
    """A transaction, or a run of them that came together: changes, boundaries, what it looked like, commit time.

    The assembler always knows what it looked like; None stands for no transaction at all, only rows read from tables.
    ``held`` is where the oldest XA transaction begins that is prepared and not yet ended. ``complete``: with it every
    channel has what was fetched for it from its table, except those in ``vain``, whose table cannot tell. ``unread``
    are the channels that have a gap among these changes which the tables may mend. ``in_pieces``: ``changes`` are
    what is left of it, for pieces of it went before. ``columns`` says of channels what their rows look like from here
    on, as the tables tell it.

    Of a run ``changes`` are those of all, everything else is of the last transaction, which alone lies between
    ``start`` and ``end``. ``times`` is there for a run: of each transaction with changes, after how many of them it
    ended, and when it committed. All times are Unix seconds.
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
    in_pieces: bool = False
    columns: Mapping[str, bytes] = {}
    times: Sequence[tuple[int, float]] = ()


class Piece(NamedTuple):
    """Some changes of a transaction that is too large to be held until its end, which may still not come.

    ``start`` is where the transaction begins. ``first``: of its pieces; those before it belong to one without an end.
    """

    changes: Sequence[Change]
    start: Position
    committed: float
    first: bool


def weight(item: Committed | Piece) -> int:
    """Its message bytes, and something for each object that carries them."""
    changes = item.changes
    times = _TIME_OVERHEAD * len(item.times) if isinstance(item, Committed) else 0
    return (
        512
        + times
        + CHANGE_OVERHEAD * len(changes)
        + sum([len(change.message) + len(change.old) for change in changes])
    )
