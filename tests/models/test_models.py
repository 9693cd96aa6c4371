from __future__ import annotations

import pytest

from tests.models.mutants import MUTANTS
from tests.models.mutation import Mutant, changed
from tests.models.red import finding, run

QUICK = ("overlap-ignored", "await-before-publish", "demoted-one-back", "page-one-back", "slice-one-back")


def test_every_client_sees_each_offset_once() -> None:
    """Rows, clients that come, stall, go and come back, retention, kills, restored copies: offsets stay contiguous."""
    run("handover", 60)


def test_every_slice_gets_each_event_once() -> None:
    """Turns, joins, leaves, full buffers, filters and holes in any order: what is reached is what was sent."""
    run("fanout", 150)


def test_every_committed_row_arrives_once() -> None:
    """Transactions of every kind, links cut at any event, kills behind any append, seeds: nothing lost or repeated."""
    run("capture", 40)


@pytest.mark.parametrize("mutant", [mutant for mutant in MUTANTS if mutant.name in QUICK], ids=lambda m: m.name)
def test_a_mutant_is_caught(mutant: Mutant) -> None:
    """A model turns red when one line of the product is broken; ``./dev mutants`` tries all of them."""
    assert finding(mutant) is not None


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_a_mutant_changes_the_product_as_it_is(mutant: Mutant) -> None:
    """The line that a mutant breaks is there: whoever rewrites it moves the mutant along."""
    changed(mutant)


def test_mutants_have_names_of_their_own() -> None:
    """Each can be asked for by name."""
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
