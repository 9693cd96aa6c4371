"""The client that posts: what it takes for an answer, and what ends the bench."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from bench.poster import post, whole

CREATED = b'HTTP/1.1 201 Created\r\nContent-Length: 8\r\nX: y\r\n\r\n{"id":1}'


def test_an_answer_is_whole_with_its_last_byte() -> None:
    """However it is cut, nothing less than head and body counts, in whatever letters the length is named."""
    for answer in (CREATED, CREATED.replace(b"Content-Length", b"content-length")):
        assert [whole(answer[:size]) for size in range(len(answer))] == [False] * len(answer)
        assert whole(answer)


@pytest.mark.parametrize("answer", [CREATED.replace(b"201", b"503"), CREATED.replace(b"Content-Length", b"Size")])
def test_anything_but_a_created_row_ends_the_bench(answer: bytes) -> None:
    """A refusal, and an answer that does not tell its length, are raised, not counted."""
    with pytest.raises(RuntimeError, match="a POST was answered with"):
        whole(answer)


def test_answers_that_come_in_pieces_are_counted_once() -> None:
    """Each request is sent after the answer before it was whole, and its time is counted once."""
    with serving([CREATED[:20], CREATED[20:-1], CREATED[-1:]]) as (port, requests):
        took = post(port, in_flight=1, seconds=0.2)
    assert 0 < len(took) <= len(requests)
    assert all(request.startswith(b"POST /api/scraped-result ") for request in requests)


def test_a_closed_connection_ends_the_bench() -> None:
    """A server that leaves without an answer is not waited for."""
    with serving([]) as (port, _), pytest.raises(RuntimeError, match="closed before its answer"):
        post(port, in_flight=1, seconds=0.2)


@contextmanager
def serving(pieces: Sequence[bytes]) -> Iterator[tuple[int, list[bytes]]]:
    """A server of one connection that answers each request in these pieces; without any it leaves."""
    requests: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with connection:
                while request := connection.recv(65536):
                    requests.append(request)
                    for piece in pieces:
                        connection.sendall(piece)
                    if not pieces:
                        return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1], requests
        thread.join(10)
