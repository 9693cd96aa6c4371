from __future__ import annotations

import pytest

from gateway.subscription import Bounds, Opening, opening
from gateway.wire import Subscribe

KEPT = Bounds("k3f9", floor=977, published=1100)
EMPTY = Bounds("k3f9", floor=1, published=0)
TRIMMED = Bounds("k3f9", floor=1101, published=1100)


def asked(last: int | None = None, epoch: str | None = None, offset: int | None = None) -> Subscribe:
    return Subscribe(channel="c", last=last, epoch=epoch, offset=offset)


@pytest.mark.parametrize(
    ("request_", "bounds", "expected"),
    [
        (asked(), KEPT, Opening(1100, recovered=True)),
        (asked(), EMPTY, Opening(0, recovered=True)),
        (asked(last=0), KEPT, Opening(1100, recovered=True)),
        (asked(last=100), KEPT, Opening(1000, recovered=True)),
        (asked(last=10_000), KEPT, Opening(976, recovered=True)),
        (asked(last=5), EMPTY, Opening(0, recovered=True)),
        (asked(last=5), TRIMMED, Opening(1100, recovered=True)),
        (asked(offset=0), KEPT, Opening(976, recovered=True)),
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
def test_where_a_subscription_begins(request_: Subscribe, bounds: Bounds, expected: Opening) -> None:
    """Each form of subscribe starts at its place, and what cannot be had any more is said with its reason."""
    assert opening(request_, bounds) == expected
