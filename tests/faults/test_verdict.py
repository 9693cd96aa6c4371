from __future__ import annotations

from typing import Any

from journal.types import READ
from tests.faults.recorder import Seen
from tests.faults.verdict import judge

GAP = {"after": 1, "before": 3, "reason": "purged"}


def seen(offset: int, transaction: int, op: str = "insert") -> Seen:
    return Seen("e", offset, {"id": offset, "data": {"writer": 1, "transaction": transaction, "seq": offset}}, op)


def rows(*events: Seen) -> dict[int, Any]:
    return {event.message["id"]: event.message["data"] for event in events}


def test_an_announced_gap_takes_its_offsets() -> None:
    """The offset that is missing is a hole unless a gap has it, and the gap is no excuse for another."""
    events = [seen(1, 1), seen(3, 2), seen(4, 3)]
    assert judge(events, rows(*events)).holes == 1
    assert judge(events, rows(*events), gaps=[GAP]).clean
    assert judge([events[0], events[2]], rows(events[0], events[2]), gaps=[GAP]).holes == 1


def test_rows_of_a_table_belong_to_no_transaction() -> None:
    """Behind a gap rows come in the order of their keys, so those of two transactions may alternate; others not."""
    events = [seen(1, 1), seen(2, 2), seen(3, 1)]
    assert judge(events, rows(*events)).torn == 1
    assert judge([event._replace(op=READ) for event in events], rows(*events)).clean
