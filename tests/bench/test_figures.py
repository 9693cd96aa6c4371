from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from bench.chart import chart
from bench.figures import OURS, Figure, Goal, missed, number, table


def rates() -> Figure:
    figure = Figure("decode", "binlog → JSON", "rows/s", (Goal(250), Goal(6, "library"), Goal(1, "absent")))
    figure.samples = {OURS: [200.0, 300.0, 260.0], "library": [50.0, 52.0, 54.0]}
    figure.skipped = {"zongji": "no npm"}
    return figure


def latencies() -> Figure:
    return Figure("p99", "insert → browser", "ms", (Goal(25), Goal(1, "node")), True, {OURS: [20.0], "node": [10.0]})


def test_median_spread_and_ratio() -> None:
    """A figure is the median of its samples, the spread half their range, a ratio the median of those of each round."""
    figure = rates()
    assert figure.median(OURS) == 260
    assert figure.spread(OURS) == pytest.approx(50 / 260)
    assert figure.ratio("library") == pytest.approx(260 / 54)
    assert figure.ratio("zongji") is None


def test_less_can_be_better() -> None:
    """Of latencies and memory the smaller one wins, in ratios and goals alike."""
    figure = latencies()
    assert figure.ratio("node") == 0.5
    assert [figure.reached(goal) for goal in figure.goals] == [True, False]


def test_goals_are_reached_missed_or_not_measured() -> None:
    """A goal is an amount or a multiple of a peer; without that peer there is no verdict."""
    figure = rates()
    assert [figure.reached(goal) for goal in figure.goals] == [True, False, None]
    assert missed([figure]) == ["binlog → JSON: 260 rows/s, to reach was 6 × library"]


def test_the_table_says_it_plainly() -> None:
    """Each figure is one line: ours, each peer with its ratio or the reason for its absence, goals and verdicts."""
    line = table([rates()]).splitlines()[-1]
    assert line == (
        "| binlog → JSON, rows/s | **260 ± 19%** | library 52 ± 4% (4.81 ×)<br>zongji: not measured, no npm "
        "| ≥ 250<br>≥ 6 × library<br>≥ absent | reached<br>**missed**<br>not measured |"
    )


def test_nobody_measured_is_a_line_too() -> None:
    """A figure without any sample says why."""
    assert "| no server |" in table([Figure("a", "b", "c", (Goal(1),), skipped={OURS: "no server"})])


def test_a_round_that_failed_is_not_hidden() -> None:
    """What was measured before it stands beside its reason."""
    failed = Figure("a", "b", "c", samples={OURS: [7.0]}, skipped={OURS: "the server ended"})
    assert "| **7**<br>and a round that failed: the server ended |" in table([failed])


@pytest.mark.parametrize(
    ("amount", "text"), [(0, "0"), (0.0312, "0.031"), (1.5, "1.5"), (74.26, "74.3"), (250_000.4, "250,000")]
)
def test_numbers_have_the_digits_that_count(amount: float, text: str) -> None:
    """Three of them, no more than three after the point."""
    assert number(amount) == text


def test_the_chart_is_svg_for_light_and_dark_pages() -> None:
    """One bar for each contender that was measured, with its text escaped and colours for both kinds of page."""
    figure = rates()
    figure.title = "a < b"
    drawn = chart([figure, latencies()])
    root = ET.fromstring(drawn)
    assert len(root.findall("{http://www.w3.org/2000/svg}rect")) == 4
    assert "a &lt; b" in drawn
    assert "prefers-color-scheme:dark" in drawn
