"""An event loop without a clock, sockets or threads of its own: what runs next is the test's choice.

Handles run in the order in which they became ready, as in asyncio, one for each ``step``. Work for threads waits until
the test runs it, so that whatever can come between two awaits in production can be put there.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future
from contextvars import Context
from typing import Any, TypeVar, cast

from tests.models.kernel import Kernel

T = TypeVar("T")

MOST_TURNS = 5_000  # what a model starts is done long before, or turns in a circle


class Threads(Executor):
    """Stands in for a ``ThreadPoolExecutor``: work waits in line until ``run`` does it, all at once."""

    def __init__(self, count: int = 1, thread_name_prefix: str = "") -> None:
        self.count = count
        self.name = thread_name_prefix
        self.waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Put work in line."""
        future: Future[T] = Future()
        self.waiting.append((future, lambda: fn(*args, **kwargs)))
        return future

    def __len__(self) -> int:
        return len(self.waiting)

    def run(self, which: int = 0) -> None:
        """Do one of the things that threads would have begun by now, if there is one."""
        begun = min(self.count, len(self.waiting))
        if not begun:
            return
        future, work = self.waiting[which % begun]
        del self.waiting[which % begun]
        if future.set_running_or_notify_cancel():
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits for the future
                future.set_exception(error)
            else:
                future.set_result(result)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Do what is in line, if anybody waits for that."""
        while wait and self.waiting:
            self.run()


class SteppedLoop(asyncio.AbstractEventLoop):
    """As much of an event loop as the gateway, the journal and the capture loop need."""

    def __init__(self) -> None:
        self.now = 0.0
        self.kernel = Kernel()
        self.pools: list[Threads] = []
        self.errors: list[dict[str, Any]] = []
        self.listening: Callable[[], asyncio.BaseProtocol] | None = None
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._count = 0

    # For the test

    def step(self) -> bool:
        """Run the handle that has been ready longest; tells whether there was one."""
        while self._ready:
            handle = self._ready.popleft()
            if not handle.cancelled():
                self.call(handle._run)
                return True
        return False

    def call(self, function: Callable[..., T], *args: Any) -> T:
        """Call something from outside a handle, as if the loop had been told of a readable socket."""
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        try:
            return function(*args)
        finally:
            asyncio._set_running_loop(before)

    def advance(self, seconds: float) -> None:
        """Let time pass; timers that are due become ready."""
        self.now += seconds
        while self._timers and self._timers[0][0] <= self.now:
            self._ready.append(heapq.heappop(self._timers)[2])

    def pool(self, count: int = 1, thread_name_prefix: str = "") -> Threads:
        """Threads for code that would make its own."""
        self.pools.append(Threads(count, thread_name_prefix))
        return self.pools[-1]

    def idle(self) -> None:
        """Run everything that is ready, threads' work too, until nothing is."""
        turns = 0
        while self.step() or self._run_a_thread():
            turns += 1
            assert turns < MOST_TURNS, "it never comes to rest"

    def _run_a_thread(self) -> bool:
        for pool in self.pools:
            if pool:
                pool.run()
                return True
        return False

    def complete(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end, and nothing beyond."""
        task = self.call(self.create_task, work)
        turns = 0
        while not task.done():
            assert self.step() or self._run_a_thread(), "it waits for something that never comes"
            turns += 1
            assert turns < MOST_TURNS, "it never ends"
        return task.result()

    def abandon(self) -> None:
        """Forget everything, as a killed process does."""
        for task in list(self._tasks):
            self.call(cast("Coroutine[Any, Any, Any]", task.get_coro()).close)
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # it is meant to be
        self._tasks.clear()
        self._ready.clear()
        self._timers.clear()
        for pool in self.pools:
            pool.waiting.clear()
        self.pools.clear()

    # For asyncio

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> asyncio.Handle:
        """Put a handle in line."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """A timer, by ``now``."""
        return self.call_at(self.now + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """A timer, by ``now``."""
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Passed over when its time comes."""

    def time(self) -> float:
        """Seconds, as far as the test has let them pass."""
        return self.now

    def create_future(self) -> asyncio.Future[Any]:
        """A future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Coroutine[Any, Any, T], *, name: str | None = None, context: Context | None = None, **_: Any
    ) -> asyncio.Task[T]:
        """A task of this loop, which forgets it only when it is done."""
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def run_in_executor(self, executor: Executor | None, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        """Put work in line for ``executor``, which is one of ``pools``."""
        assert isinstance(executor, Threads)
        return asyncio.wrap_future(executor.submit(func, *args), loop=self)

    async def create_server(self, protocol_factory: Callable[[], asyncio.BaseProtocol], *_: Any, **__: Any) -> Any:
        """Take connections by way of ``listening``."""
        self.listening = protocol_factory
        return _Server()

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what nobody caught."""
        self.errors.append(context)

    def get_debug(self) -> bool:
        """No."""
        return False

    def is_running(self) -> bool:
        """Yes, whenever anybody can ask."""
        return True

    def is_closed(self) -> bool:
        """Never."""
        return False


class _Socket:
    def setsockopt(self, *_: object) -> None:
        """Take any option."""

    def getsockname(self) -> tuple[str, int]:
        """An address that nobody needs."""
        return "127.0.0.1", 1


class _Server:
    """A listening server, as far as the gateway asks."""

    sockets = (_Socket(),)

    async def start_serving(self) -> None:
        """Nothing to do: ``SteppedLoop.listening`` is set."""

    def close(self) -> None:
        """Nothing to do."""
