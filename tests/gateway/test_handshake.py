from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.handshake import Answer, Handshake
from gateway.origins import OriginPolicy
from tests.gateway.clients import UPGRADE, request


def handshake(ready: bool = True, checks: dict[str, Any] | None = None) -> Handshake:
    return Handshake(OriginPolicy(()), lambda: (ready, checks or {}))


def answered(answer: Answer) -> tuple[int, dict[str, str], bytes]:
    head, _, body = answer.data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return int(first.split(" ")[1]), headers, body


@pytest.mark.parametrize("path", ["/", "/ws", "/any/path?with=query", "/healthz"])
def test_any_path_becomes_a_websocket(path: str) -> None:
    """An upgrade is accepted at any path."""
    answer = handshake().answer(request(f"GET {path} HTTP/1.1", **UPGRADE))
    status, headers, _ = answered(answer)
    assert (status, answer.upgraded) == (101, True)
    assert headers["Sec-WebSocket-Accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455, section 1.3
    assert "Sec-WebSocket-Extensions" not in headers


def test_health() -> None:
    """`/healthz` says that the process answers."""
    for line in ("GET /healthz HTTP/1.1", "GET /healthz HTTP/1.0", "GET /healthz?x=1 HTTP/1.1"):
        answer = handshake().answer(request(line))
        status, headers, body = answered(answer)
        assert (status, json.loads(body), answer.upgraded, answer.health) == (200, {"status": "ok"}, False, True)
        assert headers["Content-Type"] == "application/json"
        assert headers["Connection"] == "close"


def test_head_has_no_body() -> None:
    """A HEAD request, as some health checks send it, gets the head alone."""
    status, headers, body = answered(handshake().answer(request("HEAD /healthz HTTP/1.1")))
    assert (status, headers["Content-Length"], body) == (200, "15", b"")


@pytest.mark.parametrize(("ready", "status"), [(True, 200), (False, 503)])
def test_readiness(ready: bool, status: int) -> None:
    """`/readyz` is 503 with the reasons unless everything works."""
    checks = {"source": None if ready else "connection refused"}
    found, _, body = answered(handshake(ready, checks).answer(request("GET /readyz HTTP/1.1")))
    told = {"source": "ok" if ready else "connection refused"}
    assert (found, json.loads(body)) == (status, {"ready": ready, "checks": told})


def test_a_failing_readiness_check_is_not_ready(caplog: pytest.LogCaptureFixture) -> None:
    """An exception in the check is logged, and the answer is 503."""

    def fails() -> tuple[bool, dict[str, Any]]:
        raise RuntimeError("bug")

    status, _, body = answered(Handshake(OriginPolicy(()), fails).answer(request("GET /readyz HTTP/1.1")))
    assert (status, json.loads(body)["ready"]) == (503, False)
    assert "readiness check failed" in caplog.text


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (request("GET / HTTP/1.1", Host="x"), 426),
        (request("GET /metrics HTTP/1.1", Host="x"), 426),
        (request("POST / HTTP/1.1", Host="x"), 405),
        (request("POST /healthz HTTP/1.1", Host="x"), 405),
        (request("POST / HTTP/1.1", **{**UPGRADE, "Content-Length": "5"}), 400),
        (request("POST / HTTP/1.1", **UPGRADE), 405),
        (request("GET / HTTP/1.0", **UPGRADE), 505),
        (request("GET / HTTP/2.0", **UPGRADE), 400),
        (request("GET / HTTP/1.1", **{**UPGRADE, "Upgrade": "h2c"}), 426),
        (request("GET / HTTP/1.1", **{**UPGRADE, "Sec-WebSocket-Version": "8"}), 400),
        (request("GET / HTTP/1.1", **{**UPGRADE, "Sec-WebSocket-Key": "short"}), 400),
        (request("GET / HTTP/1.1", **{**UPGRADE, "Sec-WebSocket-Key": "é"}), 400),
        (request("GET / HTTP/1.1", **UPGRADE, Origin="http://evil.example"), 403),
        (request("GET / HTTP/1.1", **UPGRADE, Origin="null"), 403),
        (request("GET / HTTP/1.1", **UPGRADE, Origin="http://localhost", origin="http://localhost"), 400),
        (request("GET / HTTP/1.1", x="y" * 9000), 431),
        (request("GET /" + "y" * 9000 + " HTTP/1.1"), 414),
        (b"\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\xfc\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: x\r\n\r\n", 400),
    ],
)
def test_everything_else_gets_a_short_refusal(head: bytes, status: int, caplog: pytest.LogCaptureFixture) -> None:
    """Requests that are no handshake and no health check get their status and a line of text, and are not logged."""
    answer = handshake().answer(head)
    found, headers, body = answered(answer)
    assert (found, answer.upgraded, answer.health) == (status, False, False)
    assert headers["Content-Type"] == "text/plain; charset=utf-8"
    assert 0 < len(body) < 300
    assert caplog.records == []


def test_own_pages_are_let_in() -> None:
    """A page that came from the gateway's host, whatever its port, may connect."""
    headers = {**UPGRADE, "Host": "cams.example.org:8080", "Origin": "http://cams.example.org:8000"}
    assert handshake().answer(request(**headers)).upgraded
