"""Compares what a client recorded with what the table holds: the only judge of every fault test."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

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


def judge(seen: Sequence[Seen], rows: dict[int, dict[str, object]], *, first: int = 1) -> Verdict:
    """What is wrong with ``seen``, given the table and the offset that should have come first."""
    ids = [event.message["id"] for event in seen]
    offsets = [event.offset for event in seen]
    return Verdict(
        lost=len(rows.keys() - set(ids)),
        repeated=len(ids) - len(set(ids)),
        unknown=len(set(ids) - rows.keys()),
        altered=sum(event.message["data"] != rows.get(event.message["id"]) for event in seen),
        out_of_order=_out_of_order(seen),
        torn=_torn(seen),
        holes=sum(b != a + 1 for a, b in pairwise([first - 1, *offsets])),
    )


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
    """Rows of one transaction stand together: each transaction begins once."""
    begun: set[tuple[object, object]] = set()
    last: tuple[object, object] | None = None
    torn = 0
    for event in seen:
        this = (event.message["data"]["writer"], event.message["data"]["transaction"])
        if this != last:
            torn += this in begun
            begun.add(this)
        last = this
    return torn
