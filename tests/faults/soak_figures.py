"""Writes what a soak has shown into a document, between two comments that name the server."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable
from datetime import date
from pathlib import Path

from tests.faults.soak_report import COLUMNS, QUIET, Kind, Report


def write(report: Report, document: Path, day: date) -> None:
    """Put the figures in place of those of an earlier run; raises ValueError when there is no place for them."""
    begin, end = (f"<!-- {word} of the soak on {report.server} -->" for word in ("begin", "end"))
    figures = "\n".join((begin, "", *_figures(report, day), "", end))
    place = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    text, found = place.subn(lambda _: figures, document.read_text())
    if not found:
        raise ValueError(f"{document} has no lines {begin} and {end}")
    document.write_text(text)


def _figures(report: Report, day: date) -> Iterable[str]:
    yield f"`{report.command}`, {day:%-d %B %Y}:"
    yield f"{report.rows:,} rows in {report.seconds / 60:.0f} minutes, {report.faults} faults,"
    yield f"{len(report.order_errors)} clients, {report.version}."
    yield ""
    yield "| fault | times | recovered in (s), median / max | " + " | ".join(map(_name, COLUMNS)) + " |"
    yield "|---|---:|---:|" + "---:|" * len(COLUMNS)
    for name, kind in sorted(report.kinds.items(), key=lambda item: (item[0] == QUIET, item[0])):
        yield _row(name, kind)
    yield _row("all", report.total)
    yield ""
    yield from (f"- {line}" for line in report.findings())


def _name(column: str) -> str:
    return column.replace("_", " ")


def _row(name: str, kind: Kind) -> str:
    recovery = f"{statistics.median(kind.recovered):.2f} / {max(kind.recovered):.2f}" if kind.recovered else ""
    counts = " | ".join(str(kind.wrong[column]) for column in COLUMNS)
    return f"| {name} | {len(kind.recovered)} | {recovery} | {counts} |"
