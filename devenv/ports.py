"""Ports of the loopback interface."""

from __future__ import annotations

import secrets
import socket

LOOPBACK = "127.0.0.1"


# Below the range that outgoing connections are given their ports from: one of those may take a number that was
# free a moment ago and keep it for a minute.
_RANGE = range(15_000, 32_000)


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    return next(port for port in iter(lambda: secrets.choice(_RANGE), None) if is_free(port))


def free_ports(count: int) -> list[int]:
    """So many different ones."""
    found: set[int] = set()
    while len(found) < count:
        found.add(free_port())
    return list(found)


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True
