"""A TCP proxy that does to a link what networks do: cut it, hold it, slow it, refuse it, cut it at a chosen byte.

Threads and blocking sockets only, so it serves tests with and without an event loop::

    with CuttingProxy(port=server.port) as proxy:
        connect_to("127.0.0.1", proxy.port)
        proxy.cut()
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from types import TracebackType

LOOPBACK = "127.0.0.1"
CHUNK = 64 * 1024
TRICKLE = 0.05  # seconds between what a slow link lets through
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: close() sends RST instead of FIN


class CuttingProxy:
    """Forwards connections on its ``port`` (a free one) to ``host:port``. ``accepted`` counts them."""

    def __init__(self, port: int, host: str = LOOPBACK) -> None:
        self._host = host
        self.target = port  # of the connections to come: an address that is switched to another server
        self._lock = threading.Lock()
        self._links: set[_Link] = set()
        self._flowing = threading.Event()
        self._flowing.set()
        self._marker: bytes | None = None
        self.bytes_per_second: float | None = None  # None: as fast as it goes
        self.refusing = False  # accept and close at once, as a dying server does
        self.accepted = 0
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port: int = self._listener.getsockname()[1]
        self._closed = False
        threading.Thread(target=self._accept, name="proxy-accept", daemon=True).start()

    def __enter__(self) -> CuttingProxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def cut(self) -> int:
        """Reset every link now, wherever it is in its stream; gives their number. New ones are accepted."""
        with self._lock:
            links = list(self._links)
        for link in links:
            link.cut()
        return len(links)

    def cut_before_answer_to(self, marker: bytes) -> None:
        """Deliver the next data from a client that contains ``marker``; when the server answers, cut instead.

        The server has acted, and the client will never know.
        """
        self._marker = marker

    @property
    def armed(self) -> bool:
        """Whether ``cut_before_answer_to`` still waits for its marker."""
        return self._marker is not None

    def pause(self) -> None:
        """Forward nothing in either direction, like a link that is down without anybody being told."""
        self._flowing.clear()

    def resume(self) -> None:
        """Forward again, beginning with what was held."""
        self._flowing.set()

    @property
    def links(self) -> int:
        """How many connections are open."""
        with self._lock:
            return len(self._links)

    def close(self) -> None:
        """Accept nothing more, and cut everything."""
        self._closed = True
        # close() alone leaves accept() blocked, and with it the port open
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._flowing.set()
        self.cut()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            if self.refusing:
                client.close()
                continue
            try:
                server = socket.create_connection((self._host, self.target), timeout=10)
            except OSError:
                _reset(client)
                continue
            server.settimeout(None)
            link = _Link(self, client, server)
            with self._lock:
                self._links.add(link)
            link.start()
            if self._closed:  # close() came between the accept and now, and did not see the link
                link.cut()

    def _hold(self) -> None:
        self._flowing.wait()

    def _in_time(self, data: bytes) -> Iterator[bytes]:
        """The data, on a slow link in small parts: it trickles, and does not fall silent between large ones."""
        while data and (rate := self.bytes_per_second) is not None:
            part = data[: max(1, int(rate * TRICKLE))]
            time.sleep(len(part) / rate)
            yield part
            data = data[len(part) :]
        if data:
            yield data

    def _is_marked(self, data: bytes) -> bool:
        if self._marker is None or self._marker not in data:
            return False
        self._marker = None
        return True

    def _forget(self, link: _Link) -> None:
        with self._lock:
            self._links.discard(link)


class _Link:
    """One client and its connection to the server, with a thread for each direction."""

    def __init__(self, proxy: CuttingProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._doomed = False  # the server's next word cuts
        self._ended = threading.Semaphore(0)
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def start(self) -> None:
        for source, target in ((self._client, self._server), (self._server, self._client)):
            threading.Thread(target=self._run, args=(source, target), name="proxy-link", daemon=True).start()

    def cut(self) -> None:
        self._proxy._forget(self)
        for end in (self._client, self._server):
            _reset(end)

    def _run(self, source: socket.socket, target: socket.socket) -> None:
        """Forward until the source ends; close when both have, cut when one breaks."""
        try:
            self._forward(source, target)
        except OSError:
            self.cut()
        if self._ended.acquire(blocking=False):
            self._proxy._forget(self)
            self._client.close()
            self._server.close()
        else:
            self._ended.release()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        while data := source.recv(CHUNK):
            if self._doomed and source is self._server:
                raise ConnectionResetError
            self._proxy._hold()
            if source is self._client and self._proxy._is_marked(data):
                self._doomed = True
            for part in self._proxy._in_time(data):
                target.sendall(part)
        target.shutdown(socket.SHUT_WR)


def _reset(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        end.shutdown(socket.SHUT_RDWR)  # wakes the threads that use it; close() alone leaves them blocked
    end.close()
