"""A plain HTTP/1.1 client over asyncio streams, which can also send what no library would."""

from __future__ import annotations

import asyncio
import json
from typing import Any, NamedTuple

URL = "https://example.org/a?b=c"


class Answer(NamedTuple):
    """One response; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Connection:
    """One TCP connection to the API."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, port: int) -> Connection:
        """Connect, and say nothing yet."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()

    async def send(self, data: bytes) -> None:
        """Send these very bytes."""
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, *, head: bool = False) -> Answer:
        """The next response, within twenty seconds."""
        async with asyncio.timeout(20):
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            pairs = (line.split(": ", 1) for line in lines[1:] if line)
            headers = {name.lower(): value for name, value in pairs}
            size = 0 if head else int(headers.get("content-length", 0))
            return Answer(int(lines[0].split()[1]), headers, await self.reader.readexactly(size))

    async def closed(self, seconds: float = 10.0) -> bytes:
        """What still comes until the other side closes; fails when it does not in time."""
        async with asyncio.timeout(seconds):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """The bytes of a request; underscores in header names stand for hyphens."""
    given = {"host": "localhost", "content-length": str(len(body))} if body else {"host": "localhost"}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def ask(port: int, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
    """One request on a connection of its own."""
    async with await Connection.open(port) as connection:
        await connection.send(request(method, path, body, **headers))
        return await connection.answer(head=method == "HEAD")


def result(data: Any = None, **fields: Any) -> bytes:
    """The body of a good POST, with other fields where given."""
    return json.dumps({"account": "shop", "data": data, "url": URL, **fields}).encode()


async def post(port: int, body: bytes, path: str = "/api/scraped-result", **headers: str) -> Answer:
    """POST a body of JSON."""
    return await ask(port, "POST", path, body, **{"content_type": "application/json", **headers})
