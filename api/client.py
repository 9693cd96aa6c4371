"""Whoever sent a request, as an application sees it: its whole body, and whether it has left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Receive = Callable[[], Awaitable[Mapping[str, Any]]]

SCOPE_KEY = "rowcast.client"  # where a request's ASGI scope has it


class Client:
    """Part of ASGI: ``receive`` gives the body first, then whatever the server says.

    ``gone`` is known only while somebody receives. ``left`` is called when it becomes known.
    """

    __slots__ = ("_body", "_receive", "gone", "left")

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive
        self.gone = False
        self.left: Callable[[], None] = _nothing

    async def receive(self) -> Mapping[str, Any]:
        """The next message of the server's."""
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.gone = True
            self.left()
        return message

    async def watch(self) -> None:
        """Receive until it leaves."""
        while not self.gone:
            await self.receive()


def _nothing() -> None:
    pass
