from __future__ import annotations

import pytest

from journal.opening import Bounds, Opening, Start, opening
from journal.types import Cursor

KEPT = Bounds("k3f9", floor=977, head=1100)
EMPTY = Bounds("k3f9", floor=1, head=0)
TRIMMED = Bounds("k3f9", floor=1101, head=1100)


def asked(last: int | None = None, epoch: str | None = None, offset: int = 0) -> Start:
    return Start(last=last) if epoch is None else Start(Cursor(epoch, offset))


@pytest.mark.parametrize(
    ("start", "bounds", "expected"),
    [
        (asked(), KEPT, Opening(1100, recovered=True)),
        (asked(), EMPTY, Opening(0, recovered=True)),
        (asked(last=0), KEPT, Opening(1100, recovered=True)),
        (asked(last=100), KEPT, Opening(1000, recovered=True)),
        (asked(last=10_000), KEPT, Opening(976, recovered=True)),
        (asked(last=5), EMPTY, Opening(0, recovered=True)),
        (asked(last=5), TRIMMED, Opening(1100, recovered=True)),
        (Start(everything=True), KEPT, Opening(976, recovered=True)),
        (asked(epoch="k3f9", offset=1100), KEPT, Opening(1100, recovered=True)),
        (asked(epoch="k3f9", offset=976), KEPT, Opening(976, recovered=True)),
        (asked(epoch="k3f9", offset=975), KEPT, Opening(976, False, 975, "retention")),
        (asked(epoch="k3f9", offset=0), KEPT, Opening(976, False, 0, "retention")),
        (asked(epoch="k3f9", offset=41), TRIMMED, Opening(1100, False, 41, "retention")),
        (asked(epoch="k3f9", offset=1101), KEPT, Opening(976, False, 0, "epoch", ahead=True)),
        (asked(epoch="k3f9", offset=2**63 - 1), KEPT, Opening(976, False, 0, "epoch", ahead=True)),
        (asked(epoch="m2aa", offset=1000), KEPT, Opening(976, False, 0, "epoch")),
        (asked(epoch="", offset=0), EMPTY, Opening(0, False, 0, "epoch")),
        (asked(epoch="k3f9", offset=0), EMPTY, Opening(0, recovered=True)),
    ],
)
def test_where_a_reader_begins(start: Start, bounds: Bounds, expected: Opening) -> None:
    """Each way to begin starts at its place, and what cannot be had any more is said with its reason."""
    assert opening(start, bounds) == expected
