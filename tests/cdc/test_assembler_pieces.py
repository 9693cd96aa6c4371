"""Transactions that are too large to be held, as the assembler passes them on."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from cdc import pending as room
from cdc import xa
from cdc.assembler import Assembler
from cdc.committed import Committed, Piece
from cdc.position import Flavour
from journal.types import GAP, INSERT
from tests.cdc.forge import ORDERS, Log, decoder, image, prepare

both = pytest.mark.parametrize("flavour", ["mariadb", "mysql"])
Items = list[Committed | Piece]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows are a large transaction."""
    monkeypatch.setattr(room, "PIECE_BYTES", 250)


def assembled(log: Log, takes: Callable[[Piece], bool] = lambda _: True) -> Items:
    """Pieces and transactions in the order in which they leave."""
    items: Items = []

    def pass_on(piece: Piece) -> bool:
        if takes(piece):
            items.append(piece)
            return True
        return False

    machine = Assembler(log.flavour, [ORDERS], decoder, log.start, with_gtids=True, pass_on=pass_on)
    for data in log.sent_from(4):
        done = machine.feed(data)
        if done is not None:
            items.append(done)
    return items


def large(log: Log, *statements: str, rows: int = 5) -> None:
    """Begin a transaction of rows, an event each, with statements behind the one of their number."""
    log.begin()
    log.table()
    said = dict(statement.split(": ") for statement in statements)
    for number in range(1, rows + 1):
        log.rows(image(number, "x"))
        if str(number) in said:
            log.query(said[str(number)])


def shape(items: Items) -> list[tuple[str, list[int]]]:
    """What left, in short, with the rows in it."""
    return [(kind(item), [json.loads(c.message)["id"] for c in item.changes if c.op == INSERT]) for item in items]


def kind(item: Committed | Piece) -> str:
    if isinstance(item, Piece):
        return "first" if item.first else "next"
    return "last" if item.in_pieces else "whole"


@both
def test_a_large_transaction_leaves_in_pieces(flavour: Flavour) -> None:
    """Each as soon as there is enough of it; the commit brings what is left. Others are whole."""
    log = Log(flavour)
    log.insert(8)
    large(log)
    log.xid()
    log.insert(9)
    items = assembled(log)
    assert shape(items) == [("whole", [8]), ("first", [1, 2]), ("next", [3, 4]), ("last", [5]), ("whole", [9])]
    assert isinstance(items[1], Piece)
    assert isinstance(items[3], Committed)
    assert items[1].start == items[3].start
    if flavour == "mysql":  # MariaDB says it in whole seconds, with each event
        assert items[1].committed == items[3].committed


@both
def test_its_fingerprint_is_the_same_in_pieces_and_whole(flavour: Flavour) -> None:
    """So that it is recognised when it is sent again, wherever it was cut."""
    log = Log(flavour)
    large(log)
    log.xid()
    pieces, whole = assembled(log), assembled(log, lambda _: False)
    assert shape(whole) == [("whole", [1, 2, 3, 4, 5])]
    assert isinstance(pieces[-1], Committed)
    assert isinstance(whole[-1], Committed)
    assert pieces[-1].fingerprint == whole[-1].fingerprint
    assert pieces[-1].end == whole[-1].end


@both
def test_pieces_that_are_not_taken_stay(flavour: Flavour) -> None:
    """They are offered again with what came since."""
    log = Log(flavour)
    large(log)
    log.xid()
    offered: list[int] = []
    items = assembled(log, lambda piece: offered.append(len(piece.changes)) or len(offered) == 3)  # type: ignore[func-returns-value]  # counts on its way
    assert offered == [2, 3, 4]
    assert shape(items) == [("first", [1, 2, 3, 4]), ("last", [5])]


@both
def test_a_transaction_without_an_end_is_followed_by_a_first_piece_or_a_whole_one(flavour: Flavour) -> None:
    """A server died in the middle of writing it: what comes next tells that its last piece never will."""
    log = Log(flavour)
    large(log, rows=3)
    large(log, rows=3)
    log.insert(9)
    assert shape(assembled(log)) == [("first", [1, 2]), ("first", [1, 2]), ("whole", [9])]


@both
def test_what_was_undone_behind_a_savepoint_was_not_passed_on(flavour: Flavour) -> None:
    """Then it is just forgotten, as ever."""
    log = Log(flavour)
    large(log, "2: SAVEPOINT `a`", "3: ROLLBACK TO `a`")
    log.xid()
    assert shape(assembled(log)) == [("first", [1, 2]), ("next", [4]), ("last", [5])]


@both
@pytest.mark.parametrize("undone", ["3: ROLLBACK TO `a`", "5: ROLLBACK"])
def test_what_was_passed_on_cannot_be_undone(flavour: Flavour, undone: str) -> None:
    """All of it goes, with a gap: which rows remain in a table without transactions, the log does not say."""
    log = Log(flavour)
    large(log, "1: SAVEPOINT `a`", undone, rows=5)
    if "TO" in undone:
        log.xid()
    items = assembled(log)
    (gap,) = [change for item in items for change in item.changes if change.op == GAP]
    assert json.loads(gap.message)["reason"] == "unreadable"
    kinds = shape(items)
    begin = max(place for place, (kind, _) in enumerate(kinds) if kind in ("first", "whole"))
    assert gap in items[begin].changes
    assert [number for _, numbers in kinds[begin:] for number in numbers] == ([4, 5] if "TO" in undone else [])


@both
def test_a_prepared_transaction_is_held_or_a_gap(flavour: Flavour, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is prepared stays together up to its own bound; beyond that its commit is a gap, and no row is left."""
    log = Log(flavour)
    prepare(log, 1)
    assert shape(assembled(log)) == [("whole", [])]
    monkeypatch.setattr(xa, "HELD_BYTES", 100)
    if flavour == "mysql":
        assert shape(assembled(log)) == [("first", [1]), ("whole", [])]


@both
def test_what_is_undone_twice_is_dropped_twice(flavour: Flavour) -> None:
    """A savepoint that rows were passed on behind has no rows before it any more: nothing undone to it comes out."""
    log = Log(flavour)
    large(log, "2: SAVEPOINT a", "5: ROLLBACK TO a")
    log.rows(image(20, "x"))
    log.query("ROLLBACK TO a")
    log.rows(image(30, "x"))
    log.xid()
    items = assembled(log)
    assert kind(items[-1]) == "whole"
    assert shape(items)[-1] == ("whole", [30])


@both
def test_a_gap_that_was_passed_on_is_told_again_when_it_is_undone(flavour: Flavour) -> None:
    """Pieces that are forgotten take their gap along; the rows before the savepoint are not lost in silence."""
    log = Log(flavour)
    large(log, "1: SAVEPOINT a", "2: INSERT INTO orders SELECT * FROM others", "4: ROLLBACK TO a", rows=4)
    log.xid()
    items = assembled(log)
    whole = items[-1]
    assert kind(whole) == "whole"
    assert GAP in [change.op for change in whole.changes]
