"""What a soak has shown, for people and for programs."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from devenv.installation import Flavour
from tests.faults.soak_memory import Growth, Life
from tests.faults.soak_stage import Outcome

COLUMNS = ("lost", "repeated", "unknown", "altered", "out_of_order", "torn", "holes", "gaps")
QUIET = "no fault"
WIDTH = 30  # characters of a fault's name
READERS = {"mariadb": "mariadb-binlog", "mysql": "mysqlbinlog"}


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
    server: Flavour = "mariadb"
    version: str = ""
    kinds: dict[str, Kind] = field(default_factory=dict)
    rows: int = 0
    seconds: float = 0.0
    memory: Growth = field(default_factory=Growth)
    lives: list[Life] = field(default_factory=list)
    announced: dict[str, int] = field(default_factory=dict)
    order_errors: dict[str, int] = field(default_factory=dict)
    failure: str = ""

    def add(self, kind: str, outcome: Outcome) -> None:
        """Count a step."""
        self.kinds.setdefault(kind, Kind()).add(outcome)
        self.rows += outcome.rows
        for reason in outcome.announced:
            self.announced[reason] = self.announced.get(reason, 0) + 1

    @property
    def faults(self) -> int:
        """How many there were."""
        return sum(len(kind.recovered) for name, kind in self.kinds.items() if name != QUIET)

    @property
    def clean(self) -> bool:
        """Whether nothing at all went wrong, and something was looked at."""
        wrong = any(count for kind in self.kinds.values() for count in kind.wrong.values())
        in_order = self.order_errors and not any(self.order_errors.values())
        return bool(not wrong and not self.failure and in_order and self.memory.flat and self.rows)

    @property
    def command(self) -> str:
        """What repeats it."""
        options = f"--minutes {self.minutes:g} --seed {self.seed} --every {self.every:g} --rate {self.rate:g}"
        return f"./dev soak {options} --server {self.server}"

    def text(self) -> str:
        """The report as people read it."""
        failure = [f"not finished: {self.failure}"] if self.failure else []
        end = "nothing lost, nothing twice, nothing out of order" if self.clean else "NOT CLEAN"
        return "\n".join((*self._head(), "", *self._table(), "", *self.findings(), *failure, end, "")) + "\n"

    @property
    def total(self) -> Kind:
        """All kinds together."""
        total = Kind()
        for kind in self.kinds.values():
            total.recovered += kind.recovered
            for name, count in kind.wrong.items():
                total.wrong[name] += count
        return total

    def _head(self) -> Iterable[str]:
        yield f"Soak of {self.seconds / 60:.1f} minutes, seed {self.seed}: {self.rows:,} rows committed by 3 writers,"
        yield f"{self.faults} faults, {len(self.order_errors) or 4} clients, {self.version}. To repeat:"
        yield f"  {self.command}"

    def _table(self) -> Iterable[str]:
        head = [name.replace("out_of_order", "order") for name in COLUMNS]
        widths = [max(6, len(name)) + 1 for name in head]
        cells = "".join(f"{name:>{width}}" for name, width in zip(head, widths, strict=True))
        yield f"{'fault':<{WIDTH}}{'times':>6}{'recovered in (s)':>18}{cells}"
        yield f"{'':<{WIDTH}}{'':>6}{'median / max':>18}"
        for name, kind in sorted(self.kinds.items(), key=lambda item: (item[0] == QUIET, item[0])):
            recovery = f"{statistics.median(kind.recovered):.2f} / {max(kind.recovered):.2f}"
            yield f"{name:<{WIDTH}}{len(kind.recovered):>6}{recovery:>18}{_cells(kind.wrong, widths)}"
        yield f"{'all':<{WIDTH}}{len(self.total.recovered):>6}{'':>18}{_cells(self.total.wrong, widths)}"

    def findings(self) -> Iterable[str]:
        """What else was looked at, a line each."""
        wrong = {name: count for name, count in self.order_errors.items() if count}
        same = (
            "the same for all clients" if self.order_errors and not wrong else f"different: {wrong or 'not compared'}"
        )
        yield f"order of commits by {READERS[self.server]}: {same}"
        announced = ", ".join(f"{reason} {count}" for reason, count in sorted(self.announced.items())) or "none"
        yield f"gaps that the faults caused, announced to every client at the same place: {announced}"
        yield f"memory of rowcast serve: {self.memory.peak_kib / 1024:.0f} MiB at most (VmHWM)"
        yield f"memory of rowcast serve over time (VmRSS): {self.memory}"

    def save(self, folder: Path) -> Path:
        """Write text and JSON; the path of the text."""
        folder.mkdir(parents=True, exist_ok=True)
        text = folder / f"soak-{self.seed}.txt"
        text.write_text(self.text())
        text.with_suffix(".json").write_text(json.dumps({**asdict(self), "clean": self.clean}) + "\n")
        return text


def _cells(counts: dict[str, int], widths: list[int]) -> str:
    return "".join(f"{counts[name]:>{width}}" for name, width in zip(COLUMNS, widths, strict=True))
