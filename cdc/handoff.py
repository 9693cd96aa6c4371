"""From the reader's thread into the event loop, bounded.

When the loop falls behind, the thread waits, TCP fills, and the server keeps the log: back-pressure ends where the
data is safe.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from cdc.committed import Committed, Piece, weight


class Closed(Exception):
    """The loop side has stopped; the reader should too."""


class Handoff:
    """An ``asyncio.Queue`` fed from one thread, holding at most ``max_bytes`` of messages, or one larger item.

    What was taken still counts until ``release``: a permit comes back when its transaction is in the journal.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, max_bytes: int = 32 << 20, max_items: int = 8192) -> None:
        self._loop = loop
        self._max_bytes = max_bytes
        self._max_items = max_items
        self._queue: asyncio.Queue[tuple[float, int, Committed | Piece] | BaseException] = asyncio.Queue()
        self._oldest = 0.0
        self._taken: deque[int] = deque()  # the weights of what was taken and not released, in order
        self._room = threading.Condition()
        self._bytes = 0
        self._items = 0
        self._closed = False

    # The thread's side

    def put(self, item: Committed | Piece) -> None:
        """Hand over a transaction or a piece of one, waiting for room; raises Closed."""
        size = weight(item)
        with self._room:
            while not self._closed and not self._fits(size):
                self._room.wait()
            if self._closed:
                raise Closed
            self._bytes += size
            self._items += 1
        self.call(self._queue.put_nowait, (time.monotonic(), size, item))

    def _fits(self, size: int) -> bool:
        if self._items == 0:
            return True
        return self._bytes + size <= self._max_bytes and self._items < self._max_items

    def end(self, error: BaseException) -> None:
        """Say why no more will come; what was put before it is still taken first. Says nothing to a closed loop."""
        with contextlib.suppress(Closed):
            self.call(self._queue.put_nowait, error)

    def call(self, function: Callable[..., None], *args: Any) -> None:
        """Run ``function`` on the loop, after everything that was put before; raises Closed."""
        if self._closed:
            raise Closed
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:  # the loop has closed
            raise Closed from None

    # The loop's side

    async def take(self, max_bytes: int = 4 << 20) -> list[Committed | Piece]:
        """Wait for a transaction or a piece; return it and whatever else is ready, up to about ``max_bytes``.

        Raises what ``end`` was given, once everything before it has been taken.
        """
        item = await self._queue.get()
        batch: list[Committed | Piece] = []
        size = 0
        while not isinstance(item, BaseException):
            arrived, heavy, transaction = item
            if not batch:
                self._oldest = arrived
            batch.append(transaction)
            self._taken.append(heavy)
            size += heavy
            if size >= max_bytes or self._queue.empty():
                return batch
            item = self._queue.get_nowait()
        if not batch:
            try:
                raise item
            finally:
                del item  # its traceback holds this frame, and all of the thread's: only the collector would find them
        self._queue.put_nowait(item)  # nothing follows an end, so it is first again
        return batch

    @property
    def empty(self) -> bool:
        """Whether everything that was put is in the journal."""
        return self._items == 0

    def waited(self) -> float:
        """Seconds since the oldest transaction of the batch that was taken last was put."""
        return time.monotonic() - self._oldest

    def release(self, batch: list[Committed | Piece]) -> None:
        """Give back the room of a batch that is in the journal; batches come back in the order they were taken."""
        with self._room:
            self._bytes -= sum(self._taken.popleft() for _ in batch)
            self._items -= len(batch)
            self._room.notify_all()

    def close(self) -> None:
        """Turn the thread away."""
        with self._room:
            self._closed = True
            self._room.notify_all()
