from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.faults.proxy import CuttingProxy


class Echo:
    """A server that sends back what it gets, and counts it."""

    def __init__(self) -> None:
        self.received = b""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(65536):
                self.received += data
                connection.sendall(data)


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.listener.shutdown(socket.SHUT_RDWR)
    server.listener.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[CuttingProxy]:
    with CuttingProxy(echo.port) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: CuttingProxy) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as client:
        yield client


def test_it_forwards_both_ways_and_the_end(proxy, client):
    """Bytes pass unchanged, and a half-closed side still gets what is on its way."""
    data = bytes(range(256)) * 4000
    sender = threading.Thread(target=lambda: (client.sendall(data), client.shutdown(socket.SHUT_WR)))
    sender.start()
    got = b""
    while part := client.recv(65536):
        got += part
    sender.join(5)
    assert got == data
    assert proxy.accepted == 1
    wait_for(lambda: proxy.links == 0)


def test_a_cut_ends_every_link_and_lets_new_ones_in(proxy, client, echo):
    """Both sides notice at once; a new connection works."""
    client.sendall(b"a")
    assert client.recv(1) == b"a"
    assert proxy.cut() == 1
    assert ended(client)
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as second:
        second.sendall(b"b")
        assert second.recv(1) == b"b"


def test_a_cut_wakes_a_side_that_is_stuck(proxy, client):
    """A link whose client does not read is cut like any other."""
    client.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            client.send(b"x" * 65536)
    wait_for(lambda: proxy.links == 1)
    assert proxy.cut() == 1
    client.settimeout(5)
    assert ended(client)


def test_a_pause_holds_everything_and_loses_nothing(proxy, client, echo):
    """Nothing passes and nobody is told; afterwards all of it arrives."""
    client.sendall(b"a")
    assert client.recv(1) == b"a"
    proxy.pause()
    client.sendall(b"b")
    client.settimeout(0.1)
    with pytest.raises(TimeoutError):
        client.recv(1)
    assert echo.received == b"a"
    proxy.resume()
    client.settimeout(5)
    assert client.recv(1) == b"b"


def test_a_marked_request_is_delivered_and_its_answer_is_not(proxy, client, echo):
    """The server acts on it; the client sees a broken link. Other data passes before."""
    proxy.cut_before_answer_to(b"COMMIT")
    client.sendall(b"other")
    assert client.recv(5) == b"other"
    assert proxy.armed
    client.sendall(b"..COMMIT..")
    assert ended(client)
    assert echo.received == b"other..COMMIT.."
    assert not proxy.armed


def test_a_refusing_proxy_accepts_and_closes(proxy):
    """As a dying server does; the attempts are counted."""
    proxy.refusing = True
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as client:
            assert ended(client)
    wait_for(lambda: proxy.accepted == 3)


def test_a_slow_link_is_slow(proxy, client):
    """The rate is held in each direction."""
    proxy.bytes_per_second = 100_000
    started = time.monotonic()
    client.sendall(b"x" * 10_000)
    got = 0
    while got < 10_000:
        got += len(client.recv(65536))
    assert time.monotonic() - started >= 0.15


def test_a_closed_proxy_refuses(proxy, client):
    """The port is free again and links are cut."""
    proxy.close()
    assert ended(client)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", proxy.port), timeout=5)


def ended(client: socket.socket) -> bool:
    """Whether the connection ends within its timeout; what still comes is thrown away."""
    try:
        while client.recv(65536):
            pass
    except ConnectionError:
        pass
    return True


def wait_for(condition) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
