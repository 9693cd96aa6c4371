"""The answer to an HTTP request: the WebSocket handshake, the health checks, or a short refusal. No I/O."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
from websockets.datastructures import Headers, MultipleValuesError
from websockets.exceptions import InvalidHandshake
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from gateway.deflate import Negotiation
from gateway.origins import OriginPolicy
from gateway.upgrade import ordinary, switching

Readiness = Callable[[], tuple[bool, dict[str, Any]]]

# websockets logs every connection at INFO; that is nobody's news here.
quiet = logging.getLogger("gateway.websockets")
quiet.setLevel(logging.WARNING)

log = logging.getLogger("gateway.handshake")

_OFFERS = 64  # of extensions, whose answers are remembered: browsers make a handful
_LONGEST_OFFER = 256  # characters


class Answer(NamedTuple):
    """Bytes to send back. Unless ``upgraded`` the connection ends after them; ``health`` marks a health check.

    ``deflate``: compression was agreed on.
    """

    data: bytes
    upgraded: bool = False
    health: bool = False
    deflate: bool = False


class Handshake:
    """Answers request heads by one origin policy and one readiness check, with compression or without."""

    def __init__(self, origins: OriginPolicy, readiness: Readiness, compression: bool = True) -> None:
        self._origins = origins
        self._readiness = readiness
        self._extensions = [Negotiation()] if compression else None
        self._agreed = lru_cache(maxsize=_OFFERS)(self._negotiate)

    def answer(self, head: bytes) -> Answer:
        """The answer to a whole request head, up to and with its blank line; never raises."""
        return self._welcome(head) or self._consider(head)

    def _welcome(self, head: bytes) -> Answer | None:
        """The answer to an ordinary request that is to be accepted, in a tenth of the time."""
        request = ordinary(head)
        if request is None or not self._origins.allows(request.origin, request.host):
            return None
        offer = request.extensions
        if offer is None:
            return Answer(switching(request.key), upgraded=True)
        if len(offer) > _LONGEST_OFFER:
            return None
        try:
            agreed = self._agreed(offer)
        except InvalidHandshake:
            return None
        return Answer(switching(request.key, agreed), upgraded=True, deflate=agreed is not None)

    def _negotiate(self, offer: str) -> str | None:
        """Which of the extensions offered are agreed on, as the library says it. Raises ``InvalidHandshake``."""
        protocol = ServerProtocol(extensions=self._extensions, logger=quiet)
        agreed, _ = protocol.process_extensions(Headers({"Sec-WebSocket-Extensions": offer}))
        return agreed

    def _consider(self, head: bytes) -> Answer:
        """The answer to any other request, by the library."""
        protocol = ServerProtocol(extensions=self._extensions, logger=quiet)
        protocol.receive_data(head)
        events = protocol.events_received()
        if not events:
            # Refused by the parser: with a status when the head was too large, else with nothing but an end of file.
            return Answer(b"".join(protocol.data_to_send()) or _plain(protocol, 400, "Not an HTTP request.\n"))
        request = events[0]
        assert isinstance(request, Request)
        response, health = self._respond(protocol, request)
        if request.method == "HEAD":
            response.body = b""
        upgraded = response.status_code == 101
        return Answer(response.serialize(), upgraded, health, deflate=upgraded and bool(protocol.extensions))

    def too_large(self) -> Answer:
        """The answer to a head that does not end."""
        return Answer(_plain(ServerProtocol(logger=quiet), 431, "Request head too large.\n"))

    def _respond(self, protocol: ServerProtocol, request: Request) -> tuple[Response, bool]:
        if "Upgrade" in request.headers:
            return self._upgrade(protocol, request), False
        path = request.path.partition("?")[0]
        if path not in {"/healthz", "/readyz"}:
            return protocol.accept(request), False  # which says 405 or 426, and why
        if request.method not in {"GET", "HEAD"}:
            response = protocol.reject(405, "Use GET.\n")
            response.headers["Allow"] = "GET, HEAD"
            return response, False
        if path == "/healthz":
            return _json(protocol, 200, {"status": "ok"}), True
        return self._ready(protocol), True

    def _upgrade(self, protocol: ServerProtocol, request: Request) -> Response:
        try:
            origin, host = request.headers.get("Origin"), request.headers.get("Host")
        except MultipleValuesError:
            return protocol.reject(400, "More than one Origin or Host.\n")
        if not self._origins.allows(origin, host):
            return protocol.reject(403, "Pages from this origin may not connect: see gateway.origins.\n")
        return protocol.accept(request)

    def _ready(self, protocol: ServerProtocol) -> Response:
        try:
            ready, checks = self._readiness()
        except Exception:
            log.exception("readiness check failed")
            ready, checks = False, {"readiness": "the check itself failed"}
        body = {"ready": ready, "checks": {name: reason or "ok" for name, reason in checks.items()}}
        return _json(protocol, 200 if ready else 503, body)


def _plain(protocol: ServerProtocol, status: int, text: str) -> bytes:
    return protocol.reject(status, text).serialize()


def _json(protocol: ServerProtocol, status: int, body: dict[str, Any]) -> Response:
    response = protocol.reject(status, msgspec.json.encode(body).decode())
    del response.headers["Content-Type"]
    response.headers["Content-Type"] = "application/json"
    response.headers["Cache-Control"] = "no-store"
    return response
