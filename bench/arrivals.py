"""Times of arrival, summed up."""

from __future__ import annotations

import statistics


def percentiles(taken: list[float]) -> dict[str, float]:
    """The usual three of sorted samples."""
    if len(taken) < 2:
        return {}
    cut = statistics.quantiles(taken, n=100, method="inclusive")
    return {"p50": cut[49], "p95": cut[94], "p99": cut[98]}
