from __future__ import annotations

from cdc.batch import ended, to_append
from cdc.committed import Committed, Piece
from cdc.position import Checkpoint, Fingerprint, Position
from journal.types import FIRST, INSERT, LAST, Change

START, BETWEEN, END = (Position("binlog.000001", offset) for offset in (4, 100, 200))
CHECKPOINT = Checkpoint("mysql", "server-a", START, START)
CHANGES = [Change("orders", INSERT, b"%d" % number) for number in range(6)]
RUN = Committed(CHANGES, BETWEEN, END, Fingerprint("0-1-5", "x"), 9.5, times=[(1, 7.25), (3, 7.25), (5, 8.0), (6, 9.0)])


def test_the_rows_of_a_run_keep_their_commit_times() -> None:
    """Neighbours of one time are appended as one; all have the run's checkpoint, for they are one commit."""
    transactions, last = to_append([RUN], CHECKPOINT)
    assert [(t.committed, t.changes) for t in transactions] == [
        (7.25, CHANGES[:3]),
        (8.0, CHANGES[3:5]),
        (9.0, CHANGES[5:]),
    ]
    checkpoint, *others = [Checkpoint.decode(t.checkpoint) for t in transactions]
    assert others == [checkpoint] * 2
    assert (checkpoint.start, checkpoint.end, checkpoint.last) == (BETWEEN, END, RUN.fingerprint)
    assert last is None


def test_a_run_without_rows_moves_the_checkpoint() -> None:
    """As a transaction of tables that nobody captures does."""
    transactions, last = to_append([RUN._replace(changes=[], times=[])], CHECKPOINT)
    assert transactions == []
    assert last is not None
    assert (last.changes, Checkpoint.decode(last.checkpoint).end) == ([], END)


def test_transactions_with_changes_are_counted() -> None:
    """Each of a run, one that came in pieces at its end, and none without changes."""
    alone = RUN._replace(times=())
    piece = Piece(CHANGES, START, 7.0, first=True)
    counted = [RUN, alone, piece, alone._replace(changes=[], in_pieces=True), alone._replace(changes=[])]
    assert [ended(item) for item in counted] == [4, 1, 0, 1, 0]
    transactions, _ = to_append([piece, alone._replace(in_pieces=True)], CHECKPOINT)
    assert [t.part for t in transactions] == [FIRST, LAST]
