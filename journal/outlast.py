"""Waiting on the event loop for work in a thread that cannot be stopped."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


async def outlast(future: Future[T]) -> T:
    """Wait for work in a thread to end, through any cancellation; that is delivered at the caller's next await.

    The work cannot be stopped, and what it did must not be lost: a caller cancelled while its commit runs would
    otherwise never learn that the events are durable, and never publish them.
    """
    cancelled = False
    while not future.done():
        try:
            await _wait(future)
        except asyncio.CancelledError:
            cancelled = True
    if cancelled and (task := asyncio.current_task()):
        task.uncancel()  # the request is made again, not once more: timeouts count them
        task.cancel()
    return future.result()


async def _wait(future: Future[T]) -> None:
    # Not asyncio.wrap_future: cancelling that would lose the result.
    loop = asyncio.get_running_loop()
    woken = loop.create_future()
    future.add_done_callback(lambda _: loop.call_soon_threadsafe(_wake, woken))
    await woken


def _wake(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)
