"""The source's state as every client is told it, and rounds over many connections in small slices."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Generic, TypeVar

from gateway.frames import control_frame
from gateway.wire import Heartbeat, SourceState

T = TypeVar("T")
AT_ONCE = 500  # connections visited in one turn of the loop: a few milliseconds


class Source:
    """How the source is. Its heartbeat frame is made once for everybody."""

    def __init__(self) -> None:
        self.state: SourceState = "down"  # until the capture has said otherwise
        self.frame = b""
        self.set("down", 0)

    def set(self, state: SourceState, lag_ms: int) -> bool:
        """Take over what the capture says; tells whether the state changed."""
        changed = state != self.state
        self.state = state
        self.frame = control_frame(Heartbeat(source=state, lag_ms=lag_ms))
        return changed


class Round(Generic[T]):
    """Calls ``visit`` for many things, ``AT_ONCE`` in each turn of the loop. Starting anew gives up what is left."""

    def __init__(self, visit: Callable[[T], None], at_once: int = AT_ONCE) -> None:
        self._visit = visit
        self._at_once = at_once
        self._left: Iterator[T] = iter(())
        self._handle: asyncio.Handle | None = None

    def start(self, things: Iterable[T]) -> None:
        """Begin with the things as they are now."""
        self._left = iter(list(things))
        if self._handle is None:
            self._turn()

    def stop(self) -> None:
        """Visit nobody any more."""
        self._left = iter(())

    def _turn(self) -> None:
        some = list(islice(self._left, self._at_once))
        more = len(some) == self._at_once
        self._handle = asyncio.get_running_loop().call_soon(self._turn) if more else None
        for thing in some:
            self._visit(thing)
