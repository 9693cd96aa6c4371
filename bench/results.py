"""What was measured, kept: raw samples with machine, date, versions and command as JSON, a chart, and the document."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import msgspec

from bench.chart import chart
from bench.figures import Figure, table
from devenv.settings import ROOT

DOCUMENT = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- bench: begin, written by ./dev bench --write -->", "<!-- bench: end -->"
_PACKAGES = ("websockets", "uvloop", "msgspec", "apsw", "mysql-replication", "PyMySQL")


class Machine(msgspec.Struct):
    """Where a run took place."""

    cpu: str
    cores: int
    memory_gib: float
    system: str
    versions: dict[str, str]


class Run(msgspec.Struct):
    """One run of one bench: when, by which command, of which commit, with which load before it, and its figures."""

    bench: str
    date: str
    command: str
    commit: str
    load: float
    machine: Machine
    figures: list[Figure]


def run(bench: str, command: str, load: float, versions: dict[str, str], figures: list[Figure]) -> Run:
    """Figures with the circumstances that they were taken in; ``load`` is the load average before."""
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return Run(bench, date, command, _commit(), load, machine(versions), figures)


def machine(versions: dict[str, str]) -> Machine:
    """What this is, with ``versions`` of what is not Python's."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    own = {"Python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}
    return Machine(
        _cpu(), os.cpu_count() or 0, round(memory, 1), f"{platform.system()} {platform.release()}", own | versions
    )


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def keep(folder: Path, taken: Run) -> Path:
    """Write one bench's run and its chart into ``folder``, in place of the bench's last one; the JSON's path."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{taken.bench}.json"
    file.write_bytes(msgspec.json.format(msgspec.json.encode(taken)) + b"\n")
    (folder / f"{taken.bench}.svg").write_text(chart(taken.figures))
    return file


def kept(folder: Path, benches: list[str]) -> list[Run]:
    """The last run of each bench that has one."""
    files = [folder / f"{bench}.json" for bench in benches]
    return [msgspec.json.decode(file.read_bytes(), type=Run) for file in files if file.exists()]


def document(text: str, runs: list[Run]) -> str:
    """The document with the figures of ``runs`` between its two marks."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{DOCUMENT.name} has lost the marks between which the table stands")
    return f"{before}{BEGIN}\n\n{_body(runs)}\n\n{END}{after}"


def _body(runs: list[Run]) -> str:
    parts = [f"### {taken.bench}\n\n{table(taken.figures)}\n\n{_circumstances(taken)}" for taken in runs]
    return "\n\n".join([*parts, f"### The machine\n\n{_machines(runs)}"])


def _circumstances(taken: Run) -> str:
    return f"`{taken.command}`, {taken.date}, commit {taken.commit}; load average {taken.load:.1f} when it began."


def _machines(runs: list[Run]) -> str:
    """A line for each machine, with all versions that its runs had."""
    versions: dict[str, dict[str, None]] = {}
    for taken in runs:
        known = taken.machine
        name = f"{known.cores} cores of {known.cpu}, {known.memory_gib:.0f} GiB, {known.system}"
        versions.setdefault(name, {}).update(dict.fromkeys(f"{what} {text}" for what, text in known.versions.items()))
    return "\n".join(f"- {name}; {', '.join(known)}." for name, known in versions.items())
