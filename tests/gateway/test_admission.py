from __future__ import annotations

import asyncio

from gateway.admission import AT_ONCE, WRITES_A_GUEST, Admission
from gateway.server import Gateway
from gateway.share import Share
from gateway.stats import Stats
from tests.gateway.clients import UPGRADE, RawClient, request
from tests.gateway.conftest import MakeGateway
from tests.waiting import until

HELLO = request(**UPGRADE)


class Guest:
    """Notes when it was let in, or sent away."""

    def __init__(self, number: int, seen: list[int], away: list[int]) -> None:
        self._number, self._seen, self._away = number, seen, away

    def admit(self) -> None:
        """Its turn."""
        self._seen.append(self._number)

    def abort(self) -> None:
        """No turn for it."""
        self._away.append(self._number)


class House:
    """An admission and who came."""

    def __init__(self, at_once: int) -> None:
        self.stats = Stats()
        self.admission = Admission(self.stats, at_once)
        self.seen: list[int] = []
        self.away: list[int] = []

    def come(self, *numbers: int) -> None:
        """So many guests, in this order."""
        for number in numbers:
            self.admission.enter(Guest(number, self.seen, self.away))


async def test_a_few_are_let_in_in_each_turn() -> None:
    """Who comes alone is let in at once; of a crowd so many in each turn of the loop, in the order of coming."""
    house = House(at_once=3)
    house.come(*range(10))
    assert house.seen == [0, 1, 2]
    for let_in in (6, 9, 10):
        await asyncio.sleep(0)
        assert house.seen == list(range(let_in))


async def test_rows_of_a_quiet_spell_earn_nothing() -> None:
    """What was written while nobody came does not let the next crowd in at once."""
    house = House(at_once=3)
    house.come(0)
    await asyncio.sleep(0)
    house.stats.writes += 1000 * WRITES_A_GUEST
    house.come(*range(1, 10))
    await asyncio.sleep(0)
    assert house.seen == list(range(7))


async def test_a_guest_that_fails_stops_nobody() -> None:
    """The others are still waiting, and come in."""

    class Broken(Guest):
        def admit(self) -> None:
            raise RuntimeError

    house = House(at_once=1)
    house.come(0)
    house.admission.enter(Broken(1, [], []))
    house.come(2, 3)
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context["exception"]))
    await until(lambda: house.seen == [0, 2, 3])
    assert [type(complaint) for complaint in complaints] == [RuntimeError]


async def test_nobody_overtakes() -> None:
    """Who comes while others wait stands behind them, even when the turn has room."""
    house = House(at_once=2)
    house.come(*range(5))
    await asyncio.sleep(0)
    house.come(5, 6)
    await until(lambda: len(house.seen) == 7)
    assert house.seen == list(range(7))


async def test_a_turn_that_wrote_much_lets_more_in() -> None:
    """While live rows take most of the loop, those who return get a part of it that grows with them."""
    house = House(at_once=1)
    house.come(*range(20))
    house.stats.writes += 4 * WRITES_A_GUEST
    await asyncio.sleep(0)
    assert house.seen == list(range(1 + 5))
    await asyncio.sleep(0)
    assert house.seen == list(range(1 + 5 + 1))


async def test_who_waits_is_sent_away_at_the_end() -> None:
    """Nobody is let in after the end, and nobody is forgotten."""
    house = House(at_once=1)
    house.come(*range(4))
    house.admission.close()
    await asyncio.sleep(0)
    assert (house.seen, house.away) == ([0], [1, 2, 3])


def test_a_share_is_granted_once() -> None:
    """Writes count for the next grant only."""
    stats = Stats()
    share = Share(stats, least=2, writes=10)
    stats.writes += 35
    assert [share.take(), share.take()] == [2 + 3, 2]


async def crowd(gateway: Gateway, count: int) -> list[RawClient]:
    """Connections whose requests the gateway finds all at once."""
    clients = [await RawClient.connect(gateway) for _ in range(count)]
    await until(lambda: len(gateway._doors) == count)
    for one in clients:
        one._sock.send(HELLO)  # no await: nobody is answered before the last has asked
    return clients


def hold(gateway: Gateway) -> None:
    """Let a gateway's next turn never come."""
    gateway._admission._turn = lambda: None  # type: ignore[method-assign]


async def test_live_rows_pass_between_those_who_return(make_gateway: MakeGateway) -> None:
    """A crowd is never let in within one turn of the loop: whoever else waits for it comes between."""
    gateway = await make_gateway()
    clients = await crowd(gateway, 6 * AT_ONCE)
    before = most = 0
    while gateway.stats.connections < len(clients):
        await asyncio.sleep(0)
        most = max(most, gateway.stats.connections - before)
        before = gateway.stats.connections
    assert 0 < most <= 2 * AT_ONCE  # the loop may come to this test after one turn or two
    for one in clients:
        assert b" 101 " in await one.head()


async def test_a_health_check_does_not_wait(make_gateway: MakeGateway) -> None:
    """It is answered while a crowd waits: nobody may take a busy gateway for a dead one."""
    gateway = await make_gateway()
    hold(gateway)
    await crowd(gateway, AT_ONCE + 5)
    await until(lambda: len(gateway._admission) == 5)
    check = await RawClient.connect(gateway)
    await check.send(request("GET /healthz HTTP/1.1"))
    assert b" 200 " in await check.head()


async def test_who_waits_for_us_is_not_too_slow(make_gateway: MakeGateway) -> None:
    """The time for a handshake is the client's; what we let it wait is not counted against it."""
    gateway = await make_gateway()
    turn = gateway._admission._turn
    hold(gateway)
    clients = await crowd(gateway, AT_ONCE + 5)
    await until(lambda: len(gateway._admission) == 5)
    for door in list(gateway._doors):
        door.expire()
    assert gateway.stats.slow_handshakes == 0
    turn()
    for one in clients:
        assert b" 101 " in await one.head()
        await one.say(type="ping")
        assert await one.take() == {"type": "pong"}


async def test_who_left_while_waiting_is_passed_over(make_gateway: MakeGateway) -> None:
    """A client that has gone when its turn comes costs its turn and nothing else."""
    gateway = await make_gateway()
    turn = gateway._admission._turn
    hold(gateway)
    clients = await crowd(gateway, AT_ONCE + 5)
    await until(lambda: len(gateway._admission) == 5)
    for one in clients[:-1]:
        one.reset()
    await until(lambda: gateway.stats.connections == 0)
    turn()
    assert b" 101 " in await clients[-1].head()
    await until(lambda: gateway.stats.connections == 1 and not gateway._doors)
