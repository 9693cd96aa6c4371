"""One WebSocket connection: bytes from the transport to the session, replies and data to the transport.

There is no task and no queue: everything happens in the transport's callbacks, and an idle connection is a few small
objects. Data is written by the hub and the replay through ``send``, as long as ``paused`` is false.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from gateway.backlog import Backlog, water_marks, weigh
from gateway.batch_write import socket_of
from gateway.deflate import inflation
from gateway.frames import control_frame
from gateway.handshake import quiet
from gateway.heartbeat import Source
from gateway.hub import Hub
from gateway.intake import PING, PONG, TEXT, whole_frames
from gateway.limits import CONTROL_ALLOWANCE, Limits, Timing
from gateway.replay import Replay
from gateway.session import Outcome, Rules, Session
from gateway.stats import Stats
from gateway.subscription import Subscription
from gateway.wire import Error
from journal.texts import Gap, Progress

NEW_EPOCH = 4001  # close code: come back
UNREAD = 4002  # the same
_MAX_REASON = 123  # bytes in a close frame (RFC 6455, section 5.5.1)
_PING = bytes((PING, 0))
_FEED = 16 * 1024  # bytes parsed at a time: a flood of tiny frames makes few objects at once


@dataclass(slots=True)
class Shared:
    """What all connections of one gateway have in common."""

    hub: Hub
    replay: Replay
    rules: Rules
    source: Source
    stats: Stats
    limits: Limits
    timing: Timing
    now: Callable[[], float]
    connections: set[Connection] = field(default_factory=set)
    emptied: asyncio.Event = field(default_factory=asyncio.Event)


class Connection(asyncio.Protocol):
    """A client after its opening handshake. Takes over ``transport`` from the door (``set_protocol``)."""

    __slots__ = (
        "_backlog",
        "_closing",
        "_descriptor",
        "_heard",
        "_message",
        "_owed",
        "_pinged",
        "_protocol",
        "_session",
        "_shared",
        "_taken",
        "_transport",
        "_waiting",
        "_written",
        "deflate",
        "paused",
    )

    def __init__(self, shared: Shared, transport: asyncio.Transport, deflate: bool = False) -> None:
        self._shared = shared
        self._transport = transport
        self._descriptor = socket_of(transport)
        self._protocol: ServerProtocol | None = None  # the library's, from the first thing that takes more than we know
        self.deflate = deflate
        shared.stats.deflating += deflate
        self._session = Session(shared.rules, self)
        self._message: bytearray | None = None  # a fragmented text message so far
        self._heard = shared.now()
        self._pinged = False
        self._closing = False
        self._backlog: Backlog | None = None
        self._written = 0  # bytes, ever, through the transport
        self._taken = 0  # of these, gone from the write buffer at the last sweep
        self._waiting: float | None = None  # since when the write buffer has held something, and nothing was taken
        self._owed = 0  # bytes of answers written since the buffer went over its bound
        self.paused = False
        transport.set_write_buffer_limits(*water_marks(shared.limits.max_buffer))
        shared.connections.add(self)
        shared.stats.connections += 1
        shared.stats.accepted += 1

    def data_received(self, data: bytes) -> None:
        """Parse and answer."""
        if not self._closing:
            self._heard = self._shared.now()
            self._pinged = False
        done = self._take_ordinary(data) if self._protocol is None and not self._closing else 0
        for start in range(done, len(data), _FEED):
            if self._transport.is_closing():
                return
            self._library().receive_data(data[start : start + _FEED])
            for event in self._library().events_received():
                self._take(cast(Frame, event))
            self._flush()

    def _take_ordinary(self, data: bytes) -> int:
        """Take the frames that need no library; says where the rest begins."""
        end = 0
        for frame in whole_frames(data, self._shared.limits.max_message, self.deflate):
            end = frame.end
            if frame.kind == PING:
                self._reply(bytes((PONG, len(frame.payload))) + frame.payload)
            elif frame.kind == TEXT:
                self._text(frame.payload)
            if self._closing:
                self._flush()
                break
        return end

    def _library(self) -> ServerProtocol:
        """The library's state of this connection, which until now is that of a new one."""
        if self._protocol is None:
            self._protocol = ServerProtocol(state=State.OPEN, max_size=self._shared.limits.max_message, logger=quiet)
            if self.deflate:
                self._protocol.extensions = [inflation()]
        return self._protocol

    def eof_received(self) -> None:
        """End; returning ``None`` lets the transport close itself when it has written what is left."""
        self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget everything."""
        self._end()
        shared = self._shared
        shared.connections.discard(self)
        shared.stats.connections -= 1
        shared.stats.deflating -= self.deflate
        del self._session  # it refers to us, and what refers to itself only the garbage collector would find
        if not shared.connections:
            shared.emptied.set()

    # The write bound

    def pause_writing(self) -> None:
        """The buffer is over its bound: no data until it has drained. Live subscriptions notice at the next event."""
        self.paused = True

    def resume_writing(self) -> None:
        """There is room again: go on where each subscription was."""
        self.paused = False
        self._owed = 0
        for subscription in self._session.subscriptions:
            self._shared.replay.enqueue(subscription)

    def send(self, data: bytes | memoryview) -> None:
        """Write frames. For data the caller has looked at ``paused``."""
        self._written += len(data)
        self._transport.write(data)
        if self._backlog or self._transport.get_write_buffer_size():
            self._backlog = weigh(self._backlog, self._transport, self._written, self._shared.limits.max_buffer)

    def descriptor(self) -> int:
        """The socket, while nothing waits and it is open: whoever writes to it at once keeps the order."""
        transport = self._transport
        return -1 if transport.get_write_buffer_size() or transport.is_closing() else self._descriptor

    def tell(self, frame: bytes) -> None:
        """Write what may as well be left out: a heartbeat, and how far those have come whose filter hides it."""
        if self.paused or self._closing:
            return
        self.send(frame)
        for subscription in self._session.subscriptions:
            if subscription.where is not None:
                self._tell_progress(subscription)

    def _tell_progress(self, subscription: Subscription) -> None:
        offset = self._shared.hub.reached(subscription)
        if offset > subscription.told:
            subscription.told = offset
            self.send(control_frame(Progress(subscription=subscription.channel, offset=offset)))

    def _reply(self, data: bytes) -> None:
        """Write an answer. A client that asks on and on without reading is cut off."""
        if self._transport.is_closing():
            return
        self.send(data)
        if self.paused:
            self._owed += len(data)
            if self._owed > CONTROL_ALLOWANCE:
                self._shared.stats.overruns += 1
                self.abort()

    # What the client says

    def _take(self, frame: Frame) -> None:
        opcode = frame.opcode
        if opcode is Opcode.CLOSE:
            self._end()
        elif self._closing:
            pass
        elif opcode is Opcode.TEXT:
            if frame.fin:
                self._text(frame.data)
            else:
                self._message = bytearray(frame.data)
        elif opcode is Opcode.CONT:
            self._continue(frame)
        elif opcode is Opcode.BINARY:
            # Fragments that follow find no message to continue, and are passed over.
            self._refuse("binary messages are not understood: send text")

    def _continue(self, frame: Frame) -> None:
        if self._message is None:
            return
        self._message += frame.data
        if frame.fin:
            message, self._message = self._message, None
            self._text(message)

    def _text(self, data: bytes | bytearray | memoryview) -> None:
        try:
            text = str(data, "utf-8")
        except UnicodeDecodeError:  # RFC 6455, section 8.1
            self._end()
            self._library().fail(CloseCode.INVALID_DATA, "text must be UTF-8")
            return
        self._shared.stats.requests += 1
        self._carry_out(self._session.receive(text))

    def _carry_out(self, outcome: Outcome) -> None:
        shared = self._shared
        if outcome.away:
            self.fail(NEW_EPOCH, "a new epoch begins")
            return
        if outcome.closed is not None:
            shared.hub.leave(outcome.closed)
            shared.stats.subscriptions -= 1
        if outcome.opened is not None:
            shared.stats.subscriptions += 1
        frames = b"".join(map(control_frame, outcome.replies))
        for reply in outcome.replies:
            shared.stats.errors += isinstance(reply, Error)
            shared.stats.gaps += isinstance(reply, Gap)
        if outcome.opened is None:
            self._reply(frames)
            return
        if shared.source.state != "live":
            frames += shared.source.frame
        # One write for all: to the kernel, each is as much work as the whole handshake is to us.
        live = shared.replay.begin(outcome.opened)
        self._reply(frames + live)

    def _refuse(self, reason: str) -> None:
        self._shared.stats.errors += 1
        self._reply(control_frame(Error(code="bad_request", reason=reason)))

    # The end

    def fail(self, code: int, reason: str) -> None:
        """Send a close frame and give the client a while to answer it."""
        if not self._closing:
            self._end()
            self._library().send_close(code, reason)
            self._flush()

    def drain(
        self, farewell: bytes, code: int = CloseCode.SERVICE_RESTART, reason: str = "the server restarts"
    ) -> None:
        """Say good-bye: the server goes away, or what the client holds does."""
        if not self._closing:
            self.send(farewell)
            self.fail(code, reason)

    def abort(self) -> None:
        """Drop the connection without a word."""
        self._end()
        self._transport.abort()

    def _end(self) -> None:
        """No more data, no more commands; the sweep sees to it that the transport goes too."""
        if self._closing:
            return
        self._closing = True
        self._heard = self._shared.now()
        for subscription in self._session.subscriptions:
            self._shared.hub.leave(subscription)
        self._shared.stats.subscriptions -= len(self._session.subscriptions)
        self._session.subscriptions = ()

    def _flush(self) -> None:
        """Write what the protocol has to say; an empty string asks for the end of the stream."""
        for data in self._protocol.data_to_send() if self._protocol else ():
            if data:
                self._reply(data)
            else:
                self._end()
                # Half-closed, not closed: closing with unread input would reset the connection and with it the
                # close frame on its way. What still comes is discarded until the client ends, or the sweep does.
                if not self._transport.is_closing() and self._transport.can_write_eof():
                    self._transport.write_eof()

    # The clock

    def sweep(self, now: float) -> None:
        """Ping a silent client, drop a dead one. Taking data counts as a sign of life, even byte by byte."""
        timing = self._shared.timing
        self._look_at_buffer(now)
        silent = now - self._heard
        if self._closing:
            if silent > timing.closing:
                self._transport.abort()
        elif self._waiting is not None and now - self._waiting > timing.unread:
            self._shared.stats.unread += 1
            self.fail(UNREAD, self._farewell())
        elif silent > timing.silence:
            self._shared.stats.silent += 1
            self.abort()
        elif silent > timing.ping and not self._pinged and not self.paused:
            self._pinged = True
            self._reply(_PING)

    def _look_at_buffer(self, now: float) -> None:
        """See whether anything was taken of what waited at the last sweep."""
        size = self._transport.get_write_buffer_size()
        taken = self._written - size
        if self._waiting is not None and taken > self._taken:
            self._waiting = now
            if not self._closing:
                self._heard = now
        self._taken = taken
        if not size:
            self._waiting = None
        elif self._waiting is None:
            self._waiting = now

    def _farewell(self) -> str:
        """How far each subscription was sent, as far as a close frame has room."""
        shared, said = self._shared, "nothing was read for too long; sent up to"
        for subscription in self._session.subscriptions:
            bounds = shared.rules.bounds(subscription.channel)
            epoch = bounds.epoch if bounds else ""
            more = f"{said} {subscription.channel} {epoch}:{shared.hub.reached(subscription)}"
            if len(more.encode()) <= _MAX_REASON:
                said = more
        return said
