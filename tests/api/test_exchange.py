from __future__ import annotations

import asyncio
import socket

import pymysql
import pytest
from pymysql.connections import Connection

from api.exchange import Exchange

OK = b"\x00\x02\x2a\x02\x00\x00\x00"  # two rows, the first has the id 42; in a transaction
REFUSED = b"\xff\x26\x04#23000no"  # error 1062


class Opened:
    """What an exchange needs of PyMySQL's connection."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.open = True

    def _force_close(self) -> None:
        self.open = False
        self._sock.close()


@pytest.fixture
def ends():
    """An exchange that waits a second at most, and the other end of its connection."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    exchange = Exchange(Opened(ours), 1.0)
    exchange.resume()
    yield exchange, theirs
    exchange.close()
    theirs.close()


def packet(payload, number=1):
    return len(payload).to_bytes(3, "little") + bytes([number]) + payload


async def received(theirs, size):
    loop = asyncio.get_running_loop()
    data = b""
    while len(data) < size:
        data += await loop.sock_recv(theirs, 1 << 20)
    return data


async def test_a_statement_is_answered(ends):
    """It goes out as one packet, and the answer has its rows and the first one's id, in however many parts it comes."""
    exchange, theirs = ends
    asking = asyncio.create_task(exchange.ask(b"INSERT"))
    assert await received(theirs, 11) == packet(b"\x03INSERT", 0)
    for byte in packet(OK):
        theirs.send(bytes([byte]))
        await asyncio.sleep(0)
    answer = await asking
    assert (answer.affected_rows, answer.insert_id) == (2, 42)
    assert exchange.open


async def test_an_error_of_the_server_leaves_the_connection_open(ends):
    """It is an answer like any other."""
    exchange, theirs = ends
    theirs.send(packet(REFUSED))
    with pytest.raises(pymysql.IntegrityError) as caught:
        await exchange.ask(b"INSERT")
    assert caught.value.args == (1062, "no")
    assert exchange.open


@pytest.mark.parametrize(
    "answer",
    [packet(OK) + packet(OK), packet(REFUSED, 0), packet(OK, 2), packet(OK)[:-1], packet(b"\x01"), packet(b"")],
    ids=["more than was asked", "a server's last words", "of another statement", "half of it", "rows", "nothing"],
)
async def test_what_is_not_the_answer_is_a_lost_connection(ends, answer):
    """Nothing that comes in doubt is taken for an answer, now or to the next statement."""
    exchange, theirs = ends
    theirs.send(answer)
    theirs.shutdown(socket.SHUT_WR)
    with pytest.raises(pymysql.OperationalError) as caught:
        await exchange.ask(b"INSERT")
    assert caught.value.args[0] == 2013
    assert isinstance(caught.value.__cause__, ConnectionError)  # at once, not when the time is up
    assert not exchange.open


async def test_no_answer_is_a_lost_connection(ends):
    """After its time, of which the cause tells."""
    exchange, _ = ends
    exchange._timeout = 0.05
    with pytest.raises(pymysql.OperationalError) as caught:
        await exchange.ask(b"INSERT")
    assert isinstance(caught.value.__cause__, TimeoutError)
    assert not exchange.open


async def test_whoever_gives_up_closes_the_connection(ends):
    """The answer that was not waited for must not be the next statement's."""
    exchange, theirs = ends
    asking = asyncio.create_task(exchange.ask(b"INSERT"))
    await received(theirs, 11)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert not exchange.open


@pytest.mark.parametrize("beyond", [-1, 0, 1])
async def test_a_large_statement_goes_in_several_packets(ends, beyond):
    """From 16 MiB on, also where the last packet is empty; the answer's number counts them all."""
    exchange, theirs = ends
    exchange._timeout = 30
    largest = (1 << 24) - 1
    statement = b"x" * (largest - 1 + beyond)
    asking = asyncio.create_task(exchange.ask(statement))
    first, rest = (b"\x03" + statement)[:largest], (b"\x03" + statement)[largest:]
    expected = packet(first, 0) + (packet(rest, 1) if beyond >= 0 else b"")
    assert await received(theirs, len(expected)) == expected
    theirs.send(packet(OK, 2 if beyond >= 0 else 1))
    assert (await asking).insert_id == 42


async def test_a_connection_that_takes_nothing_is_closed_without_a_word(monkeypatch):
    """A good-bye would find no room, and the whole event loop would wait for it."""
    ours, theirs = socket.socketpair()
    connection = Connection(defer_connect=True)
    connection._sock = ours
    said = []
    monkeypatch.setattr(connection, "_write_bytes", said.append)
    exchange = Exchange(connection, 0.2)
    exchange.resume()
    with pytest.raises(pymysql.OperationalError):
        await exchange.ask(b"x" * (8 << 20))
    assert not exchange.open
    assert not said
    ours.close()
    theirs.close()


async def test_an_idle_connection_is_left_with_a_word(ends):
    """The server does not count it as one that broke."""
    exchange, theirs = ends
    exchange.leave()
    assert await received(theirs, 5) == packet(b"\x01", 0)
    assert not exchange.open
    exchange.leave()
