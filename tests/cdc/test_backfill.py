"""Rows from a table among changes from the log: each row once, whichever of the two brings it."""

from __future__ import annotations

from collections.abc import Sequence

from cdc.backfill import Backfill, Bounds, TableRows
from cdc.committed import Committed, Piece
from cdc.position import Fingerprint, Position
from journal.types import DELETE, GAP, INSERT, READ, UPDATE, Change

FILE = "binlog.000001"
HELD, AFTER = 200, 400  # up to the first, the snapshot holds everything; behind the second, nothing
UNCERTAIN = 300


def message(number: int) -> bytes:
    return b'{"id":%d}' % number


def insert(number: int, channel: str = "t") -> Change:
    return Change(channel, INSERT, message(number))


def committed(end: int, *changes: Change) -> Committed:
    return Committed(changes, Position(FILE, end - 50), Position(FILE, end), Fingerprint(None, str(end)), float(end))


def backfill(*numbers: int, first: Sequence[Change] = ()) -> Backfill:
    """A channel whose snapshot gave these rows."""
    rows = TableRows([message(n) for n in numbers], {(n,) for n in numbers}, ("id",), first)
    return Backfill({"t": rows}, Bounds(lambda c: c.end.offset <= HELD, Position(FILE, AFTER)))


def story(changes: Sequence[Change]) -> list[tuple[str, bytes]]:
    return [(change.op, change.message) for change in changes]


def test_rows_stand_where_the_log_has_passed_the_snapshot() -> None:
    """Nothing of the channel goes on before; then the rows, then what came after them."""
    seed = backfill(1, 2)
    assert seed.admit(committed(UNCERTAIN, insert(3))).changes == []
    done = seed.admit(committed(AFTER + 1, insert(4)))
    assert story(done.changes) == [(READ, message(n)) for n in (1, 2)] + [(INSERT, message(n)) for n in (3, 4)]
    assert done.complete
    assert seed.done


def test_a_row_in_both_comes_once() -> None:
    """A row that the snapshot gave and the log brings too, certainly held or only perhaps, is not repeated."""
    seed = backfill(1, 2)
    seed.admit(committed(HELD, insert(1)))
    seed.admit(committed(UNCERTAIN, insert(2)))
    assert story(seed.finish(committed(AFTER)).changes) == [(READ, message(1)), (READ, message(2))]


def test_what_the_snapshot_holds_and_nobody_fetched_stands_before_the_rows() -> None:
    """A seed is the newest rows: older ones that the log brings are not lost."""
    seed = backfill(8, 9, first=[Change("t", GAP, b"{}")])
    seed.admit(committed(100, insert(6), insert(7)))
    seed.admit(committed(HELD, insert(8)))
    assert story(seed.finish(committed(AFTER)).changes) == [
        (GAP, b"{}"),
        (INSERT, message(6)),
        (INSERT, message(7)),
        (READ, message(8)),
        (READ, message(9)),
    ]


def test_a_later_change_of_a_fetched_row_is_kept() -> None:
    """Only an insert can be the same as a row that was fetched; an update behind the snapshot is news."""
    seed = backfill(1)
    update = Change("t", "update", message(1))
    seed.admit(committed(HELD, update))
    seed.admit(committed(UNCERTAIN, update))
    assert story(seed.finish(committed(AFTER)).changes) == [(READ, message(1)), ("update", message(1))]


def test_a_key_that_was_used_again_is_another_row() -> None:
    """Deleted or renumbered, then inserted again: who follows the changes ends with the row that the table has."""
    seed = backfill(1, 2, 9)
    moved = Change("t", UPDATE, message(9), message(2))
    gone = Change("t", DELETE, message(1))
    seed.admit(committed(UNCERTAIN, gone, insert(1), moved, insert(2)))
    told = story(seed.finish(committed(AFTER)).changes)
    assert told[3:] == [(DELETE, message(1)), (INSERT, message(1)), (UPDATE, message(9)), (INSERT, message(2))]


def test_other_channels_do_not_wait() -> None:
    """Their changes go on in their own transaction."""
    seed = backfill(1)
    assert seed.admit(committed(UNCERTAIN, insert(5, "other"), insert(2))).changes == [insert(5, "other")]


def piece(*changes: Change, first: bool = False) -> Piece:
    """Part of a large transaction that begins before the snapshot's end."""
    return Piece(changes, Position(FILE, UNCERTAIN - 50), 1.0, first)


def test_pieces_of_other_channels_do_not_wait() -> None:
    """Only the channel's own rows are held, whichever piece they are in; the transaction's end tells what they are."""
    seed = backfill(1)
    assert seed.admit_piece(piece(insert(5, "other"), insert(1), first=True)).changes == [insert(5, "other")]
    assert seed.admit_piece(piece(insert(2))).changes == []
    last = seed.admit(committed(UNCERTAIN, insert(3), insert(6, "other"))._replace(in_pieces=True))
    assert (last.changes, last.in_pieces) == ([insert(6, "other")], True)
    assert story(seed.finish(committed(AFTER)).changes) == [(READ, message(1)), *((INSERT, message(n)) for n in (2, 3))]


def test_pieces_without_an_end_are_forgotten() -> None:
    """Another transaction follows: in pieces, or whole because they were undone."""
    seed = backfill(1)
    seed.admit_piece(piece(insert(2), first=True))
    seed.admit_piece(piece(insert(3), first=True))
    seed.admit(committed(UNCERTAIN, insert(4)))
    assert story(seed.finish(committed(AFTER)).changes) == [(READ, message(1)), (INSERT, message(4))]


def test_nothing_asked_for_changes_nothing() -> None:
    """Without requests every transaction passes as it is, and none claims to complete anything."""
    transaction = committed(100, insert(1))
    assert Backfill({}, Bounds(lambda _: True, Position("", 0)), done=True).admit(transaction) is transaction
