"""Who may use the API: the pages that the WebSocket gateway lets in, and programs."""

from __future__ import annotations

import pytest

from api.feed import Feed
from gateway.origins import OriginPolicy
from tests.api.client import Connection, ask, result
from tests.api.events import changes, stream
from tests.api.stubs import Results

OWN, LISTED = OriginPolicy([], loopback_only=True), OriginPolicy(["https://app.example"], loopback_only=True)
PUBLIC, ANY = OriginPolicy([]), OriginPolicy(["*"], loopback_only=True)


async def status(serve, journal, policy, path, **headers):
    server = await serve(feed=Feed(journal), origins=policy.allows_reading)
    async with await Connection.open(server.port) as connection:
        given = {"host": headers.pop("host", "127.0.0.1:8000"), **headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        await connection.send(f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode())
        return await connection.answer(head=True)


@pytest.mark.parametrize(
    ("policy", "headers", "expected"),
    [
        (OWN, {}, 200),
        (OWN, {"host": "localhost:8000"}, 200),
        (OWN, {"host": "[::1]:8000"}, 200),
        (OWN, {"host": "10.0.0.5:8000"}, 200),
        (OWN, {"origin": "http://localhost:3000"}, 200),
        (OWN, {"origin": "https://evil.example"}, 403),
        (OWN, {"origin": "null"}, 403),
        (OWN, {"origin": "http://localhost.evil.example"}, 403),
        (OWN, {"host": "evil.example:8000"}, 403),  # its name was made to point here
        (OWN, {"host": "evil.example:8000", "origin": "http://evil.example:8000"}, 403),
        (OWN, {"host": "a b"}, 403),
        (LISTED, {"host": "app.example"}, 200),
        (LISTED, {"host": "api.example", "origin": "https://app.example"}, 200),
        (LISTED, {"host": "evil.example"}, 403),
        (LISTED, {"origin": "http://app.example"}, 403),
        (PUBLIC, {"host": "rows.example"}, 200),
        (PUBLIC, {"host": "rows.example", "origin": "https://evil.example"}, 403),
        (ANY, {"host": "evil.example", "origin": "https://evil.example"}, 200),
    ],
)
async def test_pages_that_may_not_connect_may_not_read(serve, journal, policy, headers, expected):
    """A foreign page gets 403, also one whose host name leads here; those that may read are told so."""
    for path in (stream(), changes(), "/api/channels"):
        answer = await status(serve, journal, policy, path, **headers)
        assert answer.status == expected
        allowed = answer.headers.get("access-control-allow-origin")
        assert allowed == (headers.get("origin") if expected == 200 else None)
        if expected == 200:
            assert answer.headers["vary"] == "Origin"


async def test_a_page_that_may_read_reads_refusals_too(serve, journal):
    """It can say to its user what is wrong."""
    answer = await status(serve, journal, OWN, stream("nothing"), origin="http://localhost:3000")
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (404, "http://localhost:3000")


@pytest.mark.parametrize(
    ("policy", "headers", "expected"),
    [
        (OWN, {}, 201),
        (OWN, {"host": "rowcast-api:8000"}, 201),  # a scraper; no browser posts without an origin
        (OWN, {"host": "127.0.0.1:8000", "origin": "http://127.0.0.1:8000"}, 201),
        (OWN, {"host": "evil.example:8000", "origin": "http://evil.example:8000"}, 403),
        (OWN, {"origin": "null"}, 403),
        (LISTED, {"host": "api.example", "origin": "https://app.example"}, 201),
    ],
)
async def test_pages_that_may_not_connect_may_not_write(serve, journal, policy, headers, expected):
    """Nor does a host name help that was made to lead here."""
    server = await serve(feed=Feed(journal), origins=policy.allows_reading, results=Results())
    for path, body in (("/api/scraped-result", result()), ("/api/scraped-results", b"[" + result() + b"]")):
        answer = await ask(server.port, "POST", path, body, content_type="application/json", **headers)
        assert answer.status == expected
