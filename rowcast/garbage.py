"""What Python's collector of cyclic garbage may cost."""

from __future__ import annotations

import gc

YOUNG = 10_000  # objects that are made before the young ones are looked at; Python's own 700 are a few requests


def settle() -> None:
    """Call it when everything is loaded and started: later collections pass over what is there now.

    A full one looks at every object: some 50,000 belong to modules and stay to the end. Looking at them held up
    the event loop for 40 to 60 ms at a time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG)
