from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace

import pytest
from uvicorn.protocols.http.flow_control import FlowControl

from api.answer import Cycle

DATE = (b"date", b"Mon, 23 Nov 2026 08:19:33 GMT")
LINES = b"HTTP/1.1 201 Created\r\ndate: Mon, 23 Nov 2026 08:19:33 GMT\r\n"


class Transport:
    """Remembers what is done to it."""

    def __init__(self) -> None:
        self.done: list[object] = []

    def write(self, data: bytes) -> None:
        """Remember it."""
        self.done.append(bytes(data))

    def close(self) -> None:
        """Remember it."""
        self.done.append("close")

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return "close" in self.done


@pytest.fixture
def begin():
    """Begins to answer a request, of which the body is here or still to come."""

    def _begin(method="POST", *, keep_alive=True, whole=True):
        transport = Transport()
        protocol = SimpleNamespace(
            transport=transport,
            flow=FlowControl(transport),
            logger=None,
            server_state=SimpleNamespace(default_headers=[DATE]),
            on_response_complete=lambda: transport.done.append("complete"),
            expect_100_continue=False,
        )
        cycle = Cycle(protocol, {"type": "http", "method": method}, keep_alive=keep_alive)
        cycle.body += b"body"
        cycle.more_body = not whole
        cycle.message_event.set()
        return cycle, transport.done

    return _begin


def start(*headers):
    return {"type": "http.response.start", "status": 201, "headers": list(headers)}


def part(body=b"", *, more=False):
    return {"type": "http.response.body", "body": body, "more_body": more}


def length(number):
    return (b"content-length", b"%d" % number)


async def assert_waits(cycle):
    """The application has been told everything until the client leaves."""
    after = asyncio.create_task(cycle.receive())
    await asyncio.sleep(0)
    assert not after.done()
    after.cancel()


async def test_head_and_body_go_out_together(begin):
    """An answer that tells its length is one write."""
    cycle, done = begin()
    await cycle.send(start(length(4), (b"X-Name", b"a: b")))
    assert done == []
    await cycle.send(part(b"body"))
    assert done == [LINES + b"content-length: 4\r\nx-name: a: b\r\n\r\nbody", "complete"]
    assert cycle.response_complete


async def test_the_head_of_a_stream_waits_for_nothing(begin):
    """It goes out at once, however late the first event comes, and each event for itself."""
    cycle, done = begin()
    await cycle.send(start())
    assert done == [LINES + b"transfer-encoding: chunked\r\n\r\n"]
    await cycle.send(part(b"one", more=True))
    await cycle.send(part(b"two"))
    assert done[1:] == [b"3\r\none\r\n", b"3\r\ntwo\r\n0\r\n\r\n", "complete"]


async def test_a_body_in_parts_is_sent_in_parts(begin):
    """What tells its length and comes in pieces is whole as well."""
    cycle, done = begin()
    await cycle.send(start(length(6)))
    await cycle.send(part(b"onetwo", more=True))
    assert done == [LINES + b"content-length: 6\r\n\r\n", b"onetwo"]
    await cycle.send(part())
    assert done[2:] == [b"", "complete"]


async def test_the_answer_to_head_has_no_body(begin):
    """Its length is that of a body which is not sent."""
    cycle, done = begin("HEAD")
    await cycle.send(start(length(4)))
    await cycle.send(part())
    assert [what for what in done if what] == [LINES + b"content-length: 4\r\n\r\n", "complete"]


async def test_the_last_answer_says_so(begin):
    """A connection that ends with it is closed after a head that tells."""
    cycle, done = begin(keep_alive=False)
    await cycle.send(start(length(4)))
    await cycle.send(part(b"body"))
    assert done == [LINES + b"content-length: 4\r\nconnection: close\r\n\r\n", b"body", "close", "complete"]


async def test_an_answer_may_end_the_connection(begin):
    """A head with ``connection: close`` does."""
    cycle, done = begin()
    await cycle.send(start(length(4), (b"connection", b"close")))
    await cycle.send(part(b"body"))
    assert "close" in done


@pytest.mark.parametrize("body", [b"bod", b"body!"])
async def test_a_wrong_length_is_an_error(begin, body):
    """A body of another length than was told is never taken for the answer."""
    cycle, _ = begin()
    await cycle.send(start(length(4)))
    with pytest.raises(RuntimeError, match="than Content-Length"):
        await cycle.send(part(body))
    assert not cycle.response_complete


@pytest.mark.parametrize("header", [(b"x", b"a\r\nset-cookie: b"), (b"x y", b"a")])
async def test_a_header_cannot_smuggle_another(begin, header):
    """A name or value that would break the head raises, and nothing is sent."""
    cycle, done = begin()
    with pytest.raises(RuntimeError, match="Invalid HTTP header"):
        await cycle.send(start(length(4), header))
    assert done == []


@pytest.mark.parametrize("size", [0, 4])
async def test_a_failure_takes_the_place_of_a_head(begin, size):
    """An application that fails before the body is answered for, not cut off."""
    cycle, done = begin()
    cycle.logger = logging.getLogger("test")

    async def app(_scope, _receive, send):
        await send(start(length(size)))
        raise ValueError

    await cycle.run_asgi(app)
    assert b"".join(what for what in done if isinstance(what, bytes)).startswith(b"HTTP/1.1 500 ")
    assert done.count("complete") == 1


async def test_who_has_left_gets_nothing(begin):
    """An answer that comes too late is dropped."""
    cycle, done = begin()
    cycle.disconnected = True
    await cycle.send(start(length(4)))
    await cycle.send(part(b"body"))
    assert done == []


async def test_a_date_is_that_of_its_answer(begin):
    """What every answer has is not kept from an earlier one."""
    for date in (DATE, (b"date", b"Mon, 23 Nov 2026 08:19:34 GMT")):
        cycle, done = begin()
        cycle.default_headers = [date]
        await cycle.send(start(length(0)))
        await cycle.send(part())
        assert date[1] in done[0]


async def test_a_whole_body_is_received_once(begin):
    """All of it at once, and then that the client is gone, when it is."""
    cycle, _ = begin()
    assert await cycle.receive() == {"type": "http.request", "body": b"body", "more_body": False}
    waiting = asyncio.create_task(cycle.receive())
    await asyncio.sleep(0)
    assert not waiting.done()
    cycle.disconnected = True
    cycle.message_event.set()
    assert await waiting == {"type": "http.disconnect"}


async def test_nothing_is_received_of_who_has_left(begin):
    """A body that came whole is dropped with its client, and after the answer nothing is told but the end."""
    gone, _ = begin()
    gone.disconnected = True
    assert await gone.receive() == {"type": "http.disconnect"}
    answered, _ = begin()
    await answered.send(start(length(0)))
    await answered.send(part())
    assert await answered.receive() == {"type": "http.disconnect"}


async def test_a_part_of_a_body_is_received_as_one(begin):
    """What is still to come is told, and comes with the next message."""
    cycle, _ = begin(whole=False)
    assert await cycle.receive() == {"type": "http.request", "body": b"body", "more_body": True}
    cycle.body += b"rest"
    cycle.more_body = False
    cycle.message_event.set()
    assert await cycle.receive() == {"type": "http.request", "body": b"rest", "more_body": False}


async def test_a_body_that_is_waited_for_ends_once(begin):
    """When its last part comes while the application waits, what comes next is the end of the connection."""
    cycle, _ = begin(whole=False)
    await cycle.receive()
    last = asyncio.create_task(cycle.receive())
    await asyncio.sleep(0)
    cycle.body += b"rest"
    cycle.more_body = False
    cycle.message_event.set()
    assert await last == {"type": "http.request", "body": b"rest", "more_body": False}
    await assert_waits(cycle)


async def test_a_client_that_waits_to_be_asked_is_told_once(begin):
    """The same where the body came without waiting for 100 Continue."""
    cycle, done = begin()
    cycle.waiting_for_100_continue = True
    assert await cycle.receive() == {"type": "http.request", "body": b"body", "more_body": False}
    assert done == [b"HTTP/1.1 100 Continue\r\n\r\n"]
    await assert_waits(cycle)


async def test_two_lengths_are_not_chosen_from(begin):
    """The first one counts, as it does for uvicorn, and a body of another length is an error."""
    cycle, _ = begin()
    await cycle.send(start(length(3), length(2)))
    with pytest.raises(RuntimeError, match="Content-Length"):
        await cycle.send(part(b"ok"))


async def test_an_answer_begins_once(begin):
    """A second beginning is an error of the application's, not another answer."""
    cycle, _ = begin()
    await cycle.send(start(length(2)))
    with pytest.raises(RuntimeError, match=r"http\.response\.body"):
        await cycle.send(start(length(2)))
