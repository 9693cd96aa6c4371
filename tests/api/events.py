"""A client of event streams that parses them as the HTML standard says (section 9.2.6), over a plain connection."""

from __future__ import annotations

import asyncio
import json
from typing import Any, NamedTuple
from urllib.parse import urlencode

from tests.api.client import Answer, Connection, request


class Sent(NamedTuple):
    """One event as a browser would dispatch it; a comment is an event named ``:``."""

    name: str
    data: str
    id: str

    @property
    def json(self) -> Any:
        """The data as JSON."""
        return json.loads(self.data)


class Events:
    """One stream. ``retry`` was said last, ``id`` a browser would come back with, ``text`` is all so far."""

    def __init__(self, connection: Connection, answer: Answer) -> None:
        self.connection = connection
        self.answer = answer
        self.retry: int | None = None
        self.id = ""
        self.text = ""
        self._buffer = b""
        self._ended = False

    @classmethod
    async def open(cls, port: int, path: str, **headers: str) -> Events:
        """Ask for a stream and read the answer's head."""
        connection = await Connection.open(port)
        await connection.send(request("GET", path, **headers))
        return cls(connection, await connection.answer())

    async def __aenter__(self) -> Events:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.connection.writer.transport.abort()

    async def take(self) -> Sent:
        """The next event, within ten seconds; ``EOFError`` at the stream's end."""
        async with asyncio.timeout(10):
            while b"\n\n" not in self._buffer:
                if not await self._read_chunk():
                    raise EOFError(self._buffer)
        block, _, self._buffer = self._buffer.partition(b"\n\n")
        self.text += block.decode() + "\n\n"
        return self._dispatch(block.decode())

    async def take_until(self, name: str) -> list[Sent]:
        """Every event up to and with the next of a name."""
        events = []
        async with asyncio.timeout(60):  # comments may come for ever
            while not events or events[-1].name != name:
                events.append(await self.take())
        return events

    async def offsets(self, count: int) -> list[int]:
        """The offsets of the next ``count`` events, all of them data."""
        return [(await self.take()).json["offset"] for _ in range(count)]

    async def rest(self) -> list[Sent]:
        """Everything until the end of the stream."""
        events = []
        while True:
            try:
                events.append(await self.take())
            except EOFError:
                return events

    async def _read_chunk(self) -> bool:
        if self._ended:
            return False
        size = int(await self.connection.reader.readline(), 16)
        self._buffer += (await self.connection.reader.readexactly(size + 2))[:-2]
        self._ended = size == 0
        return not self._ended

    def _dispatch(self, block: str) -> Sent:
        name, data = "message", []
        for line in block.split("\n"):
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "event":
                name = value
            elif field == "data":
                data.append(value)
            elif field == "id":
                self.id = value
            elif field == "retry":
                self.retry = int(value)
            else:
                name = ":"
        return Sent(name, "\n".join(data), self.id)


def stream(channel: str = "cctv_updates", **query: object) -> str:
    """The path of a stream; ``where`` as a value."""
    return _path("stream", channel, query)


def changes(channel: str = "cctv_updates", **query: object) -> str:
    """The path of a poll."""
    return _path("changes", channel, query)


def _path(kind: str, channel: str, query: dict[str, object]) -> str:
    if "where" in query:
        query["where"] = json.dumps(query["where"])
    return f"/api/{kind}/{channel}" + (f"?{urlencode(query)}" if query else "")
