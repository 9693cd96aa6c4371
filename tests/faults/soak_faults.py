"""The faults of a soak: each does its harm, and returns when it is over and recovery can begin."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping
from random import Random

from devenv.children import strike
from tests.faults.proxy import CuttingProxy
from tests.faults.soak_stage import Stage

Fault = Callable[[Stage, Random], Awaitable[None]]
DUMP_THREADS = "SELECT id FROM information_schema.processlist WHERE command = 'Binlog Dump'"


async def _kill_serve(stage: Stage, _: Random) -> None:
    stage.note_memory()
    stage.product.kill()
    stage.product.start()


async def _stop_serve(stage: Stage, chance: Random) -> None:
    assert stage.product.process is not None
    strike(stage.product.process, signal.SIGSTOP)
    await asyncio.sleep(chance.uniform(1, 12))
    strike(stage.product.process, signal.SIGCONT)


async def _end_serve(stage: Stage, _: Random) -> None:
    stage.note_memory()
    await asyncio.to_thread(stage.product.stop)
    stage.product.start()


async def _kill_database(stage: Stage, chance: Random) -> None:
    await asyncio.to_thread(stage.server.kill)
    await asyncio.sleep(chance.uniform(0, 3))
    await asyncio.to_thread(stage.server.start)


async def _restart_database(stage: Stage, _: Random) -> None:
    await asyncio.to_thread(stage.server.restart)


async def _kill_both(stage: Stage, _: Random) -> None:
    stage.note_memory()
    stage.product.kill()
    await asyncio.to_thread(stage.server.kill)
    await asyncio.to_thread(stage.server.start)
    stage.product.start()


async def _kill_dump_thread(stage: Stage, _: Random) -> None:
    for number in (await asyncio.to_thread(stage.server.sql, DUMP_THREADS)).split():
        await asyncio.to_thread(stage.server.sql, f"KILL {number}")


async def _cut_link(stage: Stage, chance: Random) -> None:
    await _cut(stage.link, chance.randint(1, 3), chance)


async def _black_hole(stage: Stage, chance: Random) -> None:
    stage.link.pause()
    await asyncio.sleep(chance.uniform(2, 15))  # noticed after 10 s, so both kinds come
    stage.link.resume()


async def _throttle(stage: Stage, chance: Random) -> None:
    stage.link.bytes_per_second = 20_000
    await asyncio.sleep(chance.uniform(3, 10))
    stage.link.bytes_per_second = None


async def _cut_clients(stage: Stage, chance: Random) -> None:
    await _cut(stage.client_link, chance.randint(1, 5), chance)


async def _cut(proxy: CuttingProxy, times: int, chance: Random) -> None:
    for _ in range(times - 1):
        proxy.cut()
        await asyncio.sleep(chance.uniform(0.05, 0.5))
    proxy.cut()


async def _flush_logs(stage: Stage, _: Random) -> None:
    await asyncio.to_thread(stage.server.sql, "FLUSH BINARY LOGS")


FAULTS: Mapping[str, Fault] = {
    "rowcast killed (-9)": _kill_serve,
    "rowcast stopped, continued": _stop_serve,
    "rowcast ended by SIGTERM": _end_serve,
    "database killed (-9)": _kill_database,
    "database restarted": _restart_database,
    "both killed at once": _kill_both,
    "dump thread killed": _kill_dump_thread,
    "link cut": _cut_link,
    "link silent": _black_hole,
    "link throttled": _throttle,
    "clients' links cut": _cut_clients,
    "log flushed": _flush_logs,
}


def order(chance: Random) -> list[str]:
    """Every fault once, shuffled: drawn in rounds, each kind comes as often as the others, and in every order."""
    return chance.sample(list(FAULTS), len(FAULTS))
