"""A sink that keeps what it is given: what a subscription writes to in tests without sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

from gateway.hub import Hub
from gateway.subscription import Subscription


def texts(data: bytes) -> Iterator[bytes]:
    """The payloads of whole text frames (test_frames.py holds the frames against a real client's parser)."""
    at = 0
    while at < len(data):
        head, length = data[at : at + 2]
        assert head == 0x81
        at += 2
        if length > 125:
            size = 2 if length == 126 else 8
            length = int.from_bytes(data[at : at + size], "big")
            at += size
        yield data[at : at + length]
        at += length


def soon(function: Callable[[], None]) -> None:
    """What a hub has called in the next turn of the loop that runs."""
    asyncio.get_running_loop().call_soon(function)


class Recorder:
    """Parses every frame. With a ``room`` it pauses when more bytes than that wait, until ``drain`` is called."""

    deflate = False

    def __init__(self, room: int | None = None) -> None:
        self.paused = False
        self.frames: list[dict[str, Any]] = []
        self.closed: tuple[int, str] | None = None
        self.aborted = False
        self.hub: Hub | None = None  # to leave when closed, as a connection does
        self.subscription: Subscription | None = None
        self._room = room
        self._waiting = 0

    def send(self, data: bytes | memoryview) -> None:
        """Take frames."""
        assert self.closed is None, "written after the close"
        self.frames += map(json.loads, texts(bytes(data)))
        self._waiting += len(data)
        self.paused = self._room is not None and self._waiting > self._room

    def descriptor(self) -> int:
        """There is no socket."""
        return -1

    def drain(self) -> bool:
        """Take everything that waits; tells whether that ended a pause."""
        was = self.paused
        self._waiting = 0
        self.paused = False
        return was

    def fail(self, code: int, reason: str) -> None:
        """Be closed."""
        self.closed = (code, reason)
        if self.hub and self.subscription:
            self.hub.leave(self.subscription)

    def abort(self) -> None:
        """Be dropped."""
        self.aborted = True

    @property
    def offsets(self) -> list[int]:
        """The offsets of the events received."""
        return [frame["offset"] for frame in self.frames if "channel" in frame]

    def control(self, kind: str) -> list[dict[str, Any]]:
        """The control frames of one type."""
        return [frame for frame in self.frames if frame.get("type") == kind]
