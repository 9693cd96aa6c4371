"""A connection before it is a WebSocket: collects the head of one HTTP request and answers it."""

from __future__ import annotations

import asyncio
import re
from typing import cast

from gateway.admission import Admission
from gateway.connection import Connection, Shared
from gateway.handshake import Answer, Handshake
from gateway.limits import MAX_HEAD

_END = b"\r\n\r\n"
_UPGRADE = re.compile(rb"\r\nupgrade[\t ]*:", re.IGNORECASE)


class Door(asyncio.Protocol):
    """Lives from accept to the end of the handshake, or of a plain HTTP answer; ``doors`` holds the open ones."""

    __slots__ = ("_admission", "_answered", "_doors", "_end", "_handshake", "_head", "_shared", "_transport")

    def __init__(self, shared: Shared, handshake: Handshake, doors: dict[Door, float], admission: Admission) -> None:
        self._shared = shared
        self._handshake = handshake
        self._doors = doors
        self._admission = admission
        self._head = bytearray()
        self._end = 0  # of the head, once it is whole
        self._answered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody knocks."""
        self._transport = cast(asyncio.Transport, transport)
        self._doors[self] = self._shared.now()

    def data_received(self, data: bytes) -> None:
        """Wait for the blank line, within bounds; then whoever wants a WebSocket waits for its turn."""
        if self._answered:
            return  # a body nobody asked for
        if self._end:
            self._head += data  # read before reading was paused
            return
        seen = len(self._head)
        self._head += data
        end = self._head.find(_END, max(0, seen - len(_END)))
        if 0 <= end <= MAX_HEAD:
            self._end = end + len(_END)
            if not _UPGRADE.search(self._head, 0, end):
                self.admit()  # a health check: it is cheap, and must not fail because many others come back
            elif not self._admission.enter(self):
                self._transport.pause_reading()
        elif len(self._head) > MAX_HEAD:
            self._refuse(self._handshake.too_large())

    def admit(self) -> None:
        """Answer the request."""
        self._transport.resume_reading()
        head, rest = bytes(self._head[: self._end]), bytes(self._head[self._end :])
        self._let_in(self._handshake.answer(head), rest)

    def connection_lost(self, exc: Exception | None) -> None:
        """Gone."""
        self._doors.pop(self, None)

    def expire(self) -> None:
        """Close the door on somebody who took too long; not on somebody who waits for us."""
        if self._end and not self._answered:
            return
        if not self._answered:
            self._shared.stats.slow_handshakes += 1
        self.abort()

    def abort(self) -> None:
        """Drop the connection without a word."""
        self._doors.pop(self, None)
        self._transport.abort()

    def _let_in(self, answer: Answer, rest: bytes) -> None:
        if not answer.upgraded:
            self._refuse(answer)
            return
        self._doors.pop(self, None)
        connection = Connection(self._shared, self._transport, answer.deflate)
        self._transport.set_protocol(connection)
        self._transport.write(answer.data)
        if rest:
            connection.data_received(rest)

    def _refuse(self, answer: Answer) -> None:
        self._answered = True
        self._head.clear()
        if not answer.health:
            self._shared.stats.refused += 1
        self._transport.write(answer.data)
        # Half-closed: closing with unread input would reset the connection and lose the answer.
        self._transport.write_eof()
