"""What was taken from the hand-off, as the journal takes it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from cdc.committed import Committed, Piece
from cdc.position import Checkpoint
from journal.types import FIRST, LAST, NEXT, WHOLE, Transaction


def to_append(
    batch: Sequence[Committed | Piece], checkpoint: Checkpoint
) -> tuple[list[Transaction], Transaction | None]:
    """What to append for a batch: those with changes, and one without for a checkpoint beyond the last of them.

    Checkpoints are like ``checkpoint`` but for what each transaction tells.
    """
    transactions = [_transaction(item, checkpoint) for item in batch if _counts(item)]
    last = _transaction(batch[-1], checkpoint) if batch and not _counts(batch[-1]) else None
    return transactions, last


def _counts(item: Committed | Piece) -> bool:
    """Whether its checkpoint must not wait: with ``unread`` it says that rows are owed, though no gap is told again."""
    if isinstance(item, Piece):
        return True
    return bool(item.changes or item.complete or item.in_pieces or item.columns or item.unread)


def _transaction(item: Committed | Piece, origin: Checkpoint) -> Transaction:
    if isinstance(item, Piece):
        return Transaction(item.changes, "", item.committed, FIRST if item.first else NEXT)
    checkpoint = msgspec.structs.replace(origin, start=item.start, end=item.end, last=item.fingerprint, held=item.held)
    part = LAST if item.in_pieces else WHOLE
    return Transaction(item.changes, checkpoint.encode(), item.committed, part, item.columns)
