"""``./dev bench``: run benches, print the table, keep the samples."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import decode, fanout, filters, ingest, journal, latency, memory, results, slow, storm
from bench.figures import Figure, missed, table
from bench.stage import Stage
from devenv import settings

BENCHES: dict[str, Callable[[Stage], list[Figure]]] = {
    "decode": decode.bench,
    "fanout": fanout.bench,
    "latency": latency.bench,
    "memory": memory.bench,
    "storm": storm.bench,
    "slow": slow.bench,
    "filters": filters.bench,
    "ingest": ingest.bench,
    "journal": journal.bench,
}
ALL = [name for name in BENCHES if name != "journal"]  # a part of ours, which has no peers


def main(arguments: Sequence[str]) -> int:
    """Run the benches named; 0 however fast they were."""
    chosen = _parse(arguments)
    names = list(ALL) if "all" in chosen.benches else [name for name in BENCHES if name in chosen.benches]
    folder = settings.read().dev_dir / "bench"
    command = " ".join(["./dev", "bench", *arguments])
    taken = [_one(name, command, folder, quick=chosen.quick) for name in names]
    figures = [figure for run in taken for figure in run.figures]
    print("\n" + table(figures))
    for line in missed(figures):
        print(f"missed: {line}")
    if chosen.write:
        known = results.kept(folder, ALL)
        results.DOCUMENT.write_text(results.document(results.DOCUMENT.read_text(), known))
        print(f"written into {results.DOCUMENT}")
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("benches", nargs="*", default="all", choices=[*BENCHES, "all"], help="default: all")
    parser.add_argument("--quick", action="store_true", help="small loads, a few rounds: about two minutes for all")
    parser.add_argument("--write", action="store_true", help="put what was kept into docs/performance.md afterwards")
    return parser.parse_args(arguments)


def _one(name: str, command: str, folder: Path, *, quick: bool) -> results.Run:
    """One bench, kept as soon as it is done."""
    print(f"bench: {name} ...", flush=True)
    load, began = os.getloadavg()[0], time.monotonic()
    with Stage(folder.parent, quick=quick) as stage:
        figures = BENCHES[name](stage)
        run = results.run(name, command, load, stage.versions, figures)
    file = results.keep(folder, run)
    print(f"bench: {name} took {time.monotonic() - began:.0f} s, samples in {file}", flush=True)
    return run


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
