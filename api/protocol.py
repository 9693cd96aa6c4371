"""uvicorn's HTTP protocol with the deadline and the bound that it lacks, and with fewer steps for a small request.

uvicorn waits for ever for the rest of a request, head or body, and keeps a head of any length in memory. How long a
body may be is bounded in ``api.limits``; everything around it here.
"""

from __future__ import annotations

import asyncio
from functools import lru_cache
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import unquote

import httptools
from uvicorn._types import ASGI3Application, ASGIVersions
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.answer import Cycle
from api.errors import Failure, encode

REQUEST_SECONDS = 15.0  # from the connection, or the first byte of a later request, to the end of its body
MAX_HEAD = 32 * 1024  # bytes that may come without completing a head or belonging to a body

_LONG = 256  # bytes of a request's target that are not worth remembering
_ASGI: ASGIVersions = {"version": "3.0", "spec_version": "2.3"}


class BoundedProtocol(HttpToolsProtocol):
    """One connection. A timer runs whenever bytes of a request are still to come; what is not whole ends with it."""

    cycle: Cycle
    _timer: asyncio.TimerHandle | None = None
    _in_head = False  # a head has begun and is not complete
    _stray = 0
    _answering: Cycle | None = None  # the others wait in ``pipeline``
    _idle_since = 0.0  # a time of the loop's
    _idle_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting, and tell the request that is being answered. uvicorn tells the one that came last."""
        self._disarm()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        self.pipeline.clear()
        if self._answering is not None and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.message_event.set()
        super().connection_lost(exc)

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

    # A request, as the parser tells of it

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._in_head = True
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def on_headers_complete(self) -> None:
        """The head is whole: begin to answer, or wait for the answers that are due before.

        uvicorn's own does the same in more steps, for there is more that it can be set to.
        """
        self._in_head = False
        self._stray = 0
        before, self.cycle = self.cycle, self._new_cycle()
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def _new_cycle(self) -> Cycle:
        parser = self.parser
        version = parser.get_http_version()
        path, raw_path, query = (_target if len(self.url) <= _LONG else _parsed)(self.url)
        self.scope = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": cast("Any", self.scheme),
            "method": parser.get_method().decode("ascii"),
            "root_path": "",
            "path": path,
            "raw_path": raw_path,
            "query_string": query,
            "headers": self.headers,
        }
        return Cycle(self, self.scope, keep_alive=version != "1.0" and parser.should_keep_alive())

    def _start_asgi_task(self, cycle: Cycle, app: ASGI3Application) -> None:  # type: ignore[override]  # ours alone
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        """A part of a body, wanted or not, is no stray."""
        self._stray = 0
        cycle = self.cycle
        if cycle.response_complete:
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        """The last byte of a request: from here the application has the clock."""
        self._disarm()
        cycle = self.cycle
        if not cycle.response_complete:
            cycle.more_body = False
            cycle.message_event.set()

    def on_response_complete(self) -> None:
        """Begin the next answer, or close the connection if nothing comes.

        One timer looks after many answers: to set and to stop one for each costs more than to look in vain.
        """
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*cast("tuple[Cycle, ASGI3Application]", self.pipeline.pop()))
            return
        self._idle_since = self.loop.time()
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_later(self.timeout_keep_alive, self._look)

    def _look(self) -> None:
        self._idle_timer = None
        if self._in_head or self._under_way():
            return  # the end of this request's answer begins a new wait
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._idle_timer = self.loop.call_later(left, self._look)
        else:
            self.transport.close()

    # What is no request

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


def _parsed(url: bytes) -> tuple[str, bytes, bytes]:
    """The path of a request, as it is meant and as it came, and its query."""
    parsed = httptools.parse_url(url)
    path = parsed.path.decode("ascii")
    return unquote(path) if "%" in path else path, parsed.path, parsed.query or b""


_target = lru_cache(maxsize=64)(_parsed)
