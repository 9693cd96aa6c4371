"""``./dev soak``: the whole product under load and random faults, and a report of what its clients were sent.

Every fault ends with a row that is committed only then. Once each client has it, what they were sent since the last
such row is compared with the table; at the end, all of it with the server's own log.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from devenv.database import find_or_fetch
from devenv.errors import SetUpError
from tests.faults.soak_crowd import CROWD_RETURNS, crowd_returns, crowd_size
from tests.faults.soak_faults import FAULTS, order
from tests.faults.soak_figures import write
from tests.faults.soak_report import QUIET, Report
from tests.faults.soak_stage import Outcome, Stage

ROOT = Path(__file__).resolve().parents[2]
GUARANTEES = ROOT / "docs" / "guarantees.md"
SHORTEST = 1.0  # seconds of quiet before a fault


async def soak(stage: Stage, report: Report, minutes: float, crowd: int) -> None:
    """Harm, wait for recovery, judge; until the time is over. ``crowd`` clients return at once in the beginning."""
    chance = random.Random(report.seed)
    began = time.monotonic()
    end = began + 60 * minutes
    outcome = await stage.fill()
    report.add(QUIET, outcome)
    _tell(began, "memory tail filled", outcome)
    await crowd_returns(stage, crowd)
    _tell(began, f"{CROWD_RETURNS} ({crowd})", await _note(stage, report, CROWD_RETURNS))
    round_: list[str] = []
    while True:
        due = time.monotonic() + max(SHORTEST, chance.expovariate(1 / report.every))
        if due > end:
            await asyncio.sleep(max(0.0, end - time.monotonic()))
            break
        round_ = round_ or order(chance, stage)
        kind = round_.pop()
        await asyncio.sleep(due - time.monotonic())
        await FAULTS[kind](stage, chance)
        _tell(began, kind, await _note(stage, report, kind))
    _tell(began, QUIET, await _note(stage, report, QUIET))


async def _note(stage: Stage, report: Report, kind: str) -> Outcome:
    outcome = await stage.check()
    report.add(kind, outcome)
    return outcome


def _tell(began: float, kind: str, outcome: Outcome) -> None:
    wrong = "" if all(verdict.clean for verdict in outcome.verdicts) and not outcome.gaps else "  WRONG"
    minutes, seconds = divmod(int(time.monotonic() - began), 60)
    print(f"{minutes:4}:{seconds:02}  {kind:<30} {outcome.rows:6} rows, caught up in {outcome.recovered:6.2f} s{wrong}")
    for verdict in outcome.verdicts if wrong else ():
        print(f"         {verdict}")
    if outcome.gaps:
        print(f"         {outcome.gaps} gaps too many or too few, {list(outcome.announced)} were due")
    sys.stdout.flush()


async def _run(report: Report, dev_dir: Path) -> None:
    installation = find_or_fetch(dev_dir, report.server)
    report.version = f"{report.server} {installation.version().partition('Ver ')[2].partition(' for ')[0]}"
    folder = dev_dir / "soak" / f"run-{os.getpid()}"
    folder.mkdir(parents=True)
    began = time.monotonic()
    crowd = crowd_size()
    stage = Stage(installation, folder, seed=report.seed, rate=report.rate, minutes=report.minutes)
    try:
        async with stage:
            try:
                await soak(stage, report, report.minutes, crowd)
                report.order_errors = await asyncio.to_thread(stage.out_of_log_order)
            except TimeoutError:
                report.failure = f"a client did not catch up\n{stage.product.last_words()}"
            except Exception as error:  # whatever ended it, the figures so far are worth printing
                report.failure = repr(error)
                raise
            finally:
                report.seconds = time.monotonic() - began
                report.memory, report.lives = stage.memory.growth(), stage.memory.lives
    finally:
        if report.clean:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print(f"logs and data are kept in {folder}")
        print("\n" + report.text(), f"kept as {report.save(dev_dir / 'soak')} and .json", sep="")


def main() -> int:
    """Parse, run, report; 0 when nothing went wrong, 1 when something did, 69 without a server."""
    chosen = _parse()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end in order, and leave no process behind
    print(f"seed {chosen.seed}", flush=True)
    report = Report(chosen.seed, chosen.minutes, chosen.every, chosen.rate, chosen.server)
    dev_dir = (ROOT / os.environ.get("ROWCAST_DEV_DIR", ".dev")).resolve()
    try:
        asyncio.run(_run(report, dev_dir))
    except SetUpError as error:
        print(f"soak: {error}\n{error.hint}".rstrip(), file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        return 130
    if chosen.write:
        write(report, GUARANTEES, datetime.now(UTC).date())
        print(f"written into {GUARANTEES.relative_to(ROOT)}")
    return 0 if report.clean else 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev soak", description="The product under load and random faults.")
    parser.add_argument("--minutes", type=float, required=True, help="how long")
    parser.add_argument("--server", choices=("mariadb", "mysql"), default="mariadb", help="the source (mariadb)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32), help="repeats a run")
    parser.add_argument("--every", type=float, default=20.0, help="seconds between faults on average (20)")
    parser.add_argument("--rate", type=float, default=80.0, help="rows in a second (80)")
    parser.add_argument("--write", action="store_true", help="put the figures into docs/guarantees.md")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
