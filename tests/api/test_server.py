from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from api import protocol
from api import server as module
from api.limits import BoundedBodies
from api.server import ApiServer
from tests.api.client import Connection, ask, post, request, result
from tests.api.conftest import make_app
from tests.api.stubs import Results
from tests.waiting import until

HEAD = b"POST /api/scraped-result HTTP/1.1\r\nhost: rowcast\r\ncontent-type: application/json\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.fixture
def hurried(monkeypatch):
    """A deadline short enough to wait for."""
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 0.5)


@pytest.fixture
async def connect():
    """Opens connections, and cuts them in the end."""
    opened = []

    async def _connect(server):
        opened.append(await Connection.open(server.port))
        return opened[-1]

    yield _connect
    for connection in opened:
        connection.writer.transport.abort()


def connections(server):
    return server._server.server_state.connections


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# -- life --------------------------------------------------------------------------------------------------------------


async def test_it_serves_and_stops(serve):
    """A request is answered over a real socket; after the stop nobody listens."""
    server = await serve(results=Results())
    answer = await post(server.port, result())
    assert (answer.status, answer.json["id"]) == (201, 1)
    assert "server" not in answer.headers
    await server.stop()
    with pytest.raises(ConnectionRefusedError):
        await Connection.open(server.port)


async def test_a_taken_port_is_said_clearly(serve):
    """The start raises an OSError that names host and port, and leaves nothing behind."""
    server = await serve()
    other = ApiServer(make_app(), "127.0.0.1", server.port)
    with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{server.port}: Address already in use"):
        await other.start()
    await other.stop()
    assert (await ask(server.port, "GET", "/healthz")).status == 200


async def test_signals_stay_with_the_process(serve):
    """No handler is installed: who stops the process decides elsewhere."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    await serve()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


async def test_a_stop_lets_requests_end(serve):
    """A save that is under way is answered, though nobody new is let in; idle connections are closed at once."""
    results = Results()
    results.gate.clear()
    server = await serve(results=results)
    async with await Connection.open(server.port) as idle, await Connection.open(server.port) as busy:
        await idle.send(request("GET", "/healthz"))
        await idle.answer()
        await busy.send(request("POST", "/api/scraped-result", result(), content_type="application/json"))
        await until(lambda: server._server.server_state.tasks)
        stopping = asyncio.create_task(server.stop(10))
        assert await idle.closed() == b""
        with pytest.raises(ConnectionRefusedError):
            await Connection.open(server.port)
        results.gate.set()
        answer = await busy.answer()
        assert (answer.status, answer.headers["connection"]) == (201, "close")
        await stopping


async def test_a_stop_has_a_deadline(serve):
    """A request that does not end is cut off when the time is up."""
    results = Results()
    results.gate.clear()
    server = await serve(results=results)
    async with await Connection.open(server.port) as busy, await Connection.open(server.port) as half:
        await busy.send(request("POST", "/api/scraped-result", result(), content_type="application/json"))
        await half.send(HEAD + b"content-length: 10\r\n\r\n{")
        await until(lambda: len(connections(server)) == 2)
        started = time.monotonic()
        await server.stop(1)
        assert time.monotonic() - started < 5
        for connection in (busy, half):
            assert b" 201 " not in await connection.closed()


# -- clients that misbehave --------------------------------------------------------------------------------------------


async def test_half_requests_are_closed_while_others_are_served(serve, connect, hurried):
    """Fifty sockets with no, half or dripping heads and bodies are closed in time; a good client notices nothing."""
    server = await serve(results=Results())
    beginnings = [b"", b"GET /", HEAD, HEAD + b"content-length: 100\r\n\r\n", CHUNKED + b"ff\r\n{"]
    sockets = [await connect(server) for _ in range(50)]
    for number, connection in enumerate(sockets):
        await connection.send(beginnings[number % len(beginnings)])
    await until(lambda: len(connections(server)) == 50)
    bad = set(connections(server))
    dripping = asyncio.create_task(drip(sockets))
    while bad & connections(server):
        answer = await post(server.port, result())
        assert answer.status == 201
    dripping.cancel()
    for number, connection in enumerate(sockets):
        rest = await connection.closed()
        if beginnings[number % len(beginnings)] and number % 2 == 0:  # what drips may see a reset instead
            assert rest.startswith(b"HTTP/1.1 408 ")
            assert b'{"error":"The request did not arrive' in rest


async def drip(sockets):
    """Keep half of the connections busy with a byte now and then, where that does not end the request."""
    while True:
        for number, connection in enumerate(sockets):
            if number % 2 and number % 5:
                connection.writer.write(b"x")
        await asyncio.sleep(0.05)


async def test_line_ends_between_requests_do_not_hold_a_connection(serve, hurried):
    """Dripping what a parser ignores is no way to stay."""
    server = await serve()
    async with await Connection.open(server.port) as connection:
        await connection.send(request("GET", "/healthz"))
        await connection.answer()
        closing = asyncio.create_task(connection.closed())
        while not closing.done():
            connection.writer.write(b"\r\n")
            await asyncio.sleep(0.02)
        await closing


async def test_a_slow_save_is_not_a_slow_client(serve, hurried):
    """Once a request is whole the clock is the application's; the connection waits for its answer."""
    results = Results()
    results.gate.clear()
    server = await serve(results=results)
    async with await Connection.open(server.port) as connection:
        await connection.send(request("POST", "/api/scraped-result", result(), content_type="application/json"))
        asyncio.get_running_loop().call_later(1.0, results.gate.set)
        assert (await connection.answer()).status == 201


async def test_pipelined_requests_are_answered_in_order(serve, hurried):
    """Two at once are two; half a second one does not take the answer of the first away."""
    server = await serve(results=Results())
    whole = request("POST", "/api/scraped-result", result(), content_type="application/json")
    async with await Connection.open(server.port) as connection:
        await connection.send(whole + whole + whole[:20])
        assert [(await connection.answer()).json["id"] for _ in range(2)] == [1, 2]
        assert (await connection.closed()).startswith(b"HTTP/1.1 408 ")


async def test_no_answer_passes_for_that_of_another_request(serve):
    """Rubbish behind a request that is under way closes the connection: a 400 would seem to be its answer."""
    results = Results()
    results.gate.clear()
    server = await serve(results=results)
    async with await Connection.open(server.port) as connection:
        whole = request("POST", "/api/scraped-result", result(), content_type="application/json")
        await connection.send(whole + b"\x00rubbish\r\n\r\n")
        assert await connection.closed() == b""


@pytest.mark.parametrize(
    "body", [b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"POST /\xff HTTP/1.1\r\n\r\n"]
)
async def test_what_is_not_http_is_refused_in_json(serve, body):
    """A wrong protocol, TLS by mistake and a path that is not ASCII: 400 and the connection is closed."""
    server = await serve()
    async with await Connection.open(server.port) as connection:
        await connection.send(body)
        answer = await connection.answer()
        assert (answer.status, answer.headers["connection"]) == (400, "close")
        assert answer.json["error"]


@pytest.mark.parametrize(
    ("beginning", "flood"),
    [
        (b"GET / HTTP/1.1\r\n", b"x-header: 1\r\n" * 100),
        (b"GET / HTTP/1.1\r\nx-header: ", b"x" * 1000),
        (b"GET /", b"x" * 1000),
        (b"", b"\r\n" * 500),
        (CHUNKED + chunk(result()) + b"0\r\n", b"x-trailer: 1\r\n" * 100),
    ],
    ids=["headers", "value", "path", "line ends", "trailers"],
)
async def test_what_leads_nowhere_is_cut_off(serve, connect, beginning, flood):
    """More than 32 KiB that complete no head and belong to no body are refused, whatever they are."""
    server = await serve(results=Results())
    connection = await connect(server)
    await connection.send(beginning)
    await until(lambda: not beginning or any(each._stray or each.cycle for each in connections(server)))
    for _ in range(protocol.MAX_HEAD // len(flood) + 1):
        await connection.send(flood)
    answer = await connection.answer()
    assert (answer.status, answer.headers["connection"]) == (431, "close")
    assert await connection.closed() == b""


async def test_a_client_that_does_not_read_is_cut_off(connect, monkeypatch):
    """Answers that nobody takes do not stay in memory for ever."""
    monkeypatch.setattr(module, "UNREAD", 500)
    server = ApiServer(make_app(), "127.0.0.1", 0)
    await server.start()
    try:
        connection = await connect(server)
        connection.writer.transport.pause_reading()
        connection.writer.write(request("GET", "/client.js") * 2000)
        await until(lambda: connections(server))
        await until(lambda: not connections(server))
    finally:
        await server.stop(0.5)


async def test_a_body_in_chunks_is_taken(serve):
    """Without a length, and in many small pieces."""
    server = await serve(results=Results())
    async with await Connection.open(server.port) as connection:
        pieces = [chunk(bytes([byte])) for byte in result({"a": [1, 2]})]
        await connection.send(CHUNKED)
        for piece in pieces:
            await connection.send(piece)
        await connection.send(b"0\r\n\r\n")
        assert (await connection.answer()).status == 201


@pytest.mark.parametrize("head", [HEAD + b"content-length: 62914560\r\n\r\n", CHUNKED], ids=["length", "chunked"])
async def test_a_body_of_sixty_megabytes_is_413_and_takes_no_memory(serve, head):
    """The refusal comes early, the rest is thrown away as it comes, and the connection can be used again."""
    server = await serve(results=Results())
    before = resident()
    piece = b"x" * (1 << 20) if head is not CHUNKED else chunk(b"x" * (1 << 20))
    async with await Connection.open(server.port) as connection:
        await connection.send(head)
        for _ in range(60):
            await connection.send(piece)
        if head is CHUNKED:
            await connection.send(b"0\r\n\r\n")
        answer = await connection.answer()
        assert (answer.status, answer.json["limit"]) == (413, 1 << 20)
        await connection.send(request("GET", "/healthz"))
        assert (await connection.answer()).status == 200
    assert resident() - before < 24 << 20


async def test_a_large_body_is_refused_before_it_is_sent(serve):
    """A client that asks first, as curl does, never sends what would be refused."""
    server = await serve(results=Results())
    async with await Connection.open(server.port) as connection:
        await connection.send(HEAD + b"expect: 100-continue\r\ncontent-length: 62914560\r\n\r\n")
        assert (await connection.answer()).status == 413


async def test_a_client_that_asks_first_is_told_to_go_on(serve):
    """100 Continue, then the answer."""
    server = await serve(results=Results())
    async with await Connection.open(server.port) as connection:
        body = result()
        await connection.send(HEAD + b"expect: 100-continue\r\ncontent-length: %d\r\n\r\n" % len(body))
        assert (await connection.answer()).status == 100
        await connection.send(body)
        assert (await connection.answer()).status == 201


async def test_half_a_body_saves_nothing(serve):
    """A client that leaves in the middle of a batch has sent nothing, even where the first half would do."""
    results = Results()
    server = await serve(results=results)
    head = CHUNKED.replace(b"result ", b"results ").replace(b"json", b"x-ndjson")
    async with await Connection.open(server.port) as connection:
        await connection.send(head + chunk(result() + b"\n"))
        await until(lambda: connections(server))
        connection.writer.write_eof()
        await connection.closed()
    await until(lambda: not connections(server) and not server._server.server_state.tasks)
    assert results.rows == []


async def test_all_bodies_together_are_bounded(connect):
    """When many large bodies are being received, those that come on top are asked to come later."""
    app = make_app(results=Results())
    server = ApiServer(BoundedBodies(app, max_body=1000, max_held=2500), "127.0.0.1", 0)
    await server.start()
    try:
        holding = [await connect(server) for _ in range(2)]
        for connection in holding:
            await connection.send(HEAD + b"content-length: 1000\r\n\r\n" + b" " * 999)
        await until(lambda: server._app._held == 1998)
        answer = await post(server.port, result("x" * 600))
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        for connection in holding:
            connection.writer.transport.abort()
        await until(lambda: server._app._held == 0)
        assert (await post(server.port, result("x" * 600))).status == 201
    finally:
        await server.stop(0.5)


async def test_a_client_that_vanishes_leaves_no_trace(serve, connect, caplog):
    """Connections reset before, during and after a request are nobody's error."""
    caplog.set_level(logging.INFO)
    results = Results()
    server = await serve(results=results)
    whole = request("POST", "/api/scraped-result", result(), content_type="application/json")
    results.gate.clear()
    for data in (b"", whole[:10], whole[:-3], whole):
        connection = await connect(server)
        await connection.send(data)
        await until(lambda: connections(server))
        connection.writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00"
        )
        connection.writer.transport.abort()
        await until(lambda: not connections(server))
    results.gate.set()
    await until(lambda: not server._server.server_state.tasks)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_an_idle_connection_is_closed(serve, connect):
    """Some time after its last answer, not after its first."""
    server = await serve()
    connection = await connect(server)
    await connection.send(request("GET", "/healthz"))
    await connection.answer()
    (idle,) = connections(server)
    idle._idle_timer.cancel()
    idle._look()
    assert not idle.transport.is_closing()
    assert idle._idle_timer.when() - idle.loop.time() <= module.KEEP_ALIVE
    idle._idle_since -= module.KEEP_ALIVE
    idle._idle_timer.cancel()
    idle._look()
    assert await connection.closed() == b""


async def test_a_request_under_way_is_not_idle(serve, connect, monkeypatch):
    """What takes longer than an idle connection is kept is answered all the same."""
    monkeypatch.setattr(module, "KEEP_ALIVE", 0.1)
    results = Results()
    server = await serve(results=results)
    connection = await connect(server)
    await connection.send(request("GET", "/healthz"))
    await connection.answer()
    results.gate.clear()
    await connection.send(request("POST", "/api/scraped-result", result(), content_type="application/json"))
    (protocol_,) = connections(server)
    await until(lambda: protocol_._idle_timer is None)
    results.gate.set()
    assert (await connection.answer()).status == 201
    assert await connection.closed() == b""


async def test_a_websocket_at_the_wrong_port_gets_an_answer(serve):
    """An upgrade is not taken here, and is no reason to hang."""
    server = await serve()
    answer = await ask(server.port, "GET", "/nothing", connection="Upgrade", upgrade="websocket")
    assert answer.status == 404
