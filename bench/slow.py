"""One client that never reads, among a thousand that do."""

from __future__ import annotations

import time

from bench.fanout import SERVERS, SUBSCRIBE, SUBSCRIBED
from bench.figures import OURS, Figure, Goal
from bench.stage import Program, Stage, reason, resident_mib
from devenv.errors import SetUpError

WITHOUT = "without it"
_CLIENTS = 1000
_RATE, _SIZE = 100, 2000  # rows a second and bytes of each
_WARM = 2.0
_MEASURING = 50
_BOUND = 1.0  # MiB, gateway.max_buffer


def bench(stage: Stage) -> list[Figure]:
    """All figures of this file."""
    rounds, seconds = (1, 6.0) if stage.quick else (3, 10.0)
    return slow(stage, _CLIENTS, seconds, rounds)


def slow(stage: Stage, clients: int, seconds: float, rounds: int) -> list[Figure]:
    """With such a client and without, in turns."""
    title = f"one of {clients:,} clients never reads, {_RATE * _SIZE // 1000} KB/s to each"
    others = Figure("slow.p99", f"{title}: p99 of the others", "ms", (Goal(1.2, WITHOUT),), less=True)
    memory = Figure("slow.memory", f"{title}: memory beyond a run without it", "MiB", (Goal(_BOUND),), less=True)
    for _ in range(rounds):
        try:
            grown, late = one(stage, clients, seconds, deaf=1)
            usual, prompt = one(stage, clients, seconds, deaf=0)
        except (SetUpError, RuntimeError) as error:
            others.skipped[OURS] = memory.skipped[OURS] = reason(error)
            break
        others.add(OURS, late)
        others.add(WITHOUT, prompt)
        memory.add(OURS, grown - usual)
    return [others, memory]


def one(stage: Stage, clients: int, seconds: float, deaf: int) -> tuple[float, float]:
    """MiB by which the gateway has grown after so long, and the p99 of those who read (ms)."""
    with SERVERS[OURS](stage) as server, stage.python("bench.swarm", {}) as swarm:
        port = server.hear(30)["ready"]
        swarm.ask(60, do="connect", port=port, count=clients + deaf, subscribe=SUBSCRIBE, until=SUBSCRIBED)
        if deaf:
            swarm.ask(10, do="deafen", count=deaf)
        swarm.ask(10, do="hurry", count=_MEASURING)
        _write(server, swarm, _WARM)
        before = resident_mib(server.pid)
        taken = _write(server, swarm, seconds)
        time.sleep(0.5)
        return resident_mib(server.pid) - before, taken["p99"]


def _write(server: Program, swarm: Program, seconds: float) -> dict[str, float]:
    server.tell(rate=_RATE, seconds=seconds, size=_SIZE)
    rows = server.hear(seconds + 120)["rows"]
    return swarm.ask(130, do="latency", rows=rows, seconds=120)
