from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from cdc.committed import Committed, weight
from cdc.errors import StreamLost
from cdc.handoff import Closed, Handoff
from cdc.position import Fingerprint, Position
from journal.types import INSERT, Change
from tests.waiting import until

HERE = Position("binlog.000001", 4)


def transaction(number: int, size: int = 0) -> Committed:
    """A transaction that is known by its number."""
    changes = [Change("orders", INSERT, bytes(size))] if size else []
    return Committed(changes, HERE, HERE, Fingerprint(None, str(number)), float(number))


def numbers(batch: list[Committed]) -> list[int]:
    return [int(committed.committed) for committed in batch]


def put_all(handoff: Handoff, count: int, size: int = 0) -> None:
    for number in range(count):
        handoff.put(transaction(number, size))


async def take(handoff: Handoff, count: int) -> list[Committed]:
    """That many transactions, however many at a time."""
    taken: list[Committed] = []
    async with asyncio.timeout(10):
        while len(taken) < count:
            taken += await handoff.take()
    return taken


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    """The reader's thread."""
    with ThreadPoolExecutor(1) as executor:
        yield executor


@pytest.fixture
async def make_handoff(thread: ThreadPoolExecutor) -> AsyncIterator[Callable[..., Handoff]]:
    """Makes hand-offs into the running loop, and closes them before ``thread`` is waited for."""
    made: list[Handoff] = []

    def make(**bounds: int) -> Handoff:
        made.append(Handoff(asyncio.get_running_loop(), **bounds))
        return made[-1]

    yield make
    for handoff in made:
        handoff.close()


async def waits(handoff: Handoff, future: Future[None]) -> None:
    """Return when the thread stands at the hand-off's condition."""
    await until(lambda: handoff._room._waiters and not future.done())  # type: ignore[attr-defined]  # a deque of Condition


async def test_transactions_come_out_in_order(make_handoff: Callable[..., Handoff], thread: ThreadPoolExecutor) -> None:
    """Everything that was put is taken once, in order, several at a time."""
    handoff = make_handoff()
    sent = thread.submit(put_all, handoff, 1000)
    taken: list[int] = []
    while len(taken) < 1000:
        batch = await handoff.take()
        taken += numbers(batch)
        handoff.release(batch)
    assert taken == list(range(1000))
    sent.result()


async def test_the_thread_waits_for_room(make_handoff: Callable[..., Handoff], thread: ThreadPoolExecutor) -> None:
    """A full hand-off holds the thread until what was taken is released, not only taken."""
    handoff = make_handoff(max_bytes=2 * weight(transaction(0, 1000)))
    first = thread.submit(put_all, handoff, 2, 1000)
    await until(first.done)
    third = thread.submit(handoff.put, transaction(2, 1000))
    await waits(handoff, third)
    batch = await take(handoff, 2)
    await waits(handoff, third)
    handoff.release(batch[:1])
    await until(third.done)
    assert numbers(await take(handoff, 1)) == [2]


async def test_many_small_transactions_are_bounded_too(
    make_handoff: Callable[..., Handoff], thread: ThreadPoolExecutor
) -> None:
    """A count bounds what bytes do not."""
    handoff = make_handoff(max_items=3)
    sent = thread.submit(put_all, handoff, 4)
    await waits(handoff, sent)
    assert numbers(await take(handoff, 3)) == [0, 1, 2]


async def test_a_transaction_larger_than_the_bound_passes_alone(
    make_handoff: Callable[..., Handoff], thread: ThreadPoolExecutor
) -> None:
    """It waits until the hand-off is empty, then goes through."""
    handoff = make_handoff(max_bytes=1000)
    thread.submit(handoff.put, transaction(0, 10)).result()
    large = thread.submit(handoff.put, transaction(1, 50_000))
    await waits(handoff, large)
    handoff.release(await take(handoff, 1))
    await until(large.done)
    assert numbers(await take(handoff, 1)) == [1]


async def test_a_batch_is_bounded(make_handoff: Callable[..., Handoff]) -> None:
    """What is taken at once stops at about the bytes asked for."""
    handoff = make_handoff()
    for n in range(10):
        handoff.put(transaction(n, 1000))
    await asyncio.sleep(0)
    assert numbers(await handoff.take(max_bytes=3 * weight(transaction(0, 1000)))) == [0, 1, 2]
    assert numbers(await handoff.take()) == [3, 4, 5, 6, 7, 8, 9]


async def test_an_end_comes_after_what_was_put_before_it(make_handoff: Callable[..., Handoff]) -> None:
    """The error is raised when everything before it has been taken, and again if one asks again."""
    handoff = make_handoff()
    for n in range(3):
        handoff.put(transaction(n))
    handoff.end(ConnectionResetError("gone"))
    await asyncio.sleep(0)
    assert numbers(await handoff.take()) == [0, 1, 2]
    with pytest.raises(ConnectionResetError, match="gone"):
        await handoff.take()


async def test_closing_releases_a_thread_that_waits(
    make_handoff: Callable[..., Handoff], thread: ThreadPoolExecutor
) -> None:
    """Whoever waits for room is turned away, and so is everybody who comes later."""
    handoff = make_handoff(max_items=1)
    handoff.put(transaction(0))
    waiting = thread.submit(handoff.put, transaction(1))
    await waits(handoff, waiting)
    handoff.close()
    await until(waiting.done)
    with pytest.raises(Closed):
        waiting.result()
    with pytest.raises(Closed):
        handoff.put(transaction(2))
    with pytest.raises(Closed):
        handoff.call(lambda: None)
    handoff.end(ConnectionResetError("nobody listens"))


async def test_a_thread_of_a_loop_that_is_gone_is_turned_away() -> None:
    """A closed event loop is the same as a closed hand-off."""
    loop = asyncio.new_event_loop()
    handoff = Handoff(loop)
    loop.close()
    with pytest.raises(Closed):
        handoff.put(transaction(0))


async def test_calls_keep_their_place_among_transactions(make_handoff: Callable[..., Handoff]) -> None:
    """A call made after a put runs when that transaction can be taken."""
    handoff = make_handoff()
    seen: list[bool] = []
    await asyncio.to_thread(handoff.put, transaction(0))
    await asyncio.to_thread(handoff.call, lambda: seen.append(handoff.empty))
    await until(lambda: seen)
    assert seen == [False]
    handoff.release(await handoff.take())
    assert handoff.empty


async def test_a_wait_is_that_of_the_oldest_taken(
    make_handoff: Callable[..., Handoff], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under steady load the hand-off is never empty; what counts is how long its oldest has been here."""
    now = 100.0
    monkeypatch.setattr("cdc.handoff.time.monotonic", lambda: now)
    handoff = make_handoff()
    handoff.put(transaction(0))
    for n in range(1, 50):
        now += 1.0
        handoff.put(transaction(n))
        batch = await handoff.take(max_bytes=1)
        assert (numbers(batch), handoff.waited()) == ([n - 1], 1.0)
        handoff.release(batch)
        assert not handoff.empty


async def test_an_error_that_was_taken_is_no_work_for_the_collector() -> None:
    """It holds the thread's frames and what they read: with the last who knows it, it is gone."""
    handoff = Handoff(asyncio.get_running_loop())
    error = StreamLost("cut")
    gone = weakref.ref(error)
    handoff.end(error)
    del error
    gc.collect()
    gc.disable()
    try:
        with contextlib.suppress(StreamLost):
            await handoff.take()
        await asyncio.sleep(0)
        assert gone() is None
    finally:
        gc.enable()
