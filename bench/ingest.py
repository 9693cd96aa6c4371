"""POSTs answered after their commit."""

from __future__ import annotations

import sys

from bench.contenders import original, product
from bench.detections import make_tables
from bench.figures import OURS, Figure, Goal
from bench.latency import Start
from bench.stage import Stage, reason
from devenv.errors import SetUpError

EXPRESS = "Express + mysql2"
SYSTEMS: dict[str, Start] = {OURS: product, EXPRESS: original}
_IN_FLIGHT = 64


def bench(stage: Stage) -> list[Figure]:
    """All figures of this file."""
    return ingest(stage, seconds=3 if stage.quick else 6, rounds=1 if stage.quick else 3)


def ingest(stage: Stage, seconds: int, rounds: int) -> list[Figure]:
    """As many as are answered, ``_IN_FLIGHT`` at a time; the systems in turns."""
    rate = Figure("ingest", f"POST, durable, {_IN_FLIGHT} in flight", "/s", (Goal(6, EXPRESS),))
    middle = Figure("ingest.p50", f"{rate.title}: p50", "ms", less=True)
    late = Figure("ingest.p99", f"{rate.title}: p99", "ms", less=True)
    for _ in range(rounds):
        for name in [name for name in SYSTEMS if name not in rate.skipped]:
            try:
                taken = one(stage, SYSTEMS[name], seconds)
            except (SetUpError, RuntimeError) as error:
                rate.skipped[name] = middle.skipped[name] = late.skipped[name] = reason(error)
                continue
            for figure, part in ((rate, "rate"), (middle, "p50"), (late, "p99")):
                figure.add(name, taken[part])
    return [rate, middle, late]


def one(stage: Stage, start: Start, seconds: int) -> dict[str, float]:
    """What one system answered."""
    server = stage.server("mariadb")
    make_tables(server)
    with start(stage, server) as system:
        port = int(system.post.rpartition(":")[2])
        task = {"port": port, "seconds": seconds, "in_flight": _IN_FLIGHT}
        return stage.run([sys.executable, "-m", "bench.poster"], task)
