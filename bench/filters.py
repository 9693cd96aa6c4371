"""What filters cost: as many clients as cameras, each watching its own, beside as many that watch everything."""

from __future__ import annotations

from bench.fanout import SERVERS, SUBSCRIBE, SUBSCRIBED
from bench.figures import OURS, Figure, Goal
from bench.stage import Stage, reason
from devenv.errors import SetUpError

WITHOUT = "without filters"
_FILTERED = '{"type":"subscribe","channel":"cctv_updates","where":{"cctv_id":NUMBER}}'
_SECONDS = 120.0
_WATCHED = 5


def bench(stage: Stage) -> list[Figure]:
    """All figures of this file."""
    return filters(stage, *((2000, 3, 1) if stage.quick else (10_000, 5, 4)))


def filters(stage: Stage, clients: int, rows: int, rounds: int) -> list[Figure]:
    """With a filter for each client and with none, in turns."""
    title = f"{clients:,} clients with {clients:,} filters: event loop's CPU time for a delivered row"
    figure = Figure("filters", title, "µs", (Goal(1.5, WITHOUT),), less=True)
    for _ in range(rounds):
        try:
            figure.add(OURS, one(stage, clients, rows, cameras=clients))
            figure.add(WITHOUT, one(stage, clients, rows, cameras=1))
        except (SetUpError, RuntimeError) as error:
            figure.skipped[OURS] = reason(error)
            break
    return [figure]


def one(stage: Stage, clients: int, rows: int, cameras: int) -> float:
    """Each client is to get ``rows`` rows, one at a time: of its own camera, or of the only one."""
    with SERVERS[OURS](stage) as server, stage.python("bench.swarm", {}) as swarm:
        port = server.hear(30)["ready"]
        subscribe = _FILTERED if cameras > 1 else SUBSCRIBE
        swarm.ask(310, do="connect", port=port, count=clients, subscribe=subscribe, until=SUBSCRIBED)
        swarm.ask(10, do="burst", watched=_WATCHED, seconds=_SECONDS)
        before = server.ask(10, nothing=True)["loop_cpu"]
        server.tell(cameras=cameras, rounds=rows)
        server.hear(_SECONDS)
        done = swarm.hear(_SECONDS + 10)
        if done["rows"] != rows or done["lost"]:
            raise RuntimeError(f"{rows} rows each were sent, {done['rows']} arrived, {done['lost']} clients were lost")
        used: float = server.ask(10, nothing=True)["loop_cpu"] - before
        return used / (clients * rows) * 1e6
