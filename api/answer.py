"""One request and its answer, as uvicorn has them, with an answer of known length sent in one write."""

from __future__ import annotations

import asyncio
from functools import lru_cache
from typing import Any, NamedTuple

from uvicorn._types import HTTPScope
from uvicorn.protocols.http.httptools_impl import (
    HEADER_RE,
    HEADER_VALUE_RE,
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

Header = tuple[bytes, bytes]

_SPECIAL = frozenset({b"connection", b"transfer-encoding"})


class _Held(NamedTuple):
    """The message that begins an answer, its bytes, and the length that they tell of the body."""

    message: Any
    lines: bytes
    length: int


class Cycle(RequestResponseCycle):
    """A head that tells the length of its body waits for it. All else is sent as uvicorn sends it.

    uvicorn writes the two one after the other, and the loop sends each at once: two calls into the kernel, which are
    what costs most about an answer, and two packets, at each of which the client wakes.
    """

    access_log = False
    disconnected = False
    more_body = True
    response_started = False
    response_complete = False
    chunked_encoding = None
    expected_content_length = 0
    _held: _Held | None = None
    _told = False

    def __init__(self, protocol: HttpToolsProtocol, scope: HTTPScope, *, keep_alive: bool) -> None:
        # uvicorn's sets all of what stands above for each request, and takes each part of the protocol by itself.
        self.scope = scope
        self.transport = protocol.transport
        self.flow = protocol.flow
        self.logger = protocol.logger
        self.default_headers = protocol.server_state.default_headers
        self.message_event = asyncio.Event()
        self.on_response = protocol.on_response_complete
        self.keep_alive = keep_alive
        self.waiting_for_100_continue = protocol.expect_100_continue
        self.body = bytearray()

    async def receive(self) -> Any:
        """What the application is told next; part of ASGI."""
        waits = self.more_body or self.waiting_for_100_continue or self._told
        if waits or self.response_complete or self.disconnected:
            message: Any = await super().receive()
            self._told = message["type"] == "http.request" and not message.get("more_body", False)
            return message
        self._told = True
        self.flow.resume_reading()
        self.message_event.clear()
        body, self.body = bytes(self.body), bytearray()
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: Any) -> None:
        """Take a message of the application's; part of ASGI."""
        held, self._held = self._held, None
        if held is not None:
            if message["type"] == "http.response.body" and self._answered(held, message):
                return
            await super().send(held.message)
        elif message["type"] == "http.response.start" and not self.response_started:
            lines, length = _head(message["status"], (*self.default_headers, *message["headers"]))
            if length is not None:
                self._held = _Held(message, lines, length)
                return
        await super().send(message)

    async def send_500_response(self) -> None:
        """Answer that the application has failed, in place of a head that has not gone out."""
        self._held = None
        await super().send_500_response()

    def _answered(self, held: _Held, message: Any) -> bool:
        """Send head and body, if this is all of the body and nothing is out of the ordinary."""
        body: bytes = message.get("body", b"")
        if (
            len(body) != held.length
            or message.get("more_body", False)
            or self.flow.write_paused
            or self.disconnected
            or not self.keep_alive
            or self.scope["method"] == "HEAD"
        ):
            return False
        self.waiting_for_100_continue = False
        self.response_started = self.response_complete = True
        self.transport.write(held.lines + body)
        self.message_event.set()
        self.on_response()
        return True


@lru_cache(maxsize=64)  # most answers begin alike, and the date is that of the second
def _head(status: int, headers: tuple[Header, ...]) -> tuple[bytes, int | None]:
    """The head of an answer, and the length that it tells; None where uvicorn shall decide how it is sent."""
    lines, length = [STATUS_LINE[status]], None
    for name, value in headers:
        if HEADER_RE.search(name) or HEADER_VALUE_RE.search(value) or name.lower() in _SPECIAL:
            return b"", None
        if name.lower() == b"content-length":
            if length is not None:
                return b"", None
            length = int(value)
        lines += [name.lower(), b": ", value, b"\r\n"]
    return b"".join([*lines, b"\r\n"]), length
