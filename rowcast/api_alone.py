"""`rowcast api`: the HTTP API by itself, over a journal that `rowcast serve --no-api` writes."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import suppress

import uvloop
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from api.app import create_app
from api.limits import Asgi
from api.server import ApiServer
from api.table import Address, ResultTable
from api.writer import ResultWriter
from journal.errors import JournalError
from journal.reader import ReadOnlyJournal
from rowcast.errors import CONFIGURATION, TEMPORARY, Failure
from rowcast.settings import Settings

logger = logging.getLogger(__name__)

_JOURNAL_WAIT = 30.0  # seconds: its owner may start after us
_LOOK = 1.0  # seconds between two looks at the journal


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; a second signal ends at once. Raises ``Failure``."""
    uvloop.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, _leave, stop)
    journal = await _open(settings, stop)
    writer = ResultWriter(ResultTable(_address(settings)))
    await writer.start()
    server = ApiServer(_app(settings, journal, writer), settings.api.host, settings.api.port)
    try:
        await _listen(server)
        logger.info("HTTP API on http://%s:%d", settings.api.host, server.port)
        await _watch(journal, stop)
    finally:
        await server.stop()
        await writer.close()
        await journal.close()


def _leave(stop: asyncio.Event) -> None:
    if stop.is_set():
        os._exit(1)  # asked twice: now
    stop.set()


async def _open(settings: Settings, stop: asyncio.Event) -> ReadOnlyJournal:
    """The journal, once its owner has made it."""
    path = settings.journal.path
    deadline = asyncio.get_running_loop().time() + _JOURNAL_WAIT
    while True:
        try:
            return await ReadOnlyJournal.open(path)
        except JournalError as error:
            if stop.is_set() or asyncio.get_running_loop().time() > deadline:
                hint = "is `rowcast serve --no-api` running, with the same journal.path?"
                raise Failure(f"journal.path: {error}", hint, TEMPORARY) from error
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _LOOK)


async def _listen(server: ApiServer) -> None:
    try:
        await server.start()
    except OSError as error:
        raise Failure(error.strerror or str(error), "set api.port to a free one", CONFIGURATION) from error


async def _watch(journal: ReadOnlyJournal, stop: asyncio.Event) -> None:
    """Until told to stop. A journal that was replaced has another epoch: start again with it."""
    while not stop.is_set():
        try:
            journal.channels()
        except JournalError as error:
            raise Failure(f"journal.path: {error}", error.hint, TEMPORARY) from error
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _LOOK)


def _address(settings: Settings) -> Address:
    url = settings.writer
    return Address(
        host=url.host,
        port=url.port,
        user=url.user,
        password=url.password,
        database=url.database,
        ssl_ca=url.ssl_ca,
        ssl_verify_identity=url.ssl_verify_identity,
    )


def _app(settings: Settings, journal: ReadOnlyJournal, writer: ResultWriter) -> Asgi:
    registry = CollectorRegistry()
    registry.register(_Figures(journal, writer))
    return create_app(
        results=writer,
        journal=journal,
        readiness=lambda: (writer.error is None, {"database": writer.error}),
        metrics=lambda: generate_latest(registry),
        page_settings={"gateway_port": settings.gateway.port},
        keys=settings.api.keys,
        max_body=settings.api.max_body,
    )


class _Figures(Collector):
    """What this process knows, at the moment it is asked."""

    def __init__(self, journal: ReadOnlyJournal, writer: ResultWriter) -> None:
        self._journal = journal
        self._writer = writer

    def collect(self) -> Iterator[Metric]:
        stats = self._writer.stats
        for name, text, value in (
            ("rowcast_posts_saved", "Rows saved", stats.rows),
            ("rowcast_post_groups", "Commits that saved them", stats.groups),
            ("rowcast_posts_failed", "Rows that were not saved", stats.failed),
            ("rowcast_posts_unknown", "Rows of which nobody knows", stats.unknown),
        ):
            yield CounterMetricFamily(name, text, value=value)
        yield GaugeMetricFamily("rowcast_posts_queued", "Rows that wait", value=self._writer.queued)
        heads = GaugeMetricFamily("rowcast_channel_head", "Newest offset of a channel", labels=["channel"])
        for channel, state in self._journal.channels().items():
            heads.add_metric([channel], state.head)
        yield heads
