"""Which web pages may use the API: those that the WebSocket gateway lets in. Who reads is told so, as CORS has it."""

from __future__ import annotations

from collections.abc import Callable

import falcon.asgi

from api.errors import ForeignOrigin

Allows = Callable[[str | None, str | None], bool]
"""Tells by the headers ``Origin`` and ``Host`` whether a request may be answered."""


class Origins:
    """One policy for every path that shows or takes rows."""

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

    def admit_writing(self, req: falcon.asgi.Request) -> None:
        """Raise ``ForeignOrigin`` for a page that may not write. A browser names the origin of whatever posts.

        Without this a name that a foreign page has made to point here would do: to the browser both are one origin.
        """
        origin = req.get_header("Origin")
        if origin is not None and not self._allows(origin, req.get_header("Host")):
            raise ForeignOrigin
