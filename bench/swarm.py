"""Thousands of WebSocket clients in one process, as light as Python allows: raw sockets, one epoll, bytes counted.

They stand in for browsers on other machines, so they must not be what a bench measures: nothing is parsed that need
not be. Orders come as lines of JSON: a method of ``Orders`` and its arguments.
"""

from __future__ import annotations

import json
import os
import re
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from bench.arrivals import percentiles
from bench.websocket import count_rows, text_frame

END = b'"end":true'  # stands in the last row of a burst
_STAMP = re.compile(rb'"t\\?": ?(\d{9,})')  # a row's writing time, also inside a JSON string
_CARRY = 64  # bytes that a mark may be cut into
_PONG = b"\x8a\x80\0\0\0\0"
_PONG_SECONDS = 12.0  # each says that often that it is alive, asked or not
_ADDRESSES = 8  # of 127.0.0.0/8 to come from, so that ports do not run out
_IN_FLIGHT = 200  # connections being opened at a time, unless all come at once
_LAZY_SECONDS = 0.25  # how often a client that is only there to be served reads
_TICK = 0.005


class Client:
    """One connection. ``awaits`` is what it has to receive next, None when it only counts."""

    __slots__ = ("awaits", "carry", "connected", "frames", "gone", "got", "number", "sock", "stamps", "upgraded")

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock = sock
        self.number = number  # in the order of connecting; stands for NUMBER in its request
        self.connected = self.upgraded = self.gone = False
        self.awaits: bytes | None = None
        self.carry = b""
        self.got = 0  # bytes
        self.stamps: list[int] | None = None  # nanoseconds from writing to here, where that is measured
        self.frames: bytearray | None = None  # everything received, where it is looked at afterwards


class Swarm:
    """The clients and their epoll."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._by_fd: dict[int, Client] = {}
        self._buffer = bytearray(1 << 18)
        self._view = memoryview(self._buffer)
        self._waiting = 0  # clients that await something
        self._lazy: deque[Client] = deque()
        self._drained = self._ponged = time.monotonic()
        self.clients: list[Client] = []
        self.lost = 0

    # Connecting

    def connect(self, port: int, count: int, subscribe: str | None, until: str, *, at_once: bool = False) -> float:
        """Open ``count`` more connections, each with its request; seconds until each has received ``until``."""
        began = time.monotonic()
        self._request = (
            f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        ).encode()
        self._subscribe = subscribe or ""
        self._until = until.encode()
        self._port = port
        to_open, lost = count, self.lost
        while to_open or self._waiting:
            to_open, lost = to_open + self.lost - lost, self.lost  # who was sent away comes again
            while to_open and (at_once or self._waiting < _IN_FLIGHT):
                self._open(len(self.clients))
                to_open -= 1
            self.step(1.0)
            if time.monotonic() - began > 300:
                raise RuntimeError(f"{self._waiting} of {count} clients were not served within 300 s")
        return time.monotonic() - began

    def _open(self, number: int) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        sock.bind((f"127.0.0.{2 + number % _ADDRESSES}", 0))
        sock.connect_ex(("127.0.0.1", self._port))
        client = Client(sock, number)
        client.awaits = b"\r\n\r\n"
        self._waiting += 1
        self.clients.append(client)
        self._by_fd[sock.fileno()] = client
        self._epoll.register(sock.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def _connected(self, client: Client) -> None:
        client.connected = True
        self._epoll.modify(client.sock.fileno(), select.EPOLLIN)
        self._send(client, self._request)

    def _upgraded(self, client: Client, data: bytes) -> None:
        if b" 101 " not in data[:16]:
            raise RuntimeError(f"refused: {data[:60]!r}")
        client.upgraded = True
        if self._subscribe:
            self._send(client, text_frame(self._subscribe.replace("NUMBER", str(client.number))))
            client.awaits = None if client.gone else self._until
        else:
            self._served(client)

    def _served(self, client: Client) -> None:
        client.awaits = None
        self._waiting -= 1

    # Receiving

    def step(self, seconds: float) -> None:
        """Take what has come, waiting at most so long for it."""
        for fd, mask in self._epoll.poll(seconds, 512):
            client = self._by_fd[fd]
            if not client.connected and mask & select.EPOLLOUT and not mask & select.EPOLLERR:
                self._connected(client)
            if mask & (select.EPOLLIN | select.EPOLLERR | select.EPOLLHUP):
                self._receive(client)
        self._serve_lazy()
        if time.monotonic() - self._ponged > _PONG_SECONDS:
            self._pong()

    def _receive(self, client: Client) -> None:
        try:
            size = client.sock.recv_into(self._buffer)
        except BlockingIOError:
            return
        except OSError:
            size = 0
        if not size:
            self._lose(client)
            return
        client.got += size
        if client.stamps is not None:
            self._stamp(client, client.stamps, size)
        elif client.awaits is not None:
            self._look(client, client.awaits, size)
        if client.frames is not None:
            client.frames += self._view[:size]

    def _look(self, client: Client, awaited: bytes, size: int) -> None:
        data = client.carry + self._view[:size].tobytes()
        if awaited not in data:
            client.carry = data[-_CARRY:]
            return
        client.carry = b""
        if client.upgraded:
            self._served(client)
        else:
            self._upgraded(client, data)

    def _stamp(self, client: Client, stamps: list[int], size: int) -> None:
        now = time.monotonic_ns()
        data = client.carry + self._view[:size].tobytes()
        end = 0
        for found in _STAMP.finditer(data):
            stamps.append(now - int(found[1]))
            end = found.end()
        client.carry = data[max(end, len(data) - _CARRY) :]

    def _lose(self, client: Client) -> None:
        if client.gone:
            return
        fd = client.sock.fileno()
        self._epoll.unregister(fd)
        del self._by_fd[fd]
        client.sock.close()
        client.gone = True
        self.clients.remove(client)
        self.lost += 1
        if client.awaits is not None:
            client.awaits = None
            self._waiting -= 1

    def _serve_lazy(self) -> None:
        """Read for a few of those that are not in a hurry, so that each has its turn in time."""
        now = time.monotonic()
        share = int(len(self._lazy) * (now - self._drained) / _LAZY_SECONDS)
        if share:
            self._drained = now
        for _ in range(min(share, len(self._lazy))):
            client = self._lazy.popleft()
            if not client.gone:
                self._receive(client)
                self._lazy.append(client)

    def _pong(self) -> None:
        self._ponged = time.monotonic()
        for client in list(self.clients):
            if client.upgraded:
                self._send(client, _PONG)

    def _send(self, client: Client, data: bytes) -> None:
        """A few bytes, which always fit unless the server has gone."""
        try:
            client.sock.send(data)
        except OSError:
            self._lose(client)

    # Orders

    def hurry(self, count: int) -> list[Client]:
        """Let ``count`` clients, spread over all, read at once and measure; the others read a few times a second."""
        chosen = spread(self.clients, count)
        for client in chosen:
            client.stamps, client.carry = [], b""
        for client in self.clients:
            if client.stamps is None:
                self._epoll.modify(client.sock.fileno(), 0)
                self._lazy.append(client)
        return chosen

    def burst(self, watched: int) -> Callable[[float], dict[str, Any]]:
        """Make ready to receive a burst; the returned function waits for its end with every client."""
        watching = spread(self.clients, watched)
        for client in watching:
            client.frames = bytearray()
        for client in self.clients:
            client.awaits, client.carry = END, b""
        self._waiting = len(self.clients)

        def wait(seconds: float) -> dict[str, Any]:
            deadline = time.monotonic() + seconds
            while self._waiting:
                self.step(0.5)
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{self._waiting} clients did not get the whole burst within {seconds:g} s")
            ended = time.monotonic()
            seen = [count_rows(bytes(client.frames or b"")) for client in watching]
            for client in watching:
                client.frames = None
            return {"ended": ended, "rows": min(seen), "lost": self.lost}

        return wait

    def latency(self, chosen: list[Client], rows: int, seconds: float) -> dict[str, Any]:
        """Wait until each of ``chosen`` has ``rows`` rows; milliseconds from their writing, as percentiles."""
        deadline = time.monotonic() + seconds
        while any(len(client.stamps or ()) < rows for client in chosen) and time.monotonic() < deadline:
            self.step(_TICK)
        stamps = sorted(stamp / 1e6 for client in chosen for stamp in client.stamps or ())
        for client in chosen:
            client.stamps = []
        return percentiles(stamps) | {"rows": len(stamps), "lost": self.lost}

    def deafen(self, count: int) -> None:
        """Let the last ``count`` clients never read again."""
        for client in self.clients[-count:]:
            self._epoll.modify(client.sock.fileno(), 0)
        self.clients = self.clients[:-count]


class Orders:
    """What the swarm is told, one line at a time; each method's answer is one line."""

    def __init__(self, swarm: Swarm) -> None:
        self._swarm = swarm
        self._chosen: list[Client] = []

    def connect(
        self, port: int, count: int, until: str, subscribe: str | None = None, *, at_once: bool = False
    ) -> dict[str, Any]:
        """Open connections; answers how long that took and how many had to try again."""
        lost = self._swarm.lost
        seconds = self._swarm.connect(port, count, subscribe, until, at_once=at_once)
        return {"seconds": seconds, "again": self._swarm.lost - lost}

    def burst(self, watched: int, seconds: float) -> dict[str, Any]:
        """Answers when it is ready, and again when everybody has the burst's last row."""
        wait = self._swarm.burst(watched)
        answer({"ready": True})
        return wait(seconds)

    def hurry(self, count: int) -> dict[str, Any]:
        """Choose those who measure."""
        self._chosen = self._swarm.hurry(count)
        return {"measured": len(self._chosen)}

    def latency(self, rows: int, seconds: float) -> dict[str, Any]:
        """Wait for so many rows at each of those who measure."""
        return self._swarm.latency(self._chosen, rows, seconds)

    def deafen(self, count: int) -> dict[str, Any]:
        """Let some never read again."""
        self._swarm.deafen(count)
        return {"deaf": count}


def main() -> None:
    """Do as told until the orders end, reading meanwhile."""
    swarm = Swarm()
    orders = Orders(swarm)
    while True:
        swarm.step(_TICK)
        if select.select([0], [], [], 0)[0]:
            line = sys.stdin.buffer.readline()
            if not line:
                os._exit(0)  # thousands of sockets close faster this way
            order = json.loads(line)
            answer(getattr(orders, order.pop("do"))(**order))


def answer(known: dict[str, Any]) -> None:
    """One line for whoever gave the order."""
    print(json.dumps(known), flush=True)


def spread(clients: list[Client], count: int) -> list[Client]:
    """``count`` of the clients, evenly over the order in which they came."""
    return clients[:: max(1, len(clients) // count)][:count]


if __name__ == "__main__":
    main()
