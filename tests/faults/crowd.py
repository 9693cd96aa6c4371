"""Many clients in one event loop, light enough for millions of rows: raw sockets, and only what must be looked at.

A visitor comes back by epoch and offset whenever it is sent away. Whatever it is sent must follow on what it had, and
be the same row under the same offset as everybody else's; the first that is not is kept in ``Crowd.wrong``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import resource
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, cast

from bench.swarm import text_frame

CHANNEL = "cctv_updates"
_UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_PONG = b"\x8a\x80\0\0\0\0"
_PONG_SECONDS = 10.0  # each says that often that it is alive, asked or not
_SUBSCRIBED = re.compile(rb'"type":"subscribed"[^}]*"epoch":"(\w+)","offset":(\d+)')
_ROW = re.compile(rb'"offset":(\d+)[^}\0-\x1f]*?"id":(\d+),')  # what is sent for a row begins with its primary key
_CARRY = 512  # bytes that may be the beginning of something looked for
_AGAIN = 0.2  # seconds until one that was sent away comes again


def descriptors(wanted: int) -> int:
    """How many files may be open from now on, here and in processes to come: so many if the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        soft = min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft


class Visitor(asyncio.Protocol):
    """One client. ``offset`` is the newest that it has; ``connects`` how often it came."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._carry = b""
        self._upgraded = self._subscribed = False
        self.transport: asyncio.Transport | None = None
        self.epoch = ""
        self.offset = 0
        self.connects = 0

    async def come(self) -> None:
        """Connect, and subscribe where it was; the first time, live."""
        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", self._crowd.port)
            return
        self._come_again()

    def _come_again(self) -> None:
        if not self._crowd.away and not self.done:
            asyncio.get_running_loop().call_later(_AGAIN, lambda: self._crowd.keep(self.come()))

    def was_at(self, other: Visitor) -> None:
        """Come as if it had been here before, and had what another one has."""
        self.epoch, self.offset, self.connects = other.epoch, other.offset, max(1, self.connects)

    @property
    def there(self) -> bool:
        """Whether its subscription was confirmed."""
        return self._subscribed

    @property
    def done(self) -> bool:
        """Whether it has all that it came for."""
        return self._crowd.goal is not None and self.offset >= self._crowd.goal

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for an upgrade."""
        self.transport = cast("asyncio.Transport", transport)
        self._carry, self._upgraded, self._subscribed = b"", False, False
        self.transport.write(_UPGRADE)

    def connection_lost(self, _: Exception | None) -> None:
        """Come again, unless all are to stay away."""
        self.transport, self._subscribed = None, False
        self._come_again()

    def data_received(self, data: bytes) -> None:
        """Take what has come."""
        data = self._carry + data
        end = 0
        if not self._upgraded:
            end = self._upgrade(data)
        if self._upgraded and not self._subscribed and (found := _SUBSCRIBED.search(data, end)):
            self._subscribed, end = True, found.end()
            self._begin(found[1].decode(), int(found[2]))
        if self._subscribed:
            end = self._rows(data, end)
            if self.done and self.transport is not None:
                self.transport.abort()
        self._carry = data[max(end, len(data) - _CARRY) :]

    def _upgrade(self, data: bytes) -> int:
        end = data.find(b"\r\n\r\n") + 4
        if end >= 4 and self.transport is not None:
            if b" 101 " not in data[:16]:
                self.transport.abort()
                return end
            self._upgraded = True
            where = {"epoch": self.epoch, "offset": self.offset} if self.connects else {}
            self.transport.write(text_frame(json.dumps({"type": "subscribe", "channel": CHANNEL, **where})))
        return max(end, 0)

    def _begin(self, epoch: str, offset: int) -> None:
        if self.connects and (epoch, offset) != (self.epoch, self.offset):
            self._crowd.wrong.append(f"at {self.epoch}:{self.offset} it was given {epoch}:{offset}")
        self.epoch, self.offset = epoch, offset
        self.connects += 1

    def _rows(self, data: bytes, end: int) -> int:
        if b'"type":"gap"' in data[end:]:
            self._crowd.wrong.append(f"a gap behind {self.offset}")
        ids, offset = self._crowd.ids, self.offset
        for found in _ROW.finditer(data, end):
            number, row = int(found[1]), int(found[2])
            if number != offset + 1 or ids.setdefault(number, row) != row:
                self._crowd.wrong.append(f"{number} (row {row}) behind {offset}")
            offset, end = number, found.end()
        self.offset = offset
        return end


class Crowd:
    """``count`` visitors of a gateway; a context manager, which lets them come. ``ids``: each offset's row.

    Who has reached ``goal``, an offset, leaves for good. ``patience`` is how many seconds it waits for all.
    """

    def __init__(self, port: int, count: int, patience: float = 60.0) -> None:
        self.port = port
        self.patience = patience
        self.away = True
        self.goal: int | None = None
        self.ids: dict[int, int] = {}
        self.wrong: list[str] = []
        self.visitors = [Visitor(self) for _ in range(count)]
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Crowd:
        await self.come()
        self.keep(self._pong())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()
        for task in self._tasks:
            task.cancel()

    def keep(self, work: Coroutine[Any, Any, None]) -> None:
        """Let something run beside everything else."""
        self._tasks.add(task := asyncio.create_task(work))
        task.add_done_callback(self._tasks.discard)

    async def come(self) -> None:
        """All at once; returns when all are subscribed."""
        self.away = False
        for visitor in self.visitors:
            self.keep(visitor.come())
        await self.until(lambda visitor: visitor.there or visitor.done)

    def leave(self) -> None:
        """All at once, without a word."""
        self.away = True
        for visitor in self.visitors:
            if visitor.transport is not None:
                visitor.transport.abort()

    async def until_at(self, offset: int) -> None:
        """Wait until each has everything up to ``offset``."""
        await self.until(lambda visitor: visitor.offset >= offset)

    async def until(self, condition: Callable[[Visitor], bool]) -> None:
        """Wait until a condition holds for each, one after the other; fail when anything was wrong, or in the end."""
        late = list(self.visitors)
        try:
            async with asyncio.timeout(self.patience):
                while late := [visitor for visitor in late if not condition(visitor)]:
                    assert not self.wrong, self.wrong[:3]
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{len(late)} of {len(self.visitors)} are late after {self.patience:g} s") from None
        assert not self.wrong, self.wrong[:3]

    async def _pong(self) -> None:
        while True:
            await asyncio.sleep(_PONG_SECONDS)
            for visitor in self.visitors:
                if visitor.there and visitor.transport is not None:
                    visitor.transport.write(_PONG)
