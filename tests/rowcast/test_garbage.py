from __future__ import annotations

import gc

import pytest

from rowcast import garbage


@pytest.fixture
def undo():
    """The collector as it was."""
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


@pytest.mark.usefixtures("undo")
def test_what_was_there_is_not_looked_at_again():
    """After it the collector knows only what was made since, and looks less often."""
    kept = [[number] for number in range(1000)]
    garbage.settle()
    assert gc.get_freeze_count() > len(kept)
    assert not any(one is kept for one in gc.get_objects())
    assert gc.get_threshold()[0] == garbage.YOUNG
