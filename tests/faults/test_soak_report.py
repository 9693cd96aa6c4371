from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from devenv.installation import Flavour
from tests.faults.soak import GUARANTEES
from tests.faults.soak_figures import write
from tests.faults.soak_memory import GROWTH_KIB, Growth, Life
from tests.faults.soak_report import QUIET, READERS, Report
from tests.faults.soak_stage import Outcome
from tests.faults.verdict import Verdict

FINE = Verdict(*([0] * len(Verdict._fields)))


def report(
    *verdicts: Verdict, gaps: int = 0, order: int = 0, failure: str = "", memory: Growth | None = None
) -> Report:
    made = Report(seed=7, minutes=1, every=20, rate=80, order_errors={"near": order}, failure=failure)
    made.memory = memory or made.memory
    made.add(QUIET, Outcome(0.5, 10, [FINE], 0))
    made.add("link cut", Outcome(1.0, 10, [FINE], 0))
    made.add("link cut", Outcome(3.0, 10, verdicts, gaps, ["purged"]))
    return made


def test_a_clean_run_says_so(tmp_path: Path) -> None:
    """Times and recovery of each kind, the command that repeats it, the same as JSON."""
    clean = report(FINE)
    assert clean.clean
    assert clean.faults == 2
    path = clean.save(tmp_path)
    text = path.read_text()
    assert "./dev soak --minutes 1 --seed 7 --every 20 --rate 80" in text
    assert "2.00 / 3.00" in text
    assert "purged 1" in text
    assert "nothing lost" in text
    kept = json.loads(path.with_suffix(".json").read_text())
    assert kept["clean"] is True
    assert kept["kinds"]["link cut"]["recovered"] == [1.0, 3.0]


@pytest.mark.parametrize("field", Verdict._fields)
def test_a_single_wrong_row_is_not_clean(field: str) -> None:
    """Whatever a client's verdict counts ends the run with a failure, under the kind of its fault."""
    wrong = report(FINE, FINE._replace(**{field: 2}))
    assert not wrong.clean
    assert wrong.kinds["link cut"].wrong[field] == 2
    assert "NOT CLEAN" in wrong.text()


GROWN = Growth(lives=1, judged=1, longest=60.0, most_kib=GROWTH_KIB + 1)


@pytest.mark.parametrize(
    "how", [{"gaps": 1}, {"order": 1}, {"failure": "a client did not catch up"}, {"memory": GROWN}]
)
def test_gaps_another_order_an_early_end_and_growth_are_not_clean(how: dict[str, object]) -> None:
    """A gap that no fault explains is as wrong as a row in another place than in the log, or memory that grows."""
    assert not report(FINE, **how).clean  # type: ignore[arg-type]  # the parameters' names


def test_a_run_that_looked_at_nothing_is_not_clean() -> None:
    """No rows prove nothing."""
    assert not Report(seed=1, minutes=1, every=1, rate=1).clean


def test_figures_take_the_place_of_older_ones(tmp_path: Path) -> None:
    """They stand between the two comments of their server, with command and date; all else stays as it is."""
    document = tmp_path / "guarantees.md"
    places = [f"<!-- begin of the soak on {name} -->\nold\n<!-- end of the soak on {name} -->" for name in READERS]
    document.write_text("\n".join(("before", *places, "after")))
    for _ in range(2):
        write(report(FINE), document, date(2026, 11, 23))
    text = document.read_text()
    assert text.count("| link cut | 2 | 2.00 / 3.00 |") == 1
    assert "`./dev soak --minutes 1 --seed 7 --every 20 --rate 80 --server mariadb`, 23 November 2026" in text
    assert text.startswith("before\n")
    assert text.endswith(f"{places[1]}\nafter")
    document.write_text("nothing")
    with pytest.raises(ValueError, match="no lines"):
        write(report(FINE), document, date(2026, 11, 23))


@pytest.mark.parametrize("server", READERS)
def test_the_guarantees_have_a_place_for_the_figures(server: Flavour, tmp_path: Path) -> None:
    """A run with ``--write`` finds where its table goes, whichever server it was over."""
    copy = tmp_path / "guarantees.md"
    copy.write_text(GUARANTEES.read_text())
    write(replace(report(FINE), server=server), copy, date(2026, 11, 23))
    assert f"--seed 7 --every 20 --rate 80 --server {server}`" in copy.read_text()


def test_growth_is_the_last_third_against_the_first() -> None:
    """Of a life that is warm, and long enough; a single high sample does not count."""
    steady = [(float(second), 70_000 + (9_000 if second in {3, 20, 80} else 0)) for second in range(100)]
    assert Life(1, steady).growth_kib == 0
    assert Life(1, [(age, kib + 100 * int(age)) for age, kib in steady]).growth_kib == 6_000
    assert Life(1, steady[:30]).growth_kib is None
