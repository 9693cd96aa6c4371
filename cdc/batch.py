"""What was taken from the hand-off, as the journal takes it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter

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
    transactions = [made for item in batch if _counts(item) for made in _transactions(item, checkpoint)]
    last = _transactions(batch[-1], checkpoint)[-1] if batch and not _counts(batch[-1]) else None
    return transactions, last


def _counts(item: Committed | Piece) -> bool:
    """Whether its checkpoint must not wait: with ``unread`` it says that rows are owed, though no gap is told again."""
    if isinstance(item, Piece):
        return True
    return bool(item.changes or item.complete or item.in_pieces or item.columns or item.unread)


def ended(item: Committed | Piece) -> int:
    """How many transactions with changes end with it."""
    if isinstance(item, Piece):
        return 0
    return len(item.times) or int(item.in_pieces or bool(item.changes))


def _transactions(item: Committed | Piece, origin: Checkpoint) -> list[Transaction]:
    """One; of a run as many as it has commit times. Those have one checkpoint, for a batch is one commit."""
    if isinstance(item, Piece):
        return [Transaction(item.changes, "", item.committed, FIRST if item.first else NEXT)]
    checkpoint = _checkpoint(item, origin).encode()
    if not item.times:
        part = LAST if item.in_pieces else WHOLE
        return [Transaction(item.changes, checkpoint, item.committed, part, item.columns)]
    made, begin = [], 0
    for committed, together in groupby(item.times, key=itemgetter(1)):
        *_, (end, _) = together
        made.append(Transaction(item.changes[begin:end], checkpoint, committed))
        begin = end
    return made


def _checkpoint(item: Committed, origin: Checkpoint) -> Checkpoint:
    return msgspec.structs.replace(origin, start=item.start, end=item.end, last=item.fingerprint, held=item.held)
