"""`rowcast tail`: follows a channel over WebSocket and prints each event. Comes back where it left off."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidURI, WebSocketException

from journal.types import Cursor
from rowcast.errors import UNREACHABLE, USAGE, Failure

_FINAL = range(4500, 5000)  # close codes that say: do not come back
_DOUBT = 1.0, 15.0  # seconds: shortest and longest wait between attempts


class Tail:
    """One channel followed for ever. ``show`` gets each event's frame as text, ``note`` what happens besides."""

    def __init__(
        self, url: str, channel: str, last: int, show: Callable[[str], None], note: Callable[[str], None]
    ) -> None:
        self._url = url
        self._channel = channel
        self._last = last
        self._show = show
        self._note = note
        self._cursor: Cursor | None = None

    async def run(self) -> None:
        """Follow until cancelled; raises ``Failure`` when the first attempt fails or the server refuses for good."""
        wait = _DOUBT[0]
        while True:
            try:
                async with connect(self._url, max_size=None, proxy=None) as connection:
                    wait = _DOUBT[0]
                    await self._follow(connection)
            except BrokenPipeError:
                raise  # of ``show``: whoever read our output has left
            except (OSError, ValueError, WebSocketException) as error:
                self._judge(error)
            self._note(f"connection lost; coming back in about {wait:.0f} s")
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - spreads the return, hides nothing
            wait = min(wait * 2, _DOUBT[1])

    async def _follow(self, connection: ClientConnection) -> None:
        await connection.send(msgspec.json.encode(self._request()).decode())
        async for text in connection:
            frame = msgspec.json.decode(text)
            if "channel" in frame:
                assert self._cursor is not None  # "subscribed" comes first
                self._cursor = self._cursor._replace(offset=frame["offset"])
                self._show(str(text))
            else:
                self._control(frame)

    def _request(self) -> dict[str, Any]:
        request: dict[str, Any] = {"type": "subscribe", "channel": self._channel}
        if self._cursor is not None:
            return request | self._cursor._asdict()
        return request | ({"last": self._last} if self._last else {})

    def _control(self, frame: dict[str, Any]) -> None:
        match frame:
            case {"type": "subscribed", "epoch": epoch, "offset": offset}:
                self._cursor = Cursor(epoch, offset)
            case {"type": "gap", "after": after, "before": before, "reason": reason}:
                detail = f" ({frame['detail']})" if frame.get("detail") else ""
                self._note(f"gap: nothing between {after} and {before}: {reason}{detail}")
                if self._cursor is not None:
                    self._cursor = self._cursor._replace(offset=before - 1)
            case {"type": "heartbeat", "source": source, "lag_ms": lag} if source != "live":
                self._note(f"source {source}, {lag} ms behind")
            case {"type": "error", "reason": reason}:
                raise Failure(f"{self._url}: {reason}", "`rowcast config` lists the channels", USAGE)

    def _judge(self, error: Exception) -> None:
        """Let an error pass that a new attempt may mend."""
        if isinstance(error, InvalidURI):
            raise Failure(f"{self._url} is not a WebSocket URL", "as in ws://127.0.0.1:8080/", USAGE) from error
        closed = error.rcvd if isinstance(error, ConnectionClosed) else None
        if closed and closed.code in _FINAL:
            raise Failure(f"{self._url} closed the connection: {closed.reason}", "", UNREACHABLE) from error
        if self._cursor is None:
            hint = "is `rowcast serve` running? --url names another address"
            raise Failure(f"{self._url} cannot be reached: {error}", hint, UNREACHABLE) from error
