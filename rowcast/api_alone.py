"""`rowcast api`: the HTTP API by itself, over a journal that `rowcast serve --no-api` writes.

Posts are saved whether or not that one runs.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal

import uvloop

from api.app import create_app
from api.feed import Feed
from api.limits import Asgi
from api.server import ApiServer
from api.table import ResultTable
from api.writer import ResultWriter
from journal.filter import Filters
from rowcast import garbage, metrics
from rowcast.errors import INTERNAL
from rowcast.serve import port_taken, reading_origins, writer_address
from rowcast.settings import Settings
from rowcast.shared_journal import SharedJournal

logger = logging.getLogger(__name__)

_DRAIN = 10.0  # seconds that requests get to end


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; a second signal ends at once. Raises ``Failure``."""
    uvloop.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, _signalled, stop)
    journal = SharedJournal(settings.journal.path)
    writer = ResultWriter(ResultTable(writer_address(settings)))
    feed = Feed(journal, filters=_filters(settings), max_readers=settings.api.max_readers)
    server = ApiServer(_app(settings, feed, journal, writer), settings.api.host, settings.api.port, feed.close)
    await writer.start()
    try:
        await _listen(server, settings)
        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(journal.keep_open())
            await stop.wait()
            await server.stop(_DRAIN)
            watch.cancel()
    finally:
        await writer.close()


async def _listen(server: ApiServer, settings: Settings) -> None:
    try:
        await server.start()
    except OSError as error:
        raise port_taken("api", settings.api.host, settings.api.port, error) from error
    garbage.settle()
    logger.info("HTTP API and live page on http://%s:%d/", settings.api.host, server.port)


def _signalled(stop: asyncio.Event) -> None:
    if stop.is_set():
        os._exit(INTERNAL)  # asked twice: now
    logger.info("stopping: requests get to end; a second signal ends at once")
    stop.set()


def _filters(settings: Settings) -> Filters:
    """Refuses a column by what the settings say alone: nobody here knows whether the source is caught up with."""
    channels = settings.channels
    return Filters(lambda name: channels[name].columns if name in channels else None)


def _app(settings: Settings, feed: Feed, journal: SharedJournal, writer: ResultWriter) -> Asgi:
    def readiness() -> tuple[bool, dict[str, str | None]]:
        checks = {"database": writer.error, "journal": str(journal.error) if journal.error else None}
        return not any(checks.values()), checks

    return create_app(
        results=writer,
        feed=feed,
        origins=reading_origins(settings),
        readiness=readiness,
        metrics=metrics.exposition(
            metrics.journal_figures(journal), metrics.writer_figures(writer), metrics.feed_figures(feed.stats)
        ),
        page_settings={"gateway_port": settings.gateway.port},
        keys=settings.api.keys,
        max_body=settings.api.max_body,
    )
