"""Which web pages may connect.

Browsers let any page open a WebSocket to any address and tell the server where the page came from; refusing foreign
pages is the server's business. Programs that are not browsers send no ``Origin`` and are not concerned.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_PORTS = {"http": 80, "https": 443}
ANY = "*"


class OriginPolicy:
    """The allowed origins: those listed; ``*`` for any; without a list, loopback and the gateway's own host.

    ``loopback_only``: the gateway listens on loopback, so a page under any other name has let that name point at this
    machine after it was loaded (DNS rebinding), and its own host is no proof.
    """

    def __init__(self, origins: Sequence[str], *, loopback_only: bool = False) -> None:
        self._loopback_only = loopback_only
        self._any = ANY in origins
        self._listed = {_normal(origin) for origin in origins if origin != ANY}
        if None in self._listed:
            raise ValueError(f"not an origin like https://example.org: {', '.join(origins)}")

    def allows(self, origin: str | None, host: str | None) -> bool:
        """Tell whether a request with these ``Origin`` and ``Host`` headers may connect."""
        if origin is None or self._any:
            return True
        normal = _normal(origin)
        if normal is None:
            return False
        if self._listed:
            return normal in self._listed
        if normal[1] in _LOOPBACK:
            return True
        return not self._loopback_only and host is not None and normal[1] == _hostname(host)

    def allows_reading(self, origin: str | None, host: str | None) -> bool:
        """The same for a plain GET, with which a browser sends no ``Origin`` to the host that its page came from.

        So the host has to be one that no foreign page can have: an address, loopback, or that of a listed origin.
        """
        if origin is not None or host is None or self._any:
            return self.allows(origin, host)
        name = _hostname(host)
        if name is None:
            return False
        if name in _LOOPBACK or _is_address(name):
            return True
        if self._listed:
            return name in {listed[1] for listed in self._listed if listed is not None}
        return not self._loopback_only


def is_loopback(host: str) -> bool:
    """Whether an address to listen on can be reached from this machine alone."""
    return host in _LOOPBACK or host.startswith("127.")


def _normal(origin: str) -> tuple[str, str, int] | None:
    """Scheme, host and port of an origin, ``None`` when it is anything but these (``null``, a path, a user)."""
    parts = _split(origin)
    if parts is None or parts.scheme not in _PORTS or not parts.hostname or "@" in parts.netloc:
        return None
    if parts.path or parts.query or parts.fragment or origin.endswith(("?", "#", ":")):
        return None
    return parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme]


def _hostname(host: str) -> str | None:
    parts = _split(f"http://{host}")
    return parts.hostname if parts else None


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises when it is not a number
    except ValueError:
        return None
    return parts
