"""The commands of ``./dev``."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence

from devenv import interpreter, lock, settings, up, venv
from devenv.children import end, spawn
from devenv.database import find_or_fetch
from devenv.errors import ChildDied, SetUpError, Unavailable
from devenv.settings import ROOT, DevSettings

# The tests wait for servers and processes most of their time. What is given last counts: ./dev test -n 0 is one by one.
_SIDE_BY_SIDE = ("-n", str((os.cpu_count() or 2) + 1), "--dist", "worksteal")

_PROGRAMS = {"bench": "bench", "mutants": "tests.models.mutants", "soak": "tests.faults.soak"}

_DESCRIPTION = """\
Rowcast on this machine. Everything is set up below .dev/ and nowhere else.

  ./dev up [--no-demo]   run everything and print the addresses; Ctrl-C stops it
  ./dev test [ARGS]      run the tests; ARGS go to pytest; --long: also what takes minutes
  ./dev soak [ARGS]      everything under load and random faults for --minutes N, and what came of it (docs/soak.md)
  ./dev bench [ARGS]     how fast it is beside others, measured here; --quick for two minutes (docs/performance.md)
  ./dev mutants [NAMES]  break the product line by line, and see that the models notice
  ./dev sql [-e STMT]    a prompt in the private database
  ./dev rowcast [ARGS]   the command rowcast, with the settings of ./dev up: ./dev rowcast check
  ./dev lint             ruff and mypy
  ./dev down             stop a running ./dev up
  ./dev reset            remove the data: database, journal, logs
  ./dev lock [--upgrade] make the lock files anew

Several copies side by side, by the environment:
  ROWCAST_DEV_DIR (.dev)          ROWCAST_DEV_MYSQL_PORT (3307)   ROWCAST_GATEWAY_PORT (8080)
  ROWCAST_API_PORT (8000)         ROWCAST_DEMO_PORT (8001)
  ROWCAST_MYSQL_URL               a database of your own instead of the private one; no demo
  MARIADBD, MYSQLD, CHROMIUM      programs to use instead of those found or fetched
  ROWCAST_DEV_PYTHON              the Python to use; otherwise this one, or /usr/bin/python3 where it is a faster build
"""


def main(program: str, arguments: Sequence[str]) -> int:
    """Run one command, by the best Python there is; its exit code. Any error of the set-up is one message."""
    try:
        python = interpreter.better()
        if python is not None:
            interpreter.go_on_with(python, [program, *arguments])
        return _run(settings.read(), list(arguments))
    except SetUpError as error:
        if str(error):  # a child may have said it already
            print(f"dev: {error}\n{error.hint}".rstrip(), file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        return 130


def _run(dev: DevSettings, arguments: list[str]) -> int:
    if arguments[:1] == ["test"]:
        cache = f"cache_dir={dev.dev_dir / 'cache' / 'pytest'}"
        return _become(dev, "pytest", "-o", cache, *_SIDE_BY_SIDE, *arguments[1:])
    if arguments and (module := _PROGRAMS.get(arguments[0])):
        return _become(dev, module, *arguments[1:])
    if arguments[:1] == ["sql"]:
        return up.sql(dev, arguments[1:])
    if arguments[:1] == ["rowcast"]:
        return up.rowcast(dev, arguments[1:])
    chosen = _parse(arguments)
    match chosen.command:
        case "up":
            return up.up(dev, demo=not chosen.no_demo)
        case "lint":
            return _lint(dev)
        case "down":
            up.down(dev)
        case "reset":
            up.reset(dev)
        case "lock":
            lock.lock(dev, upgrade=chosen.upgrade)
    return os.EX_OK


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./dev", usage="./dev COMMAND", description=_DESCRIPTION, formatter_class=argparse.RawTextHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", help=argparse.SUPPRESS)
    commands.add_parser("up").add_argument("--no-demo", action="store_true", help="without made-up rows")
    commands.add_parser("lock").add_argument("--upgrade", action="store_true", help="take the newest versions")
    for name in ("bench", "down", "lint", "mutants", "reset", "rowcast", "soak", "sql", "test"):
        commands.add_parser(name)
    return parser.parse_args(arguments or ["--help"])


def _become(dev: DevSettings, module: str, *arguments: str) -> int:
    """Set up as ``up`` does, with the tests' packages, and become pytest or the like: its summary is the last line."""
    preparing = spawn([sys.executable, "-m", "devenv.venv", venv.TEST.name], environment=dev.environment(), cwd=ROOT)
    try:
        find_or_fetch(dev.dev_dir, "mariadb")
    except Unavailable as reason:
        print(f"dev: {reason}\n{reason.hint}", file=sys.stderr, flush=True)  # tests that need it are skipped
    finally:
        code = _wait(preparing)
    if code != 0:
        raise ChildDied("", code=code)
    # what the caller set for ./dev up is no business of the tests
    kept = {name: value for name, value in dev.environment().items() if not name.startswith("ROWCAST_")}
    environment = kept | {"ROWCAST_DEV_DIR": str(dev.dev_dir), interpreter.VARIABLE: sys.executable}
    command = [str(venv.python(dev.venv)), "-m", module, *arguments]
    os.chdir(ROOT)
    os.execve(command[0], command, environment)  # noqa: S606 - an argument list, no shell


def _wait(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait()
    except KeyboardInterrupt:
        end(process, 1)
        raise


def _lint(dev: DevSettings) -> int:
    venv.prepare(dev, venv.TEST)
    tool = str(dev.venv / "bin")
    cache = dev.dev_dir / "cache"
    commands = [
        [f"{tool}/ruff", "check", "--cache-dir", f"{cache}/ruff"],
        [f"{tool}/ruff", "format", "--check", "--cache-dir", f"{cache}/ruff"],
        [f"{tool}/mypy", "--cache-dir", f"{cache}/mypy"],
    ]
    codes = [subprocess.run(command, cwd=ROOT, check=False).returncode for command in commands]
    return max(codes)
