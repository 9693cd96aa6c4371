from __future__ import annotations

import pytest

from journal.rate import Rate
from tests.journal.conftest import Clock


def test_a_steady_stream_has_its_rate(clock: Clock) -> None:
    """Three a second are three a second once ten seconds have passed, and nothing ten seconds after they end."""
    rate = Rate(clock)
    for _ in range(30):
        for _ in range(3):
            rate.add(1)
        clock.now += 1
    clock.now -= 0.5
    assert rate.value() == pytest.approx(3.0)

    clock.now += 10
    assert rate.value() == 0.0


def test_a_burst_is_spread_over_the_window(clock: Clock) -> None:
    """A thousand at once are a hundred a second while the window holds them."""
    rate = Rate(clock)
    rate.add(1000)
    clock.now += 9
    assert rate.value() == 100.0
    clock.now += 1
    assert rate.value() == 0.0
