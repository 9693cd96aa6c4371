from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.faults.soak_report import QUIET, Report
from tests.faults.soak_stage import Outcome
from tests.faults.verdict import Verdict

FINE = Verdict(*([0] * len(Verdict._fields)))


def report(*verdicts: Verdict, gaps: int = 0, order: int = 0, failure: str = "") -> Report:
    made = Report(seed=7, minutes=1, every=20, rate=80, rows=30, order_errors={"near": order}, failure=failure)
    made.add(QUIET, Outcome(0.5, 10, [FINE], 0))
    made.add("link cut", Outcome(1.0, 10, [FINE], 0))
    made.add("link cut", Outcome(3.0, 10, verdicts, gaps))
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


@pytest.mark.parametrize("how", [{"gaps": 1}, {"order": 1}, {"failure": "a client did not catch up"}])
def test_gaps_another_order_and_an_early_end_are_not_clean(how: dict[str, object]) -> None:
    """Nothing is purged in a soak, so a gap is as wrong as a row in another place than in the log."""
    assert not report(FINE, **how).clean  # type: ignore[arg-type]  # the parameters' names


def test_a_run_that_looked_at_nothing_is_not_clean() -> None:
    """No rows prove nothing."""
    assert not Report(seed=1, minutes=1, every=1, rate=1).clean
