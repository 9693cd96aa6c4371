"""How much memory `rowcast serve` holds over time, in each of its lives, and whether that grows.

A life that has warmed up should stay as it is. What may still fill is bounded and filled beforehand: the journal's
memory tail, by the rows that a soak begins with.
"""

from __future__ import annotations

import asyncio
import re
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

INTERVAL = 1.0  # seconds between two looks
WARM_UP = 10.0  # seconds of a life that are not judged: imports, first connections, first pages
JUDGED = 30.0  # seconds behind the warm-up without which a life says nothing
# Between the first and the last third of a life, as much as is called flat. Each reconnect to the source may add a step
# of up to 1 MiB (a thread, its arena, a page cache); the steps end some 5 MiB above the start of a life.
GROWTH_KIB = 8192


@dataclass
class Life:
    """One process: its samples as (seconds since it was first seen, resident KiB), and the most it ever had."""

    pid: int
    samples: list[tuple[float, int]] = field(default_factory=list)
    peak_kib: int = 0
    crowded: bool = False

    @property
    def growth_kib(self) -> int | None:
        """The last third's median less the first third's, warm-up left out; None for a life that says nothing.

        It was too short, or a crowd came and went.
        """
        warm = [kib for age, kib in self.samples if age >= WARM_UP]
        if self.crowded or not self.samples or self.samples[-1][0] < WARM_UP + JUDGED:
            return None
        third = len(warm) // 3
        return round(statistics.median(warm[-third:]) - statistics.median(warm[:third]))


class Memory:
    """Samples the process whose id ``pid`` gives, for as long as ``watch`` runs."""

    def __init__(self, pid: Callable[[], int]) -> None:
        self._pid = pid
        self.lives: list[Life] = []
        self._born = 0.0

    async def watch(self) -> None:
        """Look once a second, until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(INTERVAL)

    def look(self) -> None:
        """Take a sample now; call it before a process is killed, too."""
        pid = self._pid()
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return
        resident, peak = _kib(status, "VmRSS"), _kib(status, "VmHWM")
        if not resident:  # it has ended, and nobody has collected it yet
            return
        if not self.lives or self.lives[-1].pid != pid:
            self.lives.append(Life(pid))
            self._born = time.monotonic()
        life = self.lives[-1]
        life.samples.append((round(time.monotonic() - self._born, 1), resident))
        life.peak_kib = max(life.peak_kib, peak)

    def crowded(self) -> None:
        """A crowd was served; call it before the process ends."""
        self.look()
        self.lives[-1].crowded = True

    @property
    def peak_kib(self) -> int:
        """The most that any life had."""
        return max((life.peak_kib for life in self.lives), default=0)

    def growth(self) -> Growth:
        """What all lives together show."""
        judged = [(life.growth_kib, life.samples[-1][0]) for life in self.lives]
        grown = [(kib, seconds) for kib, seconds in judged if kib is not None]
        return Growth(
            lives=len(self.lives),
            judged=len(grown),
            longest=max((seconds for _, seconds in grown), default=0.0),
            median_kib=round(statistics.median([kib for kib, _ in grown])) if grown else 0,
            most_kib=max((kib for kib, _ in grown), default=0),
            peak_kib=self.peak_kib,
        )


@dataclass(frozen=True)
class Growth:
    """``judged`` lives of ``lives``, the ``longest`` in seconds; growth within a life, median and most, in KiB."""

    lives: int = 0
    judged: int = 0
    longest: float = 0.0
    median_kib: int = 0
    most_kib: int = 0
    peak_kib: int = 0

    @property
    def flat(self) -> bool:
        """Whether no life grew by more than ``GROWTH_KIB``."""
        return self.most_kib <= GROWTH_KIB

    def __str__(self) -> str:
        if not self.judged:
            return f"{self.lives} lives, none long enough to say whether it grows"
        verdict = "flat" if self.flat else f"GROWS: more than {GROWTH_KIB / 1024:g} MiB"
        grown = f"{self.median_kib / 1024:+.1f} MiB in the median life, {self.most_kib / 1024:+.1f} MiB at most"
        return f"{verdict}; {grown}; {self.judged} of {self.lives} lives judged, the longest {self.longest:.0f} s"


def _kib(status: str, name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+)", status)
    return int(found[1]) if found else 0
