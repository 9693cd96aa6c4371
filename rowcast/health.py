"""`rowcast health URL`: one question, one answer; for container health checks."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

_WEBSOCKET, _HTTP = {"ws", "wss"}, {"http", "https"}


def understood(url: str) -> bool:
    """Whether it is a URL that ``ask`` can ask."""
    try:
        return urlsplit(url).scheme in _WEBSOCKET | _HTTP
    except ValueError:  # half an IPv6 address
        return False


def ask(url: str, seconds: float) -> str | None:
    """None when ``url`` answers well within ``seconds``, else why not.

    An HTTP URL must answer 200; a WebSocket URL must accept a connection and answer a ping.
    """
    try:
        scheme = urlsplit(url).scheme
        if scheme in _WEBSOCKET:
            return _ask_websocket(url, seconds)
        if scheme in _HTTP:
            return _ask_http(url, seconds)
    except (OSError, ValueError, http.client.HTTPException, WebSocketException) as error:
        return str(error) or type(error).__name__
    return "is not an http, https, ws or wss URL"


def _ask_http(url: str, seconds: float) -> str | None:
    try:
        with urllib.request.urlopen(url, timeout=seconds) as answer:  # noqa: S310 - the scheme was looked at
            status, body = answer.status, answer.read(4096)
    except urllib.error.HTTPError as error:
        with error:
            status, body = error.code, error.read(4096)
    return None if status == 200 else f"{status} {body.decode('utf-8', 'replace').strip()}".strip()


def _ask_websocket(url: str, seconds: float) -> str | None:
    with connect(url, open_timeout=seconds, close_timeout=seconds, proxy=None) as connection:
        return None if connection.ping().wait(seconds) else f"no pong within {seconds:g} s"
