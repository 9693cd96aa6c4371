"""Bounds and times, each in one place."""

from __future__ import annotations

from dataclasses import dataclass

CONTROL_ALLOWANCE = 64 * 1024  # bytes of answers and pongs that may wait behind a full write buffer
MAX_HEAD = 16 * 1024  # bytes of an HTTP request's head


@dataclass(frozen=True, slots=True)
class Limits:
    """What one connection may use."""

    max_buffer: int = 1 << 20  # bytes of memory for what waits to be sent
    max_subscriptions: int = 64
    max_message: int = 64 * 1024  # bytes of one client message


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds; tests make them short."""

    heartbeat: float = 15.0
    ping: float = 20.0  # silence after which a WebSocket ping asks whether anybody is there
    silence: float = 40.0  # silence after which nobody is
    unread: float = 30.0  # data waits and none of it is taken: after so long the client is closed
    handshake: float = 10.0  # from accept to the end of the opening handshake, or of a plain HTTP answer
    closing: float = 10.0  # from our close frame to the end of the connection
    sweep: float = 1.0  # how often these are looked at
