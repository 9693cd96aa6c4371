from __future__ import annotations

import asyncio

from api.turns import A_PAGE, AT_ONCE, Turns


async def test_a_crowd_goes_on_bit_by_bit():
    """No turn of the event loop has more than its share, all get theirs in order, and others come in between."""
    turns, loop = Turns(), asyncio.get_running_loop()
    crowd = [loop.create_future() for _ in range(5 * AT_ONCE)]
    turns.grant(crowd)
    done = sum(waiter.done() for waiter in crowd)
    assert done == AT_ONCE  # the first at once
    while not crowd[-1].done():
        before = done
        await asyncio.sleep(0)  # somebody else's turn
        done = sum(waiter.done() for waiter in crowd)
        assert done - before <= AT_ONCE
        assert all(waiter.done() for waiter in crowd[:done])


async def test_pages_take_more_of_a_turn():
    """A few of them, where many with a row each would go on."""
    turns, loop = Turns(), asyncio.get_running_loop()
    crowd = [loop.create_future() for _ in range(AT_ONCE)]
    turns.grant(crowd, A_PAGE)
    assert sum(waiter.done() for waiter in crowd) == AT_ONCE // A_PAGE


async def test_nobody_waits_when_it_is_quiet():
    """One alone goes on in the same turn, again and again."""
    turns = Turns()
    for _ in range(3):
        waiter = asyncio.get_running_loop().create_future()
        turns.grant([waiter])
        assert waiter.done()
        for _ in range(3):
            await asyncio.sleep(0)


async def test_those_who_gave_up_take_no_turn():
    """A reader that has left does not hold up the others."""
    turns, loop = Turns(), asyncio.get_running_loop()
    gone = [loop.create_future() for _ in range(AT_ONCE)]
    for waiter in gone:
        waiter.cancel()
    waiter = loop.create_future()
    turns.grant([*gone, waiter])
    assert waiter.done()


async def test_a_page_after_the_other_lets_others_on():
    """Who asks for turn after turn does not keep the loop."""
    turns, others = Turns(), 0

    async def hungry():
        for _ in range(20 * AT_ONCE):
            await turns.take(1)

    task = asyncio.create_task(hungry())
    while not task.done():
        await asyncio.sleep(0)
        others += 1
    assert others >= 20
