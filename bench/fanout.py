"""A burst of rows to a thousand subscribers: deliveries a second until everybody has the last row."""

from __future__ import annotations

import time
from collections.abc import Callable

from bench.figures import OURS, Figure, Goal
from bench.stage import Program, Stage, cpu_seconds, reason
from devenv.errors import SetUpError

SUBSCRIBE = '{"type":"subscribe","channel":"cctv_updates"}'
SUBSCRIBED = '"subscribed"'
WS, BROADCAST, UWS = "Node ws", "websockets.broadcast", "uWebSockets"
_CLIENTS = 1000
_SECONDS = 120.0
_TICK = 0.01  # seconds, the step of the kernel's account
_WATCHED = 5  # clients whose every frame is looked at

Start = Callable[[Stage], Program]
SERVERS: dict[str, Start] = {
    OURS: lambda stage: stage.python("bench.alone", {"folder": str(stage.folder)}),
    BROADCAST: lambda stage: stage.peer("broadcast.py"),
    WS: lambda stage: stage.peer("ws.mjs"),
    UWS: lambda stage: stage.peer("socketify_server.py"),
}


def bench(stage: Stage) -> list[Figure]:
    """All figures of this file."""
    peers = 40 if stage.quick else 200
    rows = {OURS: 2000, BROADCAST: peers, WS: peers, UWS: peers}
    return burst(stage, _CLIENTS, rows, rounds=2 if stage.quick else 3)


def burst(stage: Stage, clients: int, rows: dict[str, int], rounds: int) -> list[Figure]:
    """Each server gets the burst that it can take in a few seconds; the rate is what is compared."""
    wall = Figure("fanout", f"burst to {clients:,} subscribers", "deliveries/s")
    wall.goals = (Goal(1_000_000), Goal(15, WS))
    cpu = Figure("fanout.cpu", f"{wall.title}, by the server's own CPU time", "deliveries/CPU s")
    cpu.goals = (Goal(15, WS),)
    for _ in range(rounds):
        for name, start in SERVERS.items():
            if name in wall.skipped:
                continue
            try:
                seconds, busy = one(stage, start, clients, rows[name])
            except (SetUpError, RuntimeError) as error:
                wall.skipped[name] = cpu.skipped[name] = reason(error)
                continue
            wall.add(name, clients * rows[name] / seconds)
            cpu.add(name, clients * rows[name] / busy)
    return [wall, cpu]


def one(stage: Stage, start: Start, clients: int, rows: int) -> tuple[float, float]:
    """One burst through a fresh server: seconds until all had it, and of the server's CPU time."""
    with start(stage) as server, stage.python("bench.swarm", {}) as swarm:
        port = server.hear(30)["ready"]
        swarm.ask(60, do="connect", port=port, count=clients, subscribe=SUBSCRIBE, until=SUBSCRIBED)
        swarm.ask(10, do="burst", watched=_WATCHED, seconds=_SECONDS)
        busy, began = cpu_seconds(server.pid), time.monotonic()
        server.tell(burst=rows)
        done = swarm.hear(_SECONDS + 10)
        if done["rows"] != rows or done["lost"]:
            raise RuntimeError(f"{rows} rows were sent, {done['rows']} arrived, {done['lost']} clients were lost")
        return done["ended"] - began, max(cpu_seconds(server.pid) - busy, _TICK)
