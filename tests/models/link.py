"""A connection between the gateway and a client, without sockets: what one end writes waits until the other reads."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol, cast

from tests.models.loop import SteppedLoop

KERNEL = 300  # bytes that are on their way although the client does not read


class Peer(Protocol):
    """The client's end."""

    reads: bool  # whether it takes what comes by itself

    def take(self, data: bytes) -> None:
        """Bytes have come."""

    def lost(self) -> None:
        """Nothing more will come."""


class Link(asyncio.Transport):
    """The gateway's transport. What does not fit into ``KERNEL`` waits in its write buffer."""

    def __init__(self, loop: SteppedLoop, peer: Peer) -> None:
        super().__init__()
        self._loop = loop
        self._peer = peer
        self._socket = loop.kernel.socket(self)
        self._sent = bytearray()  # on its way
        self._buffer = bytearray()
        self._high, self._low = 64 * 1024, 16 * 1024
        self._full = self._ended = self._closing = False
        self.gone = False
        self.beyond = 0  # rows written although a pause was asked for
        assert loop.listening is not None
        self._protocol = cast(asyncio.Protocol, loop.listening())
        loop.call(self._protocol.connection_made, self)

    # The client's end

    def say(self, data: bytes) -> None:
        """Bytes from the client arrive."""
        if not self._closing:
            try:
                self._loop.call(self._protocol.data_received, data)
            except Exception as error:  # asyncio would end the connection and log it
                raise AssertionError(f"the gateway raised {error!r}") from error

    def read(self, most: int = 1 << 30) -> None:
        """The client reads so many bytes, or all there are."""
        while most > 0 and self._sent and not self.gone:
            data = bytes(self._sent[:most])
            del self._sent[: len(data)]
            most -= len(data)
            self._peer.take(data)
            self._send()
        if self._ended and not self._sent and not self._buffer:
            self.cut()

    def read_if_it_does(self) -> None:
        """The client reads, unless it does not."""
        if self._peer.reads:
            self.read()

    def cut(self) -> None:
        """The connection ends; what is on its way is lost."""
        if not self.gone:
            self.gone = self._closing = True
            self._sent.clear()
            self._buffer.clear()
            self._loop.call_soon(self._protocol.connection_lost, None)
            self._peer.lost()

    def _send(self) -> None:
        """The kernel takes what it has room for."""
        room = KERNEL - len(self._sent)
        if room > 0 and self._buffer:
            self._sent += self._buffer[:room]
            del self._buffer[:room]
            self._loop.call_soon(self.read_if_it_does)
        if self._full and len(self._buffer) <= self._low:
            self._full, self.beyond = False, 0
            self._loop.call(self._protocol.resume_writing)

    # The gateway's end

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Send, or keep for later."""
        if self._closing or self._ended:
            return
        if self._full:
            self.beyond += bytes(data).count(b'{"channel"')
        self._buffer += data
        self._send()
        self._look()

    def take_at_once(self, data: bytes) -> int:
        """Bytes that one system call has sent, past the transport: nothing that was written before may wait there."""
        assert not self._buffer, "written past what still waits"
        assert not self._closing, "written to a connection that is closed"
        assert not self._ended, "written behind the end of the stream"
        taken = max(0, min(KERNEL - len(self._sent), len(data)))
        if taken:
            self._sent += data[:taken]
            self._loop.call_soon(self.read_if_it_does)
        return taken

    def _look(self) -> None:
        if len(self._buffer) > self._high and not self._full:
            self._full = True
            self._protocol.pause_writing()

    def write_eof(self) -> None:
        """Nothing more after what was written."""
        self._ended = True
        self._loop.call_soon(self.read_if_it_does)

    def can_write_eof(self) -> bool:
        """As TCP can."""
        return True

    def abort(self) -> None:
        """Drop it."""
        self.cut()

    def close(self) -> None:
        """Drop it when everything has been read."""
        self._closing = True
        self.write_eof()

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return self._closing

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Somebody else takes over."""
        self._protocol = cast(asyncio.Protocol, protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Who is told."""
        return self._protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """When to ask for a pause, and when for more."""
        self._high = 64 * 1024 if high is None else high
        self._low = self._high // 4 if low is None else low
        self._look()

    def get_write_buffer_size(self) -> int:
        """Bytes that wait for the client."""
        return len(self._buffer)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """The socket; nothing else is known."""
        return self._socket if name == "socket" else default

    def pause_reading(self) -> None:
        """The test says when there is something to read."""

    def resume_reading(self) -> None:
        """The test says when there is something to read."""
