"""Memory of an idle, subscribed connection, and how fast connections are taken."""

from __future__ import annotations

import time

from bench.fanout import BROADCAST, SERVERS, SUBSCRIBE, SUBSCRIBED, WS, Start
from bench.figures import Figure, Goal
from bench.stage import Stage, cpu_seconds, reason, resident_mib
from devenv.errors import SetUpError

_FIRST = 200  # connections that warm the server up
_SETTLE = 2.0
_NAMES = {BROADCAST: "websockets"}  # nothing is broadcast here


def bench(stage: Stage) -> list[Figure]:
    """All figures of this file."""
    return idle(stage, 2000 if stage.quick else 10_000, rounds=1 if stage.quick else 2)


def idle(stage: Stage, clients: int, rounds: int) -> list[Figure]:
    """Hold ``clients`` connections; the servers in turns."""
    memory = Figure("memory", f"memory of an idle, subscribed connection, {clients:,} held", "KiB", less=True)
    memory.goals = (Goal(6),)
    rate = Figure("memory.connect", f"connections taken, {clients:,} of them", "/s", (Goal(1, WS),))
    cpu = Figure("memory.connect.cpu", f"{rate.title}, by the server's own CPU time", "/CPU s", (Goal(1, WS),))
    for _ in range(rounds):
        for server, start in SERVERS.items():
            name = _NAMES.get(server, server)
            if name in memory.skipped:
                continue
            try:
                taken = one(stage, start, clients)
            except (SetUpError, RuntimeError) as error:
                memory.skipped[name] = rate.skipped[name] = cpu.skipped[name] = reason(error)
                continue
            for figure, sample in zip((memory, rate, cpu), taken, strict=True):
                figure.add(name, sample)
    return [memory, rate, cpu]


def one(stage: Stage, start: Start, clients: int) -> tuple[float, float, float]:
    """KiB a connection, connections a second, and the same by the server's CPU time."""
    with start(stage) as server, stage.python("bench.swarm", {}) as swarm:
        port = server.hear(30)["ready"]
        connect = {"do": "connect", "port": port, "subscribe": SUBSCRIBE, "until": SUBSCRIBED}
        swarm.ask(60, **connect, count=_FIRST)
        time.sleep(_SETTLE)
        before, busy = resident_mib(server.pid), cpu_seconds(server.pid)
        count = clients - _FIRST
        done = swarm.ask(310, **connect, count=count)
        busy = cpu_seconds(server.pid) - busy
        time.sleep(_SETTLE)
        if done["again"]:
            raise RuntimeError(f"{done['again']} of {count} connections had to be tried again")
        kib = (resident_mib(server.pid) - before) * 1024 / count
        return kib, count / done["seconds"], count / max(busy, 0.01)
