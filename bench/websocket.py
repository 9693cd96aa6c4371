"""As much of the WebSocket framing as the benches' clients need (RFC 6455, section 5.2)."""

from __future__ import annotations

import json
from collections.abc import Iterator

_TEXT = 0x81


def text_frame(text: str) -> bytes:
    """A client's text frame; its mask is zero, which RFC 6455 allows and a server cannot tell."""
    data = text.encode()
    assert len(data) < 126
    return bytes([_TEXT, 0x80 | len(data), 0, 0, 0, 0]) + data


def frames(data: bytes) -> Iterator[bytes]:
    """The text messages in what a server sent (RFC 6455, 5.2: unmasked, whole)."""
    at = 0
    while at + 2 <= len(data):
        size, head = data[at + 1] & 0x7F, 2
        if size == 126:
            size, head = int.from_bytes(data[at + 2 : at + 4]), 4
        elif size == 127:
            size, head = int.from_bytes(data[at + 2 : at + 10]), 10
        if data[at] & 0x0F == 1:
            yield data[at + head : at + head + size]
        at += head + size


def count_rows(data: bytes) -> int:
    """Data frames in what a server sent; that each is whole JSON is looked at too."""
    return sum("message" in json.loads(frame) for frame in frames(data))
