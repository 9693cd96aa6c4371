"""What a soak has shown, for people and for programs."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.faults.soak_stage import Outcome

COLUMNS = ("lost", "repeated", "unknown", "altered", "out_of_order", "torn", "holes", "gaps")
QUIET = "no fault"


@dataclass
class Kind:
    """All faults of one kind: seconds until recovery of each, and the sums of what went wrong."""

    recovered: list[float] = field(default_factory=list)
    wrong: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COLUMNS, 0))

    def add(self, outcome: Outcome) -> None:
        """Count one more."""
        self.recovered.append(round(outcome.recovered, 3))
        for verdict in outcome.verdicts:
            for name, count in verdict._asdict().items():
                self.wrong[name] += count
        self.wrong["gaps"] += outcome.gaps


@dataclass
class Report:
    """Figures of a run; ``order_errors`` are rows of a client in another place than in the log."""

    seed: int
    minutes: float
    every: float
    rate: float
    kinds: dict[str, Kind] = field(default_factory=dict)
    rows: int = 0
    seconds: float = 0.0
    peak_kib: int = 0
    peaks_kib: list[int] = field(default_factory=list)
    order_errors: dict[str, int] = field(default_factory=dict)
    failure: str = ""

    def add(self, kind: str, outcome: Outcome) -> None:
        """Count a step."""
        self.kinds.setdefault(kind, Kind()).add(outcome)

    @property
    def faults(self) -> int:
        """How many there were."""
        return sum(len(kind.recovered) for name, kind in self.kinds.items() if name != QUIET)

    @property
    def clean(self) -> bool:
        """Whether nothing at all went wrong, and something was looked at."""
        wrong = any(count for kind in self.kinds.values() for count in kind.wrong.values())
        return not (wrong or self.failure or any(self.order_errors.values())) and self.rows > 0

    def text(self) -> str:
        """The report as people read it."""
        return "\n".join((*self._head(), "", *self._table(), "", *self._end(), "")) + "\n"

    def _head(self) -> Iterable[str]:
        yield f"Soak of {self.seconds / 60:.1f} minutes, seed {self.seed}: {self.rows:,} rows committed by 3 writers,"
        yield f"{self.faults} faults, {len(self.order_errors) or 4} clients. To repeat:"
        yield f"  ./dev soak --minutes {self.minutes:g} --seed {self.seed} --every {self.every:g} --rate {self.rate:g}"

    def _table(self) -> Iterable[str]:
        head = [name.replace("out_of_order", "order") for name in COLUMNS]
        widths = [max(6, len(name)) + 1 for name in head]
        cells = "".join(f"{name:>{width}}" for name, width in zip(head, widths, strict=True))
        yield f"{'fault':<28}{'times':>6}{'recovered in (s)':>18}{cells}"
        yield f"{'':<28}{'':>6}{'median / max':>18}"
        total = dict.fromkeys(COLUMNS, 0)
        for name, kind in sorted(self.kinds.items(), key=lambda item: (item[0] == QUIET, item[0])):
            recovery = f"{statistics.median(kind.recovered):.2f} / {max(kind.recovered):.2f}"
            yield f"{name:<28}{len(kind.recovered):>6}{recovery:>18}{_cells(kind.wrong, widths)}"
            for column, count in kind.wrong.items():
                total[column] += count
        yield f"{'all':<28}{sum(len(k.recovered) for k in self.kinds.values()):>6}{'':>18}{_cells(total, widths)}"

    def _end(self) -> Iterable[str]:
        wrong = {name: count for name, count in self.order_errors.items() if count}
        same = (
            "the same for all clients" if self.order_errors and not wrong else f"different: {wrong or 'not compared'}"
        )
        yield f"order of commits by mariadb-binlog: {same}"
        first = self.peaks_kib[0] / 1024 if self.peaks_kib else 0.0
        peak = self.peak_kib / 1024
        yield f"memory of rowcast serve (VmHWM): {first:.0f} MiB after the first step, {peak:.0f} MiB at most"
        if self.failure:
            yield f"not finished: {self.failure}"
        yield "nothing lost, nothing twice, nothing out of order" if self.clean else "NOT CLEAN"

    def save(self, folder: Path) -> Path:
        """Write text and JSON; the path of the text."""
        folder.mkdir(parents=True, exist_ok=True)
        text = folder / f"soak-{self.seed}.txt"
        text.write_text(self.text())
        text.with_suffix(".json").write_text(json.dumps({**asdict(self), "clean": self.clean}, indent=2) + "\n")
        return text


def _cells(counts: dict[str, int], widths: list[int]) -> str:
    return "".join(f"{counts[name]:>{width}}" for name, width in zip(COLUMNS, widths, strict=True))
