"""Running a model, and finding out whether it turns red."""

from __future__ import annotations

import io
from contextlib import redirect_stdout

from hypothesis import HealthCheck, Phase, Verbosity, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from tests.models.capture import Capture
from tests.models.fanout import Fanout
from tests.models.handover import Handover
from tests.models.mutation import Mutant, applied

MODELS: dict[str, type[RuleBasedStateMachine]] = {"capture": Capture, "fanout": Fanout, "handover": Handover}

# The same schedules on every run, so that whether a mutant is caught is no matter of luck.
CERTAIN = settings(
    derandomize=True,
    database=None,
    deadline=None,
    stateful_step_count=50,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
_UNTIL_RED = settings(CERTAIN, max_examples=5_000, phases=[Phase.generate], verbosity=Verbosity.quiet)


def run(model: str, examples: int) -> None:
    """Run so many schedules; raises what the model found, with the shortest schedule that shows it."""
    run_state_machine_as_test(MODELS[model], settings=settings(CERTAIN, max_examples=examples))


def finding(mutant: Mutant) -> str | None:
    """What the mutant's model has against it; None when it notices nothing."""
    try:
        with applied(mutant), redirect_stdout(io.StringIO()):
            run_state_machine_as_test(MODELS[mutant.model], settings=_UNTIL_RED)
    except AssertionError as red:
        return str(red).partition("\n")[0] or "an assertion"
    return None
