"""uvicorn's HTTP protocol with the deadline and the bound that it lacks, and with answers in one piece.

uvicorn waits for ever for the rest of a request, head or body, and keeps a head of any length in memory. How long a
body may be is bounded in ``api.limits``; everything around it here.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, cast

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from api.errors import Failure, encode

REQUEST_SECONDS = 15.0  # from the connection, or the first byte of a later request, to the end of its body
MAX_HEAD = 32 * 1024  # bytes that may come without completing a head or belonging to a body


class WholeAnswers:
    """A transport that sends the head of an answer together with what follows it, or in the loop's next turn.

    uvicorn writes the two one after the other, and the loop sends each at once: two calls into the kernel, which are
    what costs most about an answer, and two packets, at each of which the client wakes.
    """

    __slots__ = ("_head", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        """Whether it is closed or about to be."""
        return self._transport.is_closing()

    def write(self, data: bytes) -> None:
        """Send it; a head waits."""
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(b"HTTP/1.1 "):
            self._head = data
            self._loop.call_soon(self._flush)
            return
        self._transport.write(data)

    def close(self) -> None:
        """Send what waits, then close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        head, self._head = self._head, b""
        if head and not self._transport.is_closing():
            self._transport.write(head)


class BoundedProtocol(HttpToolsProtocol):
    """One connection. A timer runs whenever bytes of a request are still to come; what is not whole ends with it."""

    _timer: asyncio.TimerHandle | None = None
    _in_head = False  # a head has begun and is not complete
    _stray = 0
    _answering: RequestResponseCycle | None = None  # the others wait in ``pipeline``

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Begin to wait for a request."""
        super().connection_made(cast("asyncio.Transport", WholeAnswers(transport, self.loop)))
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting, and tell the request that is being answered. uvicorn tells the one that came last."""
        self._disarm()
        self.pipeline.clear()
        if self._answering is not None and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.message_event.set()
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, then see whether it got anywhere."""
        self._stray += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._stray > MAX_HEAD:
            self._refuse(431, "The head of the request is too large")
        elif self._timer is None and (self._in_head or not self._under_way() or self.cycle.more_body):
            self._arm()

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._in_head = False
        self._stray = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of a body, wanted or not, is no stray."""
        self._stray = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The last byte of a request: from here the application has the clock."""
        self._disarm()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP, in JSON like everything else."""
        self._refuse(400, msg)

    def _under_way(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _arm(self) -> None:
        self._timer = self.loop.call_later(REQUEST_SECONDS, self._too_late)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_late(self) -> None:
        if self._in_head or self._under_way():
            self._refuse(408, f"The request did not arrive in {REQUEST_SECONDS:g} seconds")
        else:
            self.transport.close()

    def _refuse(self, status: int, error: str) -> None:
        """Answer and close. Where an earlier request still waits for its answer, this would pass for it: only close."""
        self._disarm()
        if not self._owes_answer():
            body = encode(Failure(error=error))
            head = (
                f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
                f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + body)
        self.transport.close()

    def _owes_answer(self) -> bool:
        whole = self._under_way() and (self.cycle.response_started or not self.cycle.more_body)
        return whole or bool(self.pipeline)
