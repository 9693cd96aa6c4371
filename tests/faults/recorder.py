"""A client that writes down what it is sent, and comes back by epoch and offset when it is cut off."""

from __future__ import annotations

import asyncio
import contextlib
import json
from types import TracebackType
from typing import Any, NamedTuple

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake, InvalidMessage, WebSocketException

CHANNEL = "cctv_updates"
RECONNECT_SECONDS = 0.05


class Seen(NamedTuple):
    """One event as it arrived."""

    epoch: str
    offset: int
    message: dict[str, Any]
    op: str = "insert"


class Recorder:
    """Subscribes to ``channel`` at ``url`` and records until it is left; a context manager.

    ``start`` is what the first subscribe asks for: ``{}`` for live, ``{"offset": 0}`` for everything kept.
    """

    def __init__(self, url: str, channel: str = CHANNEL, **start: object) -> None:
        self.pause = RECONNECT_SECONDS  # between two connections
        self.url = url
        self.channel = channel
        self.seen: list[Seen] = []
        self.gaps: list[dict[str, Any]] = []
        self.sources: list[str] = []  # as heartbeats tell, and how late they say it is
        self.lags: list[int] = []
        self.connects = 0
        self.live = asyncio.Event()
        self._start = start
        self._epoch = ""
        self._offset: int | None = None

    async def __aenter__(self) -> Recorder:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    @property
    def offsets(self) -> list[int]:
        """Every offset in the order of arrival."""
        return [seen.offset for seen in self.seen]

    async def until_seen(self, count: int, seconds: float = 60.0) -> None:
        """Wait for ``count`` events; fail with what is there when they do not come."""
        try:
            async with asyncio.timeout(seconds):
                while len(self.seen) < count:
                    if self._task.done():
                        self._task.result()
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"{len(self.seen)} of {count} events after {seconds:g} s") from None

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(OSError, EOFError, InvalidHandshake, InvalidMessage, WebSocketException):
                await self._session()
            self.live.clear()
            await asyncio.sleep(self.pause)

    async def _session(self) -> None:
        socket = await connect(self.url, max_size=None, compression=None)
        try:
            self.connects += 1
            await socket.send(json.dumps({"type": "subscribe", "channel": self.channel, **self._where_we_are()}))
            async for text in socket:
                self._take(json.loads(text))
        finally:
            socket.transport.abort()  # a close that waits for a dying server, when cancelled, would leave it open

    def _where_we_are(self) -> dict[str, object]:
        return self._start if self._offset is None else {"epoch": self._epoch, "offset": self._offset}

    def _take(self, frame: dict[str, Any]) -> None:
        if "channel" in frame:
            self.seen.append(Seen(self._epoch, frame["offset"], frame["message"], frame.get("op", "insert")))
            self._offset = frame["offset"]
        elif frame["type"] == "subscribed":
            self._epoch, self._offset = frame["epoch"], frame["offset"]
        elif frame["type"] == "gap":
            self.gaps.append(frame)
            self._offset = frame["before"] - 1
        elif frame["type"] == "live":
            self.live.set()
        elif frame["type"] == "heartbeat":
            self.sources.append(frame["source"])
            self.lags.append(frame["lag_ms"])
