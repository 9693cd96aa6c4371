"""Posts results as fast as they are answered, so many in flight.

It stands in for scrapers on other machines, so it must not be what a bench measures: raw sockets, one epoll, a request
made once, and of an answer only what tells that it is whole and a 201.
"""

from __future__ import annotations

import json
import os
import re
import select
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack

from bench.arrivals import percentiles

_BODY = (
    b'{"account":"shop","data":{"price":9.5,"currency":"EUR","title":"A thing to be bought","stock":[1,2,3]},'
    b'"url":"https://example.org/item/1"}'
)
_CREATED = b"HTTP/1.1 201 "
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_WARM = 1.0  # seconds that are not counted
_PATIENCE = 30.0  # seconds without any answer after which the bench has failed


class Connection:
    """One connection and its request under way."""

    __slots__ = ("began", "got", "sock")

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.began = 0.0
        self.got = b""  # of an answer that is not whole

    def post(self, request: bytes, now: float) -> None:
        """Send the request; it is small, and nothing of an earlier one is unread, so it fits."""
        self.began = now
        self.sock.sendall(request)

    def answered(self) -> bool:
        """Take what has come, and say whether the answer is whole; anything but a 201 ends the bench."""
        data = self.sock.recv(65536)
        if not data:
            raise RuntimeError("a connection was closed before its answer")
        self.got += data
        if not whole(self.got):
            return False
        self.got = b""
        return True


def whole(answer: bytes) -> bool:
    """Whether all of an answer is there; raises ``RuntimeError`` unless it is a 201 whose length is told."""
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return False
    length = _LENGTH.search(answer, 0, end + 2)
    if not answer.startswith(_CREATED) or length is None:
        raise RuntimeError(f"a POST was answered with {answer[:40]!r}")
    return len(answer) >= end + 4 + int(length[1])


def main() -> None:
    """Post for so many seconds; print what came of it."""
    task = json.loads(os.environ["BENCH_TASK"])
    took = sorted(post(task["port"], task["in_flight"], task["seconds"]))
    print(json.dumps({"rate": len(took) / task["seconds"]} | percentiles(took)))


def post(port: int, in_flight: int, seconds: float) -> list[float]:
    """Milliseconds that each answer took, of the requests sent after ``_WARM`` seconds and within ``seconds`` of it."""
    with ExitStack() as stack:
        connections = [Connection(port) for _ in range(in_flight)]
        for one in connections:
            stack.callback(one.sock.close)
        return _drive(connections, _request(port), seconds)


def _request(port: int) -> bytes:
    head = f"POST /api/scraped-result HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(_BODY) + _BODY


def _drive(connections: Sequence[Connection], request: bytes, seconds: float) -> list[float]:
    warm = time.monotonic() + _WARM
    end = warm + seconds
    took: list[float] = []
    waiting = {one.sock.fileno(): one for one in connections}
    with select.epoll() as epoll:
        for number, one in waiting.items():
            epoll.register(number, select.EPOLLIN)
            one.post(request, time.monotonic())
        while waiting:
            ready = epoll.poll(_PATIENCE)
            if not ready:
                raise RuntimeError(f"no POST was answered within {_PATIENCE:g} s")
            for number, _ in ready:
                one = waiting[number]
                if not one.answered():
                    continue
                now = time.monotonic()
                if one.began >= warm:
                    took.append((now - one.began) * 1000)
                if now < end:
                    one.post(request, now)
                else:
                    del waiting[number]
    return took


if __name__ == "__main__":
    main()
