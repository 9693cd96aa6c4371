"""Which web pages may read events: those that the WebSocket gateway lets in, told so in the words of CORS."""

from __future__ import annotations

from collections.abc import Callable

import falcon.asgi

from api.errors import ForeignOrigin

Allows = Callable[[str | None, str | None], bool]
"""Tells by the headers ``Origin`` and ``Host`` whether a request may be answered."""


class ReadingOrigins:
    """One policy for every path that shows rows."""

    def __init__(self, allows: Allows) -> None:
        self._allows = allows

    def admit(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Let a page of another origin read the answer if it may; raise ``ForeignOrigin`` if it may not."""
        origin = req.get_header("Origin")
        if not self._allows(origin, req.get_header("Host")):
            raise ForeignOrigin
        resp.set_headers({"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Vary": "Origin"})
        if origin is not None:
            resp.set_header("Access-Control-Allow-Origin", origin)
