"""Everybody comes back at once, far behind, while rows are being written and others watch live."""

from __future__ import annotations

import time

from bench.contenders import address
from bench.detections import insert, make_tables
from bench.fanout import SUBSCRIBE, SUBSCRIBED
from bench.figures import OURS, Figure, Goal
from bench.product import Product
from bench.stage import Stage, peak_mib, reason
from devenv.errors import SetUpError

_CHANNEL = "cctv_updates"
_BEHIND = 1000
_RATE, _LONGEST = 100, 120.0
_WATCHING = 50  # live clients whose arrivals are timed
_CALM = 3.0  # seconds of the same without a storm


def bench(stage: Stage) -> list[Figure]:
    """All figures of this file."""
    return storm(stage, 2000 if stage.quick else 10_000, rounds=1)


def storm(stage: Stage, clients: int, rounds: int) -> list[Figure]:
    """All figures; there is no peer that can do it."""
    title = f"{clients:,} clients return at once, {_BEHIND:,} events behind, during {_RATE} inserts/s"
    whole = Figure("storm", f"{title}: until all are live", "s", (Goal(20),), less=True)
    live = Figure("storm.live", f"{title}: live subscribers' p99 meanwhile", "ms", (Goal(100),), less=True)
    calm = Figure("storm.calm", "the same without a storm: live subscribers' p99", "ms", less=True)
    memory = Figure("storm.memory", f"{title}: peak memory of `rowcast serve`", "MiB", less=True)
    for _ in range(rounds):
        try:
            taken = one(stage, clients)
        except (SetUpError, RuntimeError) as error:
            whole.skipped[OURS] = live.skipped[OURS] = reason(error)
            break
        for figure, sample in zip((whole, live, calm, memory), taken, strict=True):
            figure.add(OURS, sample)
    return [figure for figure in (whole, live, calm, memory) if figure.samples or figure.skipped]


def one(stage: Stage, clients: int) -> tuple[float, float, float, float]:
    """Seconds until all are live, p99 of those who watch in the storm and before it (ms), peak memory (MiB)."""
    server = stage.server("mariadb")
    make_tables(server)
    with (
        Product(stage, server) as ours,
        stage.python("bench.swarm", {}) as watching,
        stage.python("bench.swarm", {}) as returning,
        stage.python("bench.writer", address(server)) as writer,
    ):
        ours.start()
        insert(server, _BEHIND, 100)
        ours.wait_for_head(_CHANNEL, _BEHIND)
        port = ours.gateway_port
        watching.ask(60, do="connect", port=port, count=_WATCHING, subscribe=SUBSCRIBE, until=SUBSCRIBED)
        watching.ask(10, do="hurry", count=_WATCHING)
        rows = writer.ask(_CALM + 60, rate=_RATE, seconds=_CALM)["rows"]
        calm = watching.ask(70, do="latency", rows=rows, seconds=60)
        again = f'{{"type":"subscribe","channel":"{_CHANNEL}","epoch":"{ours.epoch()}","offset":{rows}}}'
        writer.tell(rate=_RATE, seconds=_LONGEST)
        time.sleep(0.5)
        order = {"do": "connect", "port": port, "count": clients, "subscribe": again, "until": '"type":"live"'}
        done = returning.ask(310, **order, at_once=True)
        writer.tell(stop=True)
        taken = watching.ask(70, do="latency", rows=writer.hear(60)["rows"], seconds=60)
        return done["seconds"], taken["p99"], calm["p99"], peak_mib(ours.pid)
