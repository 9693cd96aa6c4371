"""`rowcast api`: the HTTP API by itself, over a journal that `rowcast serve --no-api` writes."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from contextlib import suppress

import uvloop

from api.app import create_app
from api.limits import Asgi
from api.server import ApiServer
from api.table import ResultTable
from api.writer import ResultWriter
from journal.errors import JournalError
from journal.reader import ReadOnlyJournal
from rowcast import metrics
from rowcast.errors import INTERNAL, TEMPORARY, Failure
from rowcast.serve import port_taken, writer_address
from rowcast.settings import Settings

logger = logging.getLogger(__name__)

_JOURNAL_WAIT = 30.0  # seconds: its owner may start after us
_LOOK = 1.0  # seconds between two looks at the journal
_DRAIN = 10.0  # seconds that requests get to end


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; a second signal ends at once. Raises ``Failure``."""
    uvloop.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, _signalled, stop)
    journal = await _journal(settings, stop)
    writer = ResultWriter(ResultTable(writer_address(settings)))
    server = ApiServer(_app(settings, journal, writer), settings.api.host, settings.api.port)
    try:
        await server.start()
    except OSError as error:
        raise port_taken("api", settings.api.host, settings.api.port, error) from error
    await writer.start()
    logger.info("HTTP API and live page on http://%s:%d/", settings.api.host, server.port)
    try:
        await _watch(journal, stop)
    finally:
        await server.stop(_DRAIN)
        await writer.close()
        await journal.close()


def _signalled(stop: asyncio.Event) -> None:
    if stop.is_set():
        os._exit(INTERNAL)  # asked twice: now
    stop.set()


async def _journal(settings: Settings, stop: asyncio.Event) -> ReadOnlyJournal:
    """The journal, once its owner has made it."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _JOURNAL_WAIT
    while True:
        try:
            return await ReadOnlyJournal.open(settings.journal.path)
        except JournalError as error:
            if stop.is_set() or loop.time() > deadline:
                hint = "is `rowcast serve --no-api` running, with the same journal.path?"
                raise Failure(f"journal.path: {error}", hint, TEMPORARY) from error
        await _sleep(stop)


async def _watch(journal: ReadOnlyJournal, stop: asyncio.Event) -> None:
    """Until told to stop. A journal that was replaced ends us: whoever starts us again finds the new one."""
    while not stop.is_set():
        if reason := _broken(journal):
            raise Failure(f"journal.path: {reason}", "start again with the journal that is there now", TEMPORARY)
        await _sleep(stop)


async def _sleep(stop: asyncio.Event) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), _LOOK)


def _broken(journal: ReadOnlyJournal) -> str | None:
    try:
        journal.channels()
    except JournalError as error:
        return str(error)
    return None


def _app(settings: Settings, journal: ReadOnlyJournal, writer: ResultWriter) -> Asgi:
    def readiness() -> tuple[bool, dict[str, str | None]]:
        checks = {"database": writer.error, "journal": _broken(journal)}
        return not any(checks.values()), checks

    return create_app(
        results=writer,
        journal=journal,
        readiness=readiness,
        metrics=metrics.exposition(metrics.journal_figures(journal), metrics.writer_figures(writer)),
        page_settings={"gateway_port": settings.gateway.port},
        keys=settings.api.keys,
        max_body=settings.api.max_body,
    )
