"""Whoever sent a request, as an application sees it: its whole body, and whether it has left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Receive = Callable[[], Awaitable[Mapping[str, Any]]]

SCOPE_KEY = "rowcast.client"  # where a request's ASGI scope has it


class Client:
    """Part of ASGI: ``receive`` gives the ``body`` first, then whatever the server says.

    ``gone`` is known only while somebody receives. ``left`` is called when it becomes known.
    """

    __slots__ = ("_given", "_receive", "body", "gone", "left")

    def __init__(self, body: bytes, receive: Receive) -> None:
        self.body = body
        self._given = False
        self._receive = receive
        self.gone = False
        self.left: Callable[[], None] = _nothing

    async def receive(self) -> Mapping[str, Any]:
        """The next message of the server's."""
        if not self._given:
            self._given = True
            return {"type": "http.request", "body": self.body, "more_body": False}
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
