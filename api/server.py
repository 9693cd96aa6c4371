"""The HTTP server: uvicorn inside an event loop that belongs to somebody else."""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
from collections.abc import Callable, Iterator

import uvicorn

from api.limits import Asgi
from api.protocol import BoundedProtocol

KEEP_ALIVE = 10  # seconds that an idle connection is kept
UNREAD = 20_000  # milliseconds after which a client that does not read its answer is cut off
UNSENT = 64 * 1024  # bytes that the kernel takes for a client beyond what is on its way


class ApiServer:
    """Serves ``app`` on ``host`` and ``port`` (0: a free one). ``closing`` is called first when it is to stop."""

    def __init__(self, app: Asgi, host: str, port: int, closing: Callable[[], None] = lambda: None) -> None:
        self._app = app
        self._host = host
        self._port = port
        self._closing = closing
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen; raises ``OSError`` naming host and port when that is impossible."""
        listener = _listen(self._host, self._port)
        self._port = listener.getsockname()[1]
        config = uvicorn.Config(
            self._app,
            http=BoundedProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE,
        )
        self._server = _Server(config)
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]), name="api-server")
        listening = asyncio.create_task(self._server.listening.wait())
        await asyncio.wait([self._task, listening], return_when=asyncio.FIRST_COMPLETED)
        if not listening.done():
            listening.cancel()
            listener.close()
            await self._task  # raises what went wrong

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._port

    async def stop(self, deadline: float = 5.0) -> None:
        """Accept nothing new, let requests end for ``deadline`` seconds, then cut what is left."""
        if self._server is None or self._task is None:
            return
        self._closing()  # before uvicorn waits: a stream that goes on would hold it up until the deadline
        self._server.config.timeout_graceful_shutdown = math.ceil(deadline)
        self._server.should_exit = True
        await asyncio.wait([self._task], timeout=deadline)
        self._server.force_exit = True
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()
        await self._task


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handlers, and with a word when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the process."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets=sockets)
        self.listening.set()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from error
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; accepted sockets inherit it
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD)
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):  # otherwise it takes megabytes for each client that does not read
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)
    return listener
