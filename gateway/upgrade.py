"""The ordinary request for a WebSocket, read without the library: as browsers and most programs write it.

Whatever is unusual about a request is left to the library, which is more patient and knows what to answer. What is
read here, it would accept too, with the very same answer: tests hold the two against each other.
"""

from __future__ import annotations

import re
import time
from email.utils import formatdate
from functools import lru_cache
from typing import NamedTuple

from websockets.utils import accept_key

_MOST_LINES = 100
_MOST_BYTES = 8000  # of the whole head; the library takes that much in one line
_HEAD = re.compile(
    rb"GET /[!-~]* HTTP/1\.1\r\n"
    rb"(?:[-!#$%&'*+.^_`|~0-9a-zA-Z]+:[\t\x20-\x7e\x80-\xff]*\r\n)+"
    rb"\r\n"
)
_KEY = re.compile("[A-Za-z0-9+/]{22}==")  # 16 bytes in base64
_CONNECTION = {"upgrade", "keep-alive, upgrade"}
_UNUSUAL = {"content-length", "transfer-encoding", "sec-websocket-protocol"}


class Upgrade(NamedTuple):
    """What matters of such a request; ``extensions`` are offered, in the client's own words."""

    key: str
    origin: str | None
    host: str | None
    extensions: str | None


def ordinary(head: bytes) -> Upgrade | None:
    """Read a request's head, up to and with its blank line; ``None`` for any that is not as most are."""
    if len(head) > _MOST_BYTES or not _HEAD.fullmatch(head):
        return None
    lines = head.decode("latin-1").split("\r\n")[1:-2]
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        fields[name.lower()] = value.strip(" \t")
    if len(fields) < len(lines) or len(lines) > _MOST_LINES or not _UNUSUAL.isdisjoint(fields):
        return None  # a field stands twice, there are too many, or they ask for more
    key = fields.get("sec-websocket-key", "")
    if (
        fields.get("upgrade", "").lower() != "websocket"
        or fields.get("connection", "").lower() not in _CONNECTION
        or fields.get("sec-websocket-version") != "13"
        or not _KEY.fullmatch(key)
    ):
        return None
    return Upgrade(key, fields.get("origin"), fields.get("host"), fields.get("sec-websocket-extensions"))


def switching(key: str, extensions: str | None = None) -> bytes:
    """The answer that accepts a request, with those extensions that were agreed on."""
    agreed = f"Sec-WebSocket-Extensions: {extensions}\r\n" if extensions else ""
    return (
        f"HTTP/1.1 101 Switching Protocols\r\nDate: {_date(int(time.time()))}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Accept: {accept_key(key)}\r\n{agreed}\r\n"
    ).encode()


@lru_cache(maxsize=1)
def _date(seconds: int) -> str:
    return formatdate(seconds, usegmt=True)
