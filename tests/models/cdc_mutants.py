"""What may go wrong between the server's log and the journal."""

from __future__ import annotations

from tests.models.mutation import Mutant

CAPTURE = "capture"

MUTANTS = (
    Mutant(
        "overlap-loose",
        CAPTURE,
        "any transaction that looks like the one captured last is taken for it, wherever it stands",
        "cdc.reader:Overlap.is_new",
        "and (due or not self._by_file)",
        "",
    ),
    Mutant(
        "overlap-ignored",
        CAPTURE,
        "the transaction that is sent again for proof is captured again",
        "cdc.reader:Overlap.is_new",
        "if self._expected is None:",
        "if True:",
    ),
    Mutant(
        "boundary-in-mid-transaction",
        CAPTURE,
        "every statement in a transaction counts as a boundary, where a checkpoint may be taken",
        "cdc.assembler:Assembler._query",
        "return None if self._open else self._commit(header)",
        "return self._commit(header)",
    ),
    Mutant(
        "begins-one-late",
        CAPTURE,
        "the checkpoint begins behind the transaction that must be sent again",
        "cdc.batch:_transaction",
        "start=item.start",
        "start=item.end",
    ),
    Mutant(
        "savepoint-off-by-one",
        CAPTURE,
        "one row behind a savepoint outlives the rollback to it",
        "cdc.pending:Pending.savepoint",
        "+ len(self.changes)",
        "+ len(self.changes) + 1",
    ),
    Mutant(
        "held-is-forgotten",
        CAPTURE,
        "a restart does not know where the rows of a prepared XA transaction are",
        "cdc.batch:_transaction",
        "held=item.held",
        "held=None",
    ),
    Mutant(
        "xa-rollback-commits",
        CAPTURE,
        "the rows of an XA transaction that was rolled back arrive",
        "cdc.assembler:Assembler._xa_rollback",
        "self._pending.undo()",
        "pass",
    ),
    Mutant(
        "seed-repeats",
        CAPTURE,
        "a row that was fetched from the table arrives from the log as well",
        "cdc.backfill:Backfill.admit",
        "elif not held and not self._is_fetched(change):",
        "elif not held:",
    ),
    Mutant(
        "seed-drops",
        CAPTURE,
        "a row that came while the table was read is taken for fetched",
        "cdc.backfill:Backfill._is_fetched",
        "return self._is_known(change) and (change.channel, key) not in self._left",
        "return True",
    ),
    Mutant(
        "seed-ends-one-early",
        CAPTURE,
        "the last transaction that the snapshot may hold is taken for one behind it",
        "cdc.backfill:Backfill.admit",
        "committed.end.offset - 1",
        "committed.end.offset",
    ),
    Mutant(
        "seed-keeps-one-piece",
        CAPTURE,
        "of a large transaction, only the last piece waits for the rows of a table",
        "cdc.backfill:Backfill.admit_piece",
        "if piece.first:",
        "if True:",
    ),
    Mutant(
        "seed-waits-in-pieces",
        CAPTURE,
        "pieces go on before the rows of their table, which hold them already",
        "cdc.reader:Reader._pass_on",
        "piece = backfill.admit_piece(piece)",
        "pass",
    ),
    Mutant(
        "seed-is-forgotten",
        CAPTURE,
        "no checkpoint says that a seed was taken, so it is taken again",
        "cdc.ledger:Ledger.take",
        "return any(committed.complete for committed in batch)",
        "return False",
    ),
)
