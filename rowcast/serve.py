"""The composition root: everything that `rowcast serve` is made of, wired together, started and stopped in order."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import uvloop

from api.app import create_app
from api.feed import Feed
from api.origins import Allows
from api.server import ApiServer
from api.table import Address, ResultTable
from api.writer import ResultWriter
from cdc.capture import CATCHING_UP, DOWN, STALLED, Appender, CaptureLoop
from cdc.errors import SourceError
from cdc.fetch import TableChannel
from cdc.position import unfed
from cdc.reader import Origin
from gateway.limits import Timing
from gateway.origins import OriginPolicy, is_loopback
from gateway.server import Gateway
from journal.errors import JournalDamaged, JournalError, JournalFull, JournalLocked
from journal.sqlite import SqliteJournal
from journal.types import Event
from rowcast import failpoints, garbage, metrics
from rowcast.check import refuse_unfit
from rowcast.errors import CONFIGURATION, INTERNAL, TEMPORARY, UNREACHABLE, Failure
from rowcast.settings import Settings

logger = logging.getLogger(__name__)

_TRIM_INTERVAL = 60.0  # seconds
_DRAIN = 10.0  # seconds that clients and requests get to leave
_LATE = 10_000  # milliseconds of lag that readiness tolerates


def run(settings: Settings, *, api: bool) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal ends at once. Raises ``Failure``."""
    uvloop.run(_Serve(settings, api=api).run())


class _Serve:
    def __init__(self, settings: Settings, *, api: bool) -> None:
        self._settings = settings
        self._with_api = api
        self._stop = asyncio.Event()
        self._writer: ResultWriter | None = None
        self._feed: Feed | None = None
        self._failpoint = failpoints.from_environment(os.environ)

    # Start

    async def run(self) -> None:
        """Start in the order in which a row travels backwards, so that nothing is sent before somebody can take it."""
        self._listen_to_signals()
        settings = self._settings
        async with AsyncExitStack() as stack:
            self._journal = await stack.enter_async_context(_journal(settings, self._failpoint))
            await self._look_at_source()
            self._gateway = self._make_gateway()
            self._journal.renewed = self._new_epoch
            self._journal.writing = self._gateway.writing
            self._capture = self._make_capture()
            await stack.enter_async_context(self._serving(self._gateway))
            if self._with_api:
                await stack.enter_async_context(self._running_api())
            garbage.settle()
            logger.info("ready on ws://%s:%d", settings.gateway.host, self._gateway.port)
            await self._until_stopped(self._capture.run(), self._retention(), self._journal.guard())

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled)

    def _signalled(self) -> None:
        if self._stop.is_set():
            os._exit(INTERNAL)  # asked twice: now
        logger.info("stopping: clients are sent away, then everything closes; a second signal ends at once")
        self._stop.set()

    async def _look_at_source(self) -> None:
        """Refuse a source whose rows would be missing. One that is away is waited for, if it was ever followed."""
        try:
            findings = await asyncio.to_thread(refuse_unfit, self._settings)
        except Failure as failure:
            if failure.exit_code != UNREACHABLE or self._journal.checkpoint is None:
                raise
            logger.warning("%s; what the journal holds is served meanwhile", failure.text)
            return
        for finding in findings:
            if finding.level != "ok":
                logger.warning("%s: %s", finding.subject, finding.text)

    def _make_capture(self) -> CaptureLoop:
        settings = self._settings
        channels = [
            TableChannel(
                name,
                *settings.tables[name],
                columns=channel.columns,
                bigint_strings=channel.bigint == "string",
                seed=channel.seed,
                events=channel.events,
            )
            for name, channel in settings.channels.items()
        ]
        origin = Origin(settings.reader.arguments(), channels, settings.server_id)
        journal: Appender = self._journal
        publish: Callable[[list[Event]], None] = self._gateway.publish
        if self._failpoint is not None:
            journal, publish = self._failpoint.around(journal, publish)
        return CaptureLoop(
            origin,
            journal,
            publish,
            self._gateway.set_source,
            derived_id=settings.mysql.server_id is None,
        )

    def _make_gateway(self) -> Gateway:
        settings = self._settings.gateway
        return Gateway(
            self._journal,
            channels=list(self._settings.channels),
            host=settings.host,
            port=settings.port,
            origins=settings.origins,
            readiness=self._readiness,
            max_buffer=settings.max_buffer,
            max_subscriptions=settings.max_subscriptions,
            max_message=settings.max_message,
            compression=settings.compression,
            timing=Timing(unread=settings.unread_seconds),
            ahead=self._journal.doubt,
            columns=lambda channel: self._settings.channels[channel].columns,
        )

    @asynccontextmanager
    async def _serving(self, gateway: Gateway) -> AsyncIterator[None]:
        settings = self._settings.gateway
        try:
            await gateway.start()
        except OSError as error:
            raise port_taken("gateway", settings.host, settings.port, error) from error
        try:
            yield
        finally:
            await gateway.drain(_DRAIN)

    @asynccontextmanager
    async def _running_api(self) -> AsyncIterator[None]:
        settings = self._settings
        self._writer = writer = ResultWriter(ResultTable(writer_address(settings)))
        self._feed = feed = Feed(
            self._journal,
            filters=self._gateway.filters,
            ahead=self._journal.doubt,
            max_readers=settings.api.max_readers,
        )
        app = create_app(
            results=writer,
            feed=feed,
            origins=reading_origins(settings),
            readiness=self._readiness,
            metrics=metrics.exposition(
                metrics.capture_figures(self._capture),
                metrics.journal_figures(self._journal),
                metrics.gateway_figures(self._gateway.stats),
                metrics.writer_figures(writer),
                metrics.feed_figures(feed.stats),
            ),
            page_settings={"gateway_port": self._gateway.port},
            keys=settings.api.keys,
            max_body=settings.api.max_body,
        )
        server = ApiServer(app, settings.api.host, settings.api.port, feed.close)
        try:
            await server.start()
        except OSError as error:
            raise port_taken("api", settings.api.host, settings.api.port, error) from error
        await writer.start()
        logger.info("HTTP API and live page on http://%s:%d/", settings.api.host, server.port)
        try:
            yield
        finally:
            await server.stop(_DRAIN)
            await writer.close()

    # Run

    async def _until_stopped(self, *work: Coroutine[Any, Any, None]) -> None:
        """Until a signal comes or a part dies; a part that dies takes the rest with it, and says why."""
        tasks: list[asyncio.Task[None]] = [asyncio.create_task(part) for part in work]
        stopped: asyncio.Task[Any] = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
            if self._feed is not None:
                self._feed.close()
            await self._gateway.drain(_DRAIN)  # while rows still come: nobody is told "live" and left without
        except JournalError as error:
            code = TEMPORARY if isinstance(error, JournalDamaged) else INTERNAL  # the next start sets it aside
            raise Failure(str(error), error.hint, code) from error
        except SourceError as error:
            raise Failure(str(error), error.hint, UNREACHABLE) from error
        finally:
            for task in (*tasks, stopped):
                task.cancel()
            await asyncio.gather(*tasks, stopped, return_exceptions=True)

    def _new_epoch(self) -> None:
        logger.error(
            "a client says it holds offsets that this journal has not given: it may be an older copy, restored. "
            "Epoch %s begins, and every client is told of the gap",
            self._journal.epoch,
        )
        self._gateway.new_epoch()

    async def _retention(self) -> None:
        """Drop what is older or more than the settings keep. A full disk must not stop it: it is what makes room."""
        settings = self._settings.journal
        while True:
            try:
                trimmed = await self._journal.trim(settings.keep_hours * 3600, settings.keep_bytes)
            except JournalError as error:
                logger.warning("retention: %s %s", error, error.hint)
            else:
                if trimmed:
                    logger.info("retention: %d events dropped", trimmed)
            await asyncio.sleep(_TRIM_INTERVAL)

    def _readiness(self) -> tuple[bool, dict[str, str | None]]:
        """Each part of a row's way, and what is wrong with it, in words that strangers may read."""
        capture, journal = self._capture, self._journal
        late = capture.state == CATCHING_UP or capture.lag_ms > _LATE
        checks = {
            "source": f"{capture.state}: {capture.reason}" if capture.state in (DOWN, STALLED) else None,
            "lag": f"{capture.lag_ms} ms behind, {capture.state}" if late else None,
            "gaps": "; ".join(f"{name}: {why}" for name, why in capture.missing.items()) or None,
            "journal": None if journal.writable else _public(journal.error),
            "process": "draining" if self._stop.is_set() else None,
        }
        if self._writer is not None and self._settings.api.mysql_url is not None:  # else nobody may mean to post
            checks["database"] = self._writer.error
        return not any(checks.values()), checks


def _public(error: JournalError | None) -> str:
    """Why the journal takes nothing, in words that name no path."""
    return "no room on its disk" if isinstance(error, JournalFull) else "cannot be written, see the log"


@asynccontextmanager
async def _journal(settings: Settings, failpoint: failpoints.Failpoint | None) -> AsyncIterator[SqliteJournal]:
    path = settings.journal.path
    written = None if failpoint is None else failpoint.written
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        journal = await SqliteJournal.open(
            path, list(settings.channels), sync=settings.journal.sync, carry_over=unfed, written=written
        )
    except JournalError as error:
        temporary = error.retry or isinstance(error, JournalLocked)
        raise Failure(f"journal.path: {error}", error.hint, TEMPORARY if temporary else CONFIGURATION) from error
    except OSError as error:
        raise Failure(
            f"journal.path: {path}: {error.strerror}", "set it to a file that we may write", CONFIGURATION
        ) from error
    for notice in journal.notices:
        logger.error("%s", notice)
    try:
        await journal.reserve()
        yield journal
    finally:
        await journal.close()


def writer_address(settings: Settings) -> Address:
    """The account that inserts posted rows, as the API's room takes it."""
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


def reading_origins(settings: Settings) -> Allows:
    """Which pages may read events over HTTP: those that may over WebSocket."""
    policy = OriginPolicy(settings.gateway.origins, loopback_only=is_loopback(settings.api.host))
    return policy.allows_reading


def port_taken(section: str, host: str, port: int, error: OSError) -> Failure:
    """One message for an address that cannot be listened on."""
    why = os.strerror(error.errno) if error.errno else str(error)
    return Failure(
        f"{section}.port: cannot listen on {host}:{port}: {why}",
        f"set {section}.port (ROWCAST_{section.upper()}_PORT) to a free one",
        CONFIGURATION,
    )
