"""What may go wrong in the journal and in the capture loop before it, as far as a browser can tell."""

from __future__ import annotations

from tests.models.mutation import Mutant

HANDOVER = "handover"

MUTANTS = (
    Mutant(
        "tail-off-by-one",
        HANDOVER,
        "a page from memory begins one event late",
        "journal.tail:Tail.read",
        "start = after - self._events[0].offset + 1",
        "start = after - self._events[0].offset + 2",
    ),
    Mutant(
        "epoch-in-silence",
        HANDOVER,
        "a new epoch begins and who is connected is not told",
        "journal.sqlite:SqliteJournal._settle_claims",
        "self.renewed()",
        "pass",
    ),
    Mutant(
        "older-copy-believed",
        HANDOVER,
        "a client that is ahead of a restored journal is taken for one of another epoch",
        "gateway.session:Session._subscribe",
        "if start.ahead and",
        "if False and",
    ),
    Mutant(
        "full-disk-drops",
        HANDOVER,
        "a batch that found no room is not tried again",
        "cdc.capture:CaptureLoop._until_taken",
        "await asyncio.sleep(wait.next(0))",
        "return []",
    ),
    Mutant(
        "checkpoint-behind",
        HANDOVER,
        "the checkpoint of a batch is that of its first transaction, so a restart repeats the others",
        "journal.writer:Writer.append",
        "checkpoint = committed.checkpoint if committed.part in (WHOLE, LAST) else checkpoint",
        "checkpoint = batch[0].checkpoint",
    ),
    Mutant(
        "rows-without-checkpoint",
        HANDOVER,
        "rows and checkpoint are not one commit, so a failure keeps some of them",
        "journal.writer:Writer.append",
        "with explained(self._connection, self.path), transaction(self._connection):",
        "with explained(self._connection, self.path):",
    ),
)
