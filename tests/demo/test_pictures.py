from __future__ import annotations

import http.client
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from demo.pictures import PATH, Pictures

QUERY = "?camera=3&label=person&box=10,100,50,120&at=2026-11-23T08:19:33.120&confidence=0.91"


@pytest.fixture
def pictures() -> Iterator[Pictures]:
    """The server on a free port."""
    with Pictures(0) as server:
        yield server


def ask(pictures: Pictures, target: str, method: str = "GET") -> tuple[http.client.HTTPResponse, str]:
    """One request; its response and body."""
    connection = http.client.HTTPConnection(urlsplit(pictures.url).netloc, timeout=10)
    try:
        connection.request(method, target)
        response = connection.getresponse()
        return response, response.read().decode()
    finally:
        connection.close()


def test_picture(pictures: Pictures) -> None:
    """A picture is an SVG that may be kept for ever and may do nothing."""
    response, body = ask(pictures, PATH + QUERY)
    assert response.status == 200
    assert response.headers["Content-Type"] == "image/svg+xml; charset=utf-8"
    assert "immutable" in response.headers["Cache-Control"]
    assert response.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert body.startswith("<svg")


def test_same_address_same_picture_after_a_restart(pictures: Pictures) -> None:
    """A picture depends on its address alone."""
    _, before = ask(pictures, PATH + QUERY)
    with Pictures(0) as restarted:
        _, after = ask(restarted, PATH + QUERY)
    assert after == before


def test_head_has_no_body(pictures: Pictures) -> None:
    """HEAD tells the length of what GET would send."""
    response, body = ask(pictures, PATH + QUERY, "HEAD")
    assert int(response.headers["Content-Length"]) > 1000
    assert not body


@pytest.mark.parametrize("query", ["", "?camera=<script>", QUERY.replace("person", "%3Cscript%3E"), QUERY + "&box=1"])
def test_bad_parameters(pictures: Pictures, query: str) -> None:
    """They are answered with 400 and the parameter's name as plain text, and what was sent is not repeated."""
    response, body = ask(pictures, PATH + query)
    assert response.status == 400
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert "script" not in body


@pytest.mark.parametrize("target", ["/", "/favicon.ico", "/../etc/passwd", "/snapshot.svgz"])
def test_nothing_else_is_served(pictures: Pictures, target: str) -> None:
    """Any other path is 404."""
    assert ask(pictures, target)[0].status == 404


def test_taken_port() -> None:
    """A port that another program listens on is an OSError, not a second listener."""
    with Pictures(0) as first, pytest.raises(OSError, match="in use"):
        Pictures(urlsplit(first.url).port or 0)
