"""From the writing of a row to its arrival at a client, at 100 rows a second."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from bench.contenders import Running, address, feed, original, product
from bench.detections import make_tables
from bench.fanout import SUBSCRIBED
from bench.figures import OURS, Figure, Goal
from bench.stage import Stage, reason
from devenv.database import Server
from devenv.errors import SetUpError

FEED, ORIGINAL = "Node zongji + ws", "Express + mysql2 + ws"
PARTS = ("p50", "p95", "p99")
_RATE = 100
_WARM = 1.0  # seconds that are not counted
_MEASURING = 50  # clients whose arrivals are timed; the others are there to be served

Start = Callable[[Stage, Server], AbstractContextManager[Running]]
BY_INSERT: dict[str, Start] = {OURS: product, FEED: feed}
BY_POST: dict[str, Start] = {OURS: product, ORIGINAL: original}


def bench(stage: Stage) -> list[Figure]:
    """All figures of this file."""
    rounds, seconds = (1, 3.0) if stage.quick else (3, 5.0)
    figures: list[Figure] = []
    for clients in (10, 1000):
        figures += latency(stage, clients, BY_INSERT, seconds, rounds)
        figures += latency(stage, clients, BY_POST, seconds, rounds)
    return figures


def latency(stage: Stage, clients: int, systems: dict[str, Start], seconds: float, rounds: int) -> list[Figure]:
    """One figure for each part; the systems in turns."""
    how, key = ("POST", "post") if systems is BY_POST else ("INSERT", "insert")
    title = f"{how} → client, {_RATE}/s, {clients:,} subscribers"
    figures = {part: Figure(f"latency.{key}.{clients}.{part}", f"{title}, {part}", "ms", less=True) for part in PARTS}
    _set_goals(figures, clients, by_post=systems is BY_POST)
    for _ in range(rounds):
        for name in [name for name in systems if name not in figures["p50"].skipped]:
            try:
                taken = one(stage, systems[name], clients, seconds, by_post=systems is BY_POST)
            except (SetUpError, RuntimeError) as error:
                for figure in figures.values():
                    figure.skipped[name] = reason(error)
                continue
            for part, figure in figures.items():
                figure.add(name, taken[part])
    return list(figures.values())


def _set_goals(figures: dict[str, Figure], clients: int, *, by_post: bool) -> None:
    peer = Goal(1, ORIGINAL if by_post else FEED)
    for part, figure in figures.items():
        if part == "p95":
            continue
        figure.goals = (peer,)
        if clients == 1000 and not by_post:
            figure.goals = (Goal(5 if part == "p50" else 25), peer)


def one(stage: Stage, start: Start, clients: int, seconds: float, *, by_post: bool) -> dict[str, float]:
    """Milliseconds, as percentiles over all rows and all clients that measure."""
    server = stage.server("mariadb")
    make_tables(server)
    channel = "scraped_updates" if by_post else "cctv_updates"
    subscribe = f'{{"type":"subscribe","channel":"{channel}"}}'
    with (
        start(stage, server) as system,
        stage.python("bench.swarm", {}) as swarm,
        stage.python("bench.writer", address(server)) as writer,
    ):
        post = system.post if by_post else ""
        swarm.ask(60, do="connect", port=system.port, count=clients, subscribe=subscribe, until=SUBSCRIBED)
        swarm.ask(10, do="hurry", count=_MEASURING)
        taken: dict[str, float] = {}
        for span in (_WARM, seconds):
            rows = writer.ask(span + 60, rate=_RATE, seconds=span, post=post)["rows"]
            taken = swarm.ask(70, do="latency", rows=rows, seconds=60)
            if taken["lost"] or taken["rows"] != rows * min(clients, _MEASURING):
                raise RuntimeError(f"{rows} rows were written, {taken['rows']} arrivals seen, {taken['lost']} lost")
        return taken
