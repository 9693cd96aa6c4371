"""Compares what a client recorded with what the table holds: the only judge of every fault test."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from journal.types import READ
from tests.faults.product import Product
from tests.faults.recorder import Seen


class Verdict(NamedTuple):
    """Counts of what may not happen; ``holes`` are offsets that never came, ``torn`` transactions that were split."""

    lost: int
    repeated: int
    unknown: int
    altered: int
    out_of_order: int
    torn: int
    holes: int

    @property
    def clean(self) -> bool:
        """Whether nothing at all is wrong."""
        return not any(self)


def table(product: Product, after: int = 0) -> dict[int, dict[str, object]]:
    """Every committed row's ``data`` by its id, as the server has it, of those with an id above ``after``."""
    with product.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT id, data FROM cctv_detection_results WHERE id > %s", (after,))
        return {int(row[0]): json.loads(row[1]) for row in cursor.fetchall()}


def judge(
    seen: Sequence[Seen],
    rows: dict[int, dict[str, object]],
    *,
    first: int = 1,
    gaps: Sequence[Mapping[str, Any]] = (),
) -> Verdict:
    """What is wrong with ``seen``, given the table and the offset that should have come first.

    ``gaps`` are the frames that announced some; they take the offsets between their ``after`` and ``before``.
    """
    ids = [event.message["id"] for event in seen]
    taken = {offset for gap in gaps for offset in range(gap["after"] + 1, gap["before"])}
    offsets = [event.offset for event in seen]
    return Verdict(
        lost=len(rows.keys() - set(ids)),
        repeated=len(ids) - len(set(ids)),
        unknown=len(set(ids) - rows.keys()),
        altered=sum(event.message["data"] != rows.get(event.message["id"]) for event in seen),
        out_of_order=_out_of_order(seen),
        torn=_torn(seen),
        holes=_holes([first - 1, *offsets], taken),
    )


def _holes(offsets: Sequence[int], announced: set[int]) -> int:
    """How many offsets do not follow on the one before, but for those that a gap has taken."""
    wrong, due = 0, offsets[0]
    for offset in offsets:
        while due in announced:
            due += 1
        wrong += offset != due
        due = offset + 1
    return wrong


def _out_of_order(seen: Sequence[Seen]) -> int:
    """A writer numbers its rows as it sends them, one transaction after the other."""
    newest: dict[object, int] = {}
    wrong = 0
    for event in seen:
        data = event.message["data"]
        wrong += data["seq"] <= newest.get(data["writer"], -1)
        newest[data["writer"]] = data["seq"]
    return wrong


def _torn(seen: Sequence[Seen]) -> int:
    """Rows of one transaction stand together: each transaction begins once. Rows read from the table have none."""
    begun: set[tuple[object, object]] = set()
    last: tuple[object, object] | None = None
    torn = 0
    for event in seen:
        if event.op == READ:
            continue
        this = (event.message["data"]["writer"], event.message["data"]["transaction"])
        if this != last:
            torn += this in begun
            begun.add(this)
        last = this
    return torn
