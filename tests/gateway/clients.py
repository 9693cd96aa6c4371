"""Clients of the gateway: one like a browser's, and one that does everything wrong a socket can do."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from websockets.asyncio.client import ClientConnection, connect
from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from gateway.server import Gateway

Json = dict[str, Any]

UPGRADE = {
    "Host": "127.0.0.1",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


class Client:
    """The websockets library's client, in JSON."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def say(self, **frame: Any) -> None:
        """Send one frame."""
        await self.connection.send(json.dumps(frame))

    async def ask(self, **frame: Any) -> Json:
        """Send one frame and take the next."""
        await self.say(**frame)
        return await self.take()

    async def take(self) -> Json:
        """The next frame, within ten seconds."""
        async with asyncio.timeout(10):
            frame: Json = json.loads(await self.connection.recv())
            return frame

    async def take_until(self, kind: str) -> list[Json]:
        """Every frame up to and with the next one of a type."""
        frames = []
        async with asyncio.timeout(20):  # heartbeats may come for ever
            while not frames or frames[-1].get("type") != kind:
                frames.append(await self.take())
        return frames

    async def take_events(self, count: int) -> list[int]:
        """The offsets of the next ``count`` frames, all of them data."""
        return [(await self.take())["offset"] for _ in range(count)]

    async def closed(self) -> int:
        """Wait for the end; its close code."""
        async with asyncio.timeout(10):
            await self.connection.wait_closed()
        assert self.connection.close_code is not None
        return self.connection.close_code


@asynccontextmanager
async def client(gateway: Gateway, path: str = "/", **settings: Any) -> AsyncIterator[Client]:
    """A connected client; leaves when the block ends."""
    url = f"ws://127.0.0.1:{gateway.port}{path}"
    defaults: dict[str, Any] = {"compression": None, "proxy": None, "max_size": None, "close_timeout": 2}
    async with connect(url, **{**defaults, **settings}) as connection:
        yield Client(connection)


class RawClient:
    """A bare socket that can speak HTTP and WebSocket, or anything else, and reads only when told to."""

    made: ClassVar[list[RawClient]] = []  # closed after each test, whatever became of it

    def __init__(self, sock: socket.socket) -> None:
        self.made.append(self)
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._protocol = ClientProtocol(parse_uri("ws://localhost/"), state=State.OPEN, max_size=None)
        self._frames: list[Frame] = []

    @classmethod
    async def connect(cls, gateway: Gateway, receive_buffer: int | None = None) -> RawClient:
        """A new connection, with as small a receive buffer as the kernel allows if one is given."""
        sock = socket.socket()
        sock.setblocking(False)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client = cls(sock)
        await client._loop.sock_connect(sock, ("127.0.0.1", gateway.port))
        return client

    @classmethod
    async def open(cls, gateway: Gateway, receive_buffer: int | None = None) -> RawClient:
        """A connection that has become a WebSocket."""
        client = await cls.connect(gateway, receive_buffer)
        await client.send(request(**UPGRADE))
        head = await client.head()
        assert head.startswith(b"HTTP/1.1 101 ")
        return client

    async def send(self, data: bytes) -> None:
        """Any bytes."""
        async with asyncio.timeout(10):
            await self._loop.sock_sendall(self._sock, data)

    async def pour(self, data: bytes, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Send the same again and again until the server ends the connection."""
        try:
            async with asyncio.timeout(30):
                while True:
                    await self._loop.sock_sendall(self._sock, data)
                    await asyncio.sleep(0)
                    meanwhile()
        except ConnectionError:
            pass

    async def say(self, **frame: Any) -> None:
        """One JSON frame."""
        await self.send(masked(json.dumps(frame).encode()))

    async def receive(self, size: int = 1 << 16) -> bytes:
        """Some bytes, or none at the end. A reset counts as the end."""
        async with asyncio.timeout(10):
            try:
                return await self._loop.sock_recv(self._sock, size)
            except ConnectionError:
                return b""

    async def receive_all(self) -> bytes:
        """Everything until the server ends."""
        parts = []
        while data := await self.receive():
            parts.append(data)
        return b"".join(parts)

    async def head(self) -> bytes:
        """An HTTP response's head; what follows stays."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += await self.receive(1)
        return head

    async def frame(self) -> Frame | None:
        """The next WebSocket frame, ``None`` at the end."""
        while not self._frames:
            data = await self.receive()
            if not data:
                return None
            self._protocol.receive_data(data)
            self._frames += [event for event in self._protocol.events_received() if isinstance(event, Frame)]
        return self._frames.pop(0)

    async def take(self) -> Json:
        """The next text frame's JSON; pings on the way are passed over."""
        while True:
            frame = await self.frame()
            assert frame is not None, "the server ended"
            if frame.opcode is Opcode.TEXT:
                taken: Json = json.loads(bytes(frame.data))
                return taken

    async def close_code(self) -> int | None:
        """Read to the end; the close frame's code if there was one."""
        code = None
        while (frame := await self.frame()) is not None:
            if frame.opcode is Opcode.CLOSE:
                code = int(Close.parse(frame.data).code)
        return code

    def close(self) -> None:
        """Go in order."""
        self._sock.close()

    def reset(self) -> None:
        """Vanish: the server's next look at the connection finds it reset."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()


def request(line: str = "GET / HTTP/1.1", **headers: str) -> bytes:
    """An HTTP request's head."""
    lines = [line, *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode()


def masked(payload: bytes, opcode: Opcode = Opcode.TEXT, fin: bool = True) -> bytes:
    """A client's frame."""
    return Frame(opcode, payload, fin).serialize(mask=True)
