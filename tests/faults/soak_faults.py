"""The faults of a soak: each does its harm, and returns when it is over and recovery can begin."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from random import Random

from devenv.children import strike
from tests.faults.binlog import files
from tests.faults.proxy import CuttingProxy
from tests.faults.soak_stage import Stage

DISK_FULL = "the journal's disk full"
Fault = Callable[[Stage, Random], Awaitable[None]]
DUMP_THREADS = "SELECT id FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%'"


async def _kill_serve(stage: Stage, _: Random) -> None:
    stage.memory.look()
    stage.product.kill()
    stage.product.start()


async def _stop_serve(stage: Stage, chance: Random) -> None:
    assert stage.product.process is not None
    strike(stage.product.process, signal.SIGSTOP)
    await asyncio.sleep(chance.uniform(1, 12))
    strike(stage.product.process, signal.SIGCONT)


async def _end_serve(stage: Stage, _: Random) -> None:
    stage.memory.look()
    await asyncio.to_thread(stage.product.stop)
    stage.product.start()


async def _kill_database(stage: Stage, chance: Random) -> None:
    await asyncio.to_thread(stage.server.kill)
    await asyncio.sleep(chance.uniform(0, 3))
    await asyncio.to_thread(stage.server.start)


async def _restart_database(stage: Stage, _: Random) -> None:
    await asyncio.to_thread(stage.server.restart)


async def _kill_both(stage: Stage, _: Random) -> None:
    stage.memory.look()
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


async def _purge_behind_a_cut_link(stage: Stage, chance: Random) -> None:
    stage.link.refusing = True
    stage.link.cut()
    await asyncio.sleep(chance.uniform(0, 4))
    await asyncio.to_thread(_purge, stage)
    await asyncio.sleep(chance.uniform(0, 1))
    stage.link.refusing = False


async def _purge_while_away(stage: Stage, chance: Random) -> None:
    stage.memory.look()
    await asyncio.to_thread(stage.product.stop)
    await asyncio.sleep(chance.uniform(0, 4))
    await asyncio.to_thread(_purge, stage)
    stage.product.start()


def _purge(stage: Stage) -> None:
    """Let go of all files but a new one; the server does that only when nobody reads them."""
    stage.expected.append("purged")
    deadline = time.monotonic() + 30
    with stage.quiet():
        stage.server.sql("FLUSH BINARY LOGS; FLUSH BINARY LOGS")
        newest = files(stage.server)[-1]
        while files(stage.server) != [newest]:
            assert time.monotonic() < deadline, "the server does not let go of its log"
            stage.server.sql(f"PURGE BINARY LOGS TO '{newest}'")
            time.sleep(0.05)


async def _reset_under_our_eyes(stage: Stage, _: Random) -> None:
    await asyncio.to_thread(_reset, stage)


async def _reset_while_away(stage: Stage, chance: Random) -> None:
    stage.memory.look()
    stage.product.kill()
    await asyncio.sleep(chance.uniform(0, 4))
    await asyncio.to_thread(_reset, stage)
    await asyncio.sleep(chance.uniform(0, 4))
    stage.product.start()


def _reset(stage: Stage) -> None:
    stage.expected.append("reset")
    with stage.quiet():
        try:
            stage.server.sql("RESET MASTER")
        except RuntimeError:  # MySQL from 8.4 on calls it otherwise
            stage.server.sql("RESET BINARY LOGS AND GTIDS")


async def _fill_disk(stage: Stage, chance: Random) -> None:
    await asyncio.to_thread(stage.disk.fill)
    async with asyncio.timeout(60):
        while "no room" not in str((await stage.product.readiness())[1].get("checks", {}).get("journal")):
            await asyncio.sleep(0.05)
    await asyncio.sleep(chance.uniform(0, 4))
    await asyncio.to_thread(stage.disk.free)


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
    "log purged behind a cut link": _purge_behind_a_cut_link,
    "log purged while away": _purge_while_away,
    "log reset": _reset_under_our_eyes,
    "log reset while away": _reset_while_away,
    DISK_FULL: _fill_disk,
}


def order(chance: Random, stage: Stage) -> list[str]:
    """Every fault once, shuffled: drawn in rounds, each kind comes as often as the others, and in every order."""
    kinds = [kind for kind in FAULTS if kind != DISK_FULL or stage.disk.small]
    return chance.sample(kinds, len(kinds))
