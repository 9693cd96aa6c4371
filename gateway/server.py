"""The gateway: listens, keeps the clocks, and goes away in order."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Collection, Sequence

from gateway import batch_write
from gateway.admission import Admission
from gateway.connection import NEW_EPOCH, Connection, Shared
from gateway.door import Door
from gateway.frames import control_frame
from gateway.garbage import LongLived
from gateway.group import SLICE
from gateway.handshake import Handshake, Readiness
from gateway.heartbeat import AT_ONCE, Round, Source
from gateway.hub import Hub
from gateway.limits import Limits, Timing
from gateway.origins import OriginPolicy, is_loopback
from gateway.pace import Pace
from gateway.replay import Replay
from gateway.session import Rules
from gateway.stats import Stats
from gateway.wire import SourceState
from journal.filter import Filters
from journal.opening import Bounds
from journal.shapes import column_names
from journal.texts import RECONNECT_MS, Drain
from journal.types import Event, JournalReader

_BACKLOG = 4096  # connections not yet accepted: everybody may come back at once
_UNSENT = 128 * 1024
_CROWD = 10.0  # seconds; a kernel that was refused asks again after 1, 3 and 7


class Gateway:
    """Serves ``channels`` of a journal over WebSocket. All methods belong to one event loop.

    ``origins`` empty means the gateway's own host and loopback; ``readiness`` answers ``/readyz``. ``ahead`` is asked
    about clients that have an offset beyond the head of our epoch (``gateway.session.Rules``). ``columns`` are those
    that a channel is limited to, if it is.
    """

    def __init__(
        self,
        journal: JournalReader,
        *,
        channels: Collection[str],
        host: str,
        port: int,
        origins: Sequence[str],
        readiness: Readiness,
        max_buffer: int = 1 << 20,
        max_subscriptions: int = 64,
        max_message: int = 64 * 1024,
        compression: bool = True,
        timing: Timing | None = None,
        ahead: Callable[[str, int], bool] = lambda _channel, _offset: False,
        columns: Callable[[str], Collection[str] | None] = lambda _channel: None,
    ) -> None:
        self._journal = journal
        self._ahead = ahead
        self._columns = columns
        self.filters = Filters(self._known_columns)  # others that read the journal may share them
        self._channels = tuple(channels)
        self._host = host
        self.port = port  # once started, the port listened on
        self._handshake = Handshake(OriginPolicy(origins, loopback_only=is_loopback(host)), readiness, compression)
        self._limits = Limits(max_buffer, max_subscriptions, max_message)
        self._timing = timing or Timing()
        self.stats = Stats()
        self._pace = Pace()
        self._source = Source()
        self._doors: dict[Door, float] = {}  # in the order of their opening
        self._admission = Admission(self.stats)
        self._telling = Round[Connection](self._tell)
        self._sweeping = Round[Connection](self._sweep_one)
        self._long_lived = LongLived()
        self._crowd_ends = 0.0
        self._timers: dict[str, asyncio.TimerHandle] = {}

    async def start(self) -> None:
        """Listen. Raises ``OSError`` when the port is taken, ``UnknownChannel`` when the journal lacks a channel."""
        loop = asyncio.get_running_loop()
        heads = {channel: self._journal.head(channel) for channel in self._channels}
        hub = Hub(heads, self.stats, self._pace.soon, shapes=self._journal.shapes)
        replay = Replay(self._journal, hub, self.stats)
        hub.demoted = replay.enqueue
        hub.crowded = self._crowded
        self._shared = Shared(
            hub=hub,
            replay=replay,
            rules=Rules(self._bounds, self._limits.max_subscriptions, self._ahead, self.filters),
            source=self._source,
            stats=self.stats,
            limits=self._limits,
            timing=self._timing,
            now=loop.time,
        )
        self._server = await loop.create_server(
            self._door, self._host, self.port, backlog=_BACKLOG, start_serving=False
        )
        for sock in self._server.sockets:
            _bound_unsent(sock)
        await self._server.start_serving()
        self._sender = batch_write.best()  # no sooner: it would be left open where the port is taken
        hub.sender = self._sender
        self.port = int(self._server.sockets[0].getsockname()[1])
        self._heartbeat()
        self._sweep()

    def publish(self, events: Sequence[Event]) -> None:
        """Hand freshly appended events to everybody live on their channels.

        To be called with no ``await`` after ``journal.append`` has returned them: then the journal's head and the
        published offset are equal whenever anything else runs.
        """
        self._shared.hub.publish(events)

    def writing(self, begun: bool) -> None:
        """To be told when a commit of the journal begins and when it has ended: large groups wait for it a while."""
        self._pace.writing(begun)

    def set_source(self, state: SourceState, lag_ms: int) -> None:
        """Say how the source is; everybody is told at once when ``state`` changes, else with the next heartbeat."""
        if self._source.set(state, lag_ms) and self._timers:
            self._telling.start(self._shared.connections)

    def new_epoch(self) -> None:
        """Send everybody away, to come back in the journal's new epoch.

        In one go and to be called before anything of that epoch is published: a live subscriber would take its offsets
        for those of the old one.
        """
        farewell = control_frame(Drain(reconnect_ms=RECONNECT_MS))
        for connection in list(self._shared.connections):
            connection.drain(farewell, NEW_EPOCH, "a new epoch begins")

    async def drain(self, deadline: float) -> None:
        """Stop listening, send everybody away, and return when all are gone or after ``deadline`` seconds."""
        self._server.close()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._telling.stop()
        self._admission.close()
        await self._shared.replay.stop()
        try:
            async with asyncio.timeout(deadline):
                await self._send_away()
                while self._shared.connections:
                    self._shared.emptied.clear()
                    await self._shared.emptied.wait()
        except TimeoutError:
            pass
        self._sweeping.stop()
        for door in list(self._doors):
            door.abort()
        for connection in list(self._shared.connections):
            connection.abort()
        self._sender.close()
        await asyncio.sleep(0)  # lets the transports report their end

    async def _send_away(self) -> None:
        farewell = control_frame(Drain(reconnect_ms=RECONNECT_MS))
        for count, connection in enumerate(list(self._shared.connections), 1):
            connection.drain(farewell)
            if count % AT_ONCE == 0:
                await asyncio.sleep(0)

    def _door(self) -> Door:
        return Door(self._shared, self._handshake, self._doors, self._admission)

    def _crowded(self) -> bool:
        """Whether many wait to be let in or to catch up, or did a moment ago: who comes back comes in waves."""
        if len(self._admission) + self._shared.replay.waiting > SLICE:
            self._crowd_ends = self._shared.now() + _CROWD
        return self._shared.now() < self._crowd_ends

    def _bounds(self, channel: str) -> Bounds | None:
        hub = self._shared.hub
        if channel not in hub:
            return None
        return Bounds(self._journal.epoch, self._journal.floor(channel), hub.published(channel))

    def _known_columns(self, channel: str) -> Collection[str] | None:
        """Those that a filter may name, where every row that is kept or may come next is known to have no others.

        Behind a source that is away or not caught up with, there may be an ALTER that nobody here knows of.
        """
        chosen = self._columns(channel)
        if chosen is not None or self._source.state != "live":
            return chosen
        shapes = self._journal.shapes(channel)
        known = bool(shapes) and shapes[0].first <= self._journal.floor(channel)
        return column_names(shapes) if known else None

    # The clocks: each sets itself anew before it does anything, so that no failure stops it.

    def _heartbeat(self) -> None:
        self._again("heartbeat", self._timing.heartbeat)
        self._telling.start(self._shared.connections)

    def _tell(self, connection: Connection) -> None:
        connection.tell(self._source.frame)

    def _sweep(self) -> None:
        self._again("sweep", self._timing.sweep)
        self._sweeping.start(self._shared.connections)
        self._long_lived.look(self.stats.connections)
        oldest = self._shared.now() - self._timing.handshake
        for door, opened in list(self._doors.items()):
            if opened > oldest:
                break
            door.expire()

    def _sweep_one(self, connection: Connection) -> None:
        connection.sweep(self._shared.now())

    def _again(self, name: str, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._timers[name] = loop.call_later(seconds, self._heartbeat if name == "heartbeat" else self._sweep)


def _bound_unsent(sock: socket.socket) -> None:
    """Let the kernel hold little that it cannot send yet; accepted sockets inherit it (tcp(7), TCP_NOTSENT_LOWAT).

    Otherwise it takes up to 4 MB for each client that does not read, beyond our own bound and out of our sight.
    """
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if option is not None:
        sock.setsockopt(socket.IPPROTO_TCP, option, _UNSENT)
