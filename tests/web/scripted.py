"""A real WebSocket server that plays a gateway from a script, faults included."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

CHANNEL = "cctv_updates"
DEADLINE = 10.0


class Peer:
    """The server's end of one connection, as a script sees it."""

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection

    async def heard(self, kind: str) -> dict[str, Any]:
        """The client's next frame of this type; others are passed over."""
        async with asyncio.timeout(DEADLINE):
            while True:
                frame: dict[str, Any] = json.loads(await self.connection.recv())
                if frame["type"] == kind:
                    return frame

    async def control(self, kind: str, **fields: Any) -> None:
        """Send a control frame."""
        await self.connection.send(json.dumps({"type": kind, **fields}))

    async def event(self, offset: int, channel: str = CHANNEL, **row: Any) -> None:
        """Send one row as a data frame."""
        await self.change(offset, {}, channel, **row)

    async def change(self, offset: int, told: dict[str, Any], channel: str = CHANNEL, **row: Any) -> None:
        """Send one row as a data frame that tells ``op`` and ``old``."""
        message = {"id": offset, "cctv_id": 1, **row}
        await self.connection.send(json.dumps({"channel": channel, "offset": offset, **told, "message": message}))

    async def events(self, first: int, last: int) -> None:
        """Send the rows `first` to `last`, both included."""
        for offset in range(first, last + 1):
            await self.event(offset)

    async def accept(self, epoch: str, offset: int, recovered: bool = True) -> dict[str, Any]:
        """Wait for a subscribe frame and answer it; the frame is returned."""
        asked = await self.heard("subscribe")
        await self.control(
            "subscribed",
            subscription=asked["channel"],
            id=asked.get("id"),
            epoch=epoch,
            offset=offset,
            recovered=recovered,
        )
        return asked

    async def live(self, offset: int) -> None:
        """Tell the client that it has caught up."""
        await self.control("live", subscription=CHANNEL, offset=offset)

    def cut(self) -> None:
        """Break the connection without a word, as a dead network does."""
        self.connection.transport.abort()

    async def close(self, code: int, reason: str = "") -> None:
        """Close the connection with a code."""
        await self.connection.close(code, reason)


class ScriptedGateway:
    """Plays one script per connection, in order; a connection stays open after its script's end.

    A script's failed assertion is raised when the gateway is left. Connections beyond the scripts are refused.
    """

    def __init__(self, *scripts: Callable[[Peer], Awaitable[None]], port: int = 0) -> None:
        self.scripts = list(scripts)
        self.port = port
        self.opened: list[float] = []  # when each connection came, on the loop's clock
        self._failures: list[BaseException] = []
        self._server: Server | None = None

    @property
    def url(self) -> str:
        """Where the client finds it."""
        return f"ws://127.0.0.1:{self.port}/"

    async def _play(self, connection: ServerConnection) -> None:
        self.opened.append(asyncio.get_running_loop().time())
        if len(self.opened) > len(self.scripts):
            await connection.close(4500, "the script has no more connections")
            return
        try:
            await self.scripts[len(self.opened) - 1](Peer(connection))
        except ConnectionClosed:
            return  # the client left in the middle: the test sees that by itself
        except Exception as error:  # noqa: BLE001 - whatever a script raises belongs to the test, not to the server's log
            self._failures.append(error)
        await connection.wait_closed()

    async def __aenter__(self) -> Self:
        self._server = await serve(self._play, "127.0.0.1", self.port, ping_interval=None, close_timeout=1)
        self.port = next(iter(self._server.sockets)).getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()
        if self._failures:
            raise self._failures[0] from error
