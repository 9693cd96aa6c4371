"""From the binary log to JSON text: rows a second, and the memory that catching up takes."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from bench.detections import SCHEMA, TABLE, insert, make_tables
from bench.figures import OURS, Figure, Goal
from bench.product import Product
from bench.stage import Stage, peak_mib, reason
from cdc.control import Control
from devenv.database import Server
from devenv.errors import SetUpError, Unavailable
from devenv.installation import Flavour

JOURNAL = "rowcast with its journal"
LIBRARY, ZONGJI, BINLOG = "library + json", "zongji", "binlog tool -v"
_SLOW = 5  # the library gets a fifth of the rows
_AGE = 6  # seconds; the log is searched for an ALTER when a table is not five older than its rows (decision 16)
_NAMES: dict[Flavour, str] = {"mariadb": "MariaDB", "mysql": "MySQL"}
Contender = Callable[[Stage, Server, dict[str, Any]], dict[str, Any]]


def bench(stage: Stage) -> list[Figure]:
    """All figures of this file."""
    rounds, many, few = (2, 40_000, 10_000) if stage.quick else (3, 300_000, 60_000)
    figures: list[Figure] = []
    for flavour in _NAMES:
        figures += throughput(stage, flavour, 100, many, rounds)
        figures += throughput(stage, flavour, 1, few, rounds)
    return [*figures, memory(stage, 100_000 if stage.quick else 1_000_000)]


_GOALS = {
    ("mariadb", 100): (Goal(250_000), Goal(6, LIBRARY), Goal(1, ZONGJI)),
    ("mariadb", 1): (Goal(50_000), Goal(8, LIBRARY)),
    ("mysql", 100): (Goal(110_000),),
}


def throughput(stage: Stage, flavour: Flavour, each: int, rows: int, rounds: int) -> list[Figure]:
    """Rows a second out of transactions of ``each`` rows, the contenders in turns."""
    kind = "single rows" if each == 1 else f"{each} rows a transaction"
    goals = _GOALS.get((flavour, each), ())
    wall = Figure(f"decode.{flavour}.{each}", f"binlog → JSON, {_NAMES[flavour]}, {kind}", "rows/s", goals)
    cpu = Figure(f"{wall.key}.cpu", f"{wall.title}, by the reader's own CPU time", "rows/CPU s", goals)
    try:
        server = stage.server(flavour)
    except SetUpError as error:
        wall.skipped[OURS] = cpu.skipped[OURS] = reason(error)
        return [wall, cpu]
    task = _written(server, rows, each)
    for _ in range(rounds):
        for name in [name for name in CONTENDERS if name not in wall.skipped]:
            try:
                answer = CONTENDERS[name](stage, server, task)
            except (SetUpError, RuntimeError, subprocess.SubprocessError) as error:
                wall.skipped[name] = cpu.skipped[name] = reason(error)
                continue
            wall.add(name, answer["rows"] / answer["seconds"])
            cpu.add(name, answer["rows"] / answer["cpu"])
    return [wall, cpu]


def _written(server: Server, rows: int, each: int) -> dict[str, Any]:
    """Write the rows, into a table that is older than they are; what a reader needs to find them."""
    make_tables(server)
    time.sleep(_AGE)
    address = {"host": "127.0.0.1", "port": server.port, "user": "root", "password": server.root_password}
    with Control(address) as control:
        start = control.end(gtids=True)
        insert(server, rows, each)
        end = control.end(gtids=True)
    place = {"file": start.file, "offset": start.offset, "gtid": start.gtid, "end": [end.file, end.offset]}
    return address | place | {"schema": SCHEMA, "table": TABLE, "rows": rows, "flavour": server.installation.flavour}


# Contenders


def _ours(stage: Stage, _: Server, task: dict[str, Any]) -> dict[str, Any]:
    return stage.run([sys.executable, "-m", "bench.read_log"], task)


def _with_journal(stage: Stage, _: Server, task: dict[str, Any]) -> dict[str, Any]:
    journal = stage.folder / "decode.db"
    try:
        return stage.run([sys.executable, "-m", "bench.read_log"], task | {"journal": str(journal)})
    finally:
        for file in stage.folder.glob("decode.db*"):
            file.unlink()


def _library(stage: Stage, _: Server, task: dict[str, Any]) -> dict[str, Any]:
    return stage.run(stage.peer_command("library.py"), task | {"rows": task["rows"] // _SLOW})


def _zongji(stage: Stage, _: Server, task: dict[str, Any]) -> dict[str, Any]:
    return stage.run(stage.peer_command("zongji.mjs"), task)


def _binlog(_: Stage, server: Server, task: dict[str, Any]) -> dict[str, Any]:
    """The server's own tool, which prints rows as SQL comments: how fast C does about the same."""
    program = server.installation.program("mariadb-binlog", "mysqlbinlog")
    if program is None:
        raise Unavailable("the installation has no binlog tool")
    options = ["--no-defaults", "--verbose", "--base64-output=DECODE-ROWS", "--read-from-remote-server"]
    login = ["--protocol=SOCKET", f"--socket={server.socket}", "--user=root"]
    first, (last, stop) = task["file"], task["end"]
    count = int(last.rpartition(".")[2]) - int(first.rpartition(".")[2]) + 1
    stem, width = first.rpartition(".")[0], len(first.rpartition(".")[2])
    files = [f"{stem}.{int(first.rpartition('.')[2]) + step:0{width}}" for step in range(count)]
    place = [f"--start-position={task['offset']}", f"--stop-position={stop}", *files]
    command = server.installation.command(program, *options, *login, *place)
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=server.client_environment(), stdout=subprocess.DEVNULL, check=True)
    seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"rows": task["rows"], "seconds": seconds, "cpu": cpu}


CONTENDERS: dict[str, Contender] = {
    OURS: _ours,
    LIBRARY: _library,
    ZONGJI: _zongji,
    BINLOG: _binlog,
    JOURNAL: _with_journal,
}


def memory(stage: Stage, rows: int) -> Figure:
    """The whole product, stopped while ``rows`` rows are written, then started: its peak memory until it has them."""
    figure = Figure(
        "decode.memory", f"peak memory of `rowcast serve` while catching up on {rows:,} rows", "MiB", less=True
    )
    figure.goals = (Goal(150),)
    try:
        server = stage.server("mariadb")
        make_tables(server)
        with Product(stage, server) as product:
            product.start()
            product.stop()
            insert(server, rows, 100)
            product.start()
            product.wait_for_head("cctv_updates", rows)
            figure.add(OURS, peak_mib(product.pid))
    except (SetUpError, RuntimeError) as error:
        figure.skipped[OURS] = reason(error)
    return figure
