"""Samples in, a table out: medians, spreads, ratios, and whether what was to be reached was. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

import msgspec

OURS = "rowcast"


class Goal(msgspec.Struct, frozen=True):
    """What ours should reach: ``amount`` in the figure's unit, or that many times what ``peer`` does."""

    amount: float
    peer: str = ""


class Figure(msgspec.Struct):
    """One line of the table: the samples of each contender by its name, ours under ``OURS``.

    ``skipped`` says why a contender has none. With ``less`` the smaller figure is the better one.
    """

    key: str
    title: str
    unit: str
    goals: tuple[Goal, ...] = ()
    less: bool = False
    samples: dict[str, list[float]] = {}
    skipped: dict[str, str] = {}

    def add(self, contender: str, sample: float) -> None:
        """Keep one more sample of a contender."""
        self.samples.setdefault(contender, []).append(sample)

    def median(self, contender: str) -> float | None:
        """The middle of a contender's samples; None when it has none."""
        taken = self.samples.get(contender)
        return statistics.median(taken) if taken else None

    def spread(self, contender: str) -> float:
        """How far a contender's samples lie apart: half of their range, as a part of their median."""
        taken = self.samples[contender]
        middle = statistics.median(taken)
        return (max(taken) - min(taken)) / 2 / middle if middle else 0.0

    def ratio(self, peer: str) -> float | None:
        """How many times better ours is than ``peer``; below 1 it is worse. None when one of them was not measured.

        Each round is compared with itself, where what else the machine does was the same for both; the middle counts.
        """
        rounds = zip(self.samples.get(OURS, ()), self.samples.get(peer, ()), strict=False)
        ratios = [theirs / ours if self.less else ours / theirs for ours, theirs in rounds if ours and theirs]
        return statistics.median(ratios) if ratios else None

    def reached(self, goal: Goal) -> bool | None:
        """Whether ours got there; None when one of the two was not measured."""
        if goal.peer:
            ratio = self.ratio(goal.peer)
            return None if ratio is None else ratio >= (1 / goal.amount if self.less else goal.amount)
        ours = self.median(OURS)
        if ours is None:
            return None
        return ours <= goal.amount if self.less else ours >= goal.amount


def table(figures: Iterable[Figure]) -> str:
    """All figures as a table in Markdown."""
    lines = ["| figure | Rowcast | peers, and how many times better Rowcast is | to reach | |", "|---|---|---|---|---|"]
    for figure in figures:
        cells = [f"{figure.title}, {figure.unit}", _ours(figure), _peers(figure), _goals(figure), _verdict(figure)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def number(amount: float) -> str:
    """Three digits that count, thousands separated."""
    if amount == 0:
        return "0"
    digits = 0
    while abs(amount) * 10**digits < 100 and digits < 3:
        digits += 1
    text = f"{amount:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if digits else text


def _ours(figure: Figure) -> str:
    if OURS not in figure.samples:
        return figure.skipped.get(OURS, "")
    return f"**{_measured(figure, OURS)}**" + _failed(figure, OURS)


def _measured(figure: Figure, contender: str) -> str:
    middle = figure.median(contender)
    assert middle is not None
    spread = f" ± {figure.spread(contender):.0%}" if len(figure.samples[contender]) > 1 else ""
    return number(middle) + spread


def _failed(figure: Figure, contender: str) -> str:
    why = figure.skipped.get(contender)
    return f"<br>and a round that failed: {why}" if why else ""


def _peers(figure: Figure) -> str:
    parts = []
    for peer in dict.fromkeys([*figure.samples, *figure.skipped]):
        if peer == OURS:
            continue
        if peer not in figure.samples:
            parts.append(f"{peer}: not measured, {figure.skipped[peer]}")
            continue
        ratio = figure.ratio(peer)
        better = f" ({number(ratio)} ×)" if ratio else ""
        parts.append(f"{peer} {_measured(figure, peer)}{better}{_failed(figure, peer)}")
    return "<br>".join(parts)


def _goals(figure: Figure) -> str:
    sign = "≤" if figure.less else "≥"
    return "<br>".join(f"{sign} {_goal(goal)}" for goal in figure.goals)


def _goal(goal: Goal) -> str:
    if not goal.peer:
        return number(goal.amount)
    return goal.peer if goal.amount == 1 else f"{number(goal.amount)} × {goal.peer}"


_WORDS = {True: "reached", False: "**missed**", None: "not measured"}


def _verdict(figure: Figure) -> str:
    return "<br>".join(_WORDS[figure.reached(goal)] for goal in figure.goals)


def missed(figures: Sequence[Figure]) -> list[str]:
    """A line for each goal that was not reached."""
    return [
        f"{figure.title}: {number(figure.median(OURS) or 0)} {figure.unit}, to reach was {_goal(goal)}"
        for figure in figures
        for goal in figure.goals
        if figure.reached(goal) is False
    ]
