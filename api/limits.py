"""Bounds on what a client may send: how long a body may be, all bodies together, and which types are taken.

Falcon takes a body of any size, chunk by chunk. So the whole body is received here, before the application is called:
no resource ever sees a part of one, and a client that leaves half-way has sent nothing. (``api.protocol`` has the
clock.)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import lru_cache
from typing import Any

import falcon
import falcon.asgi

from api.client import SCOPE_KEY, Client, Receive
from api.errors import ApiError, BodyTooLarge, Failure, Overloaded, WrongMediaType, encode

MEDIA_NDJSON = "application/x-ndjson"

Send = Callable[[dict[str, Any]], Awaitable[None]]
Asgi = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]


class BoundedBodies:
    """An ASGI application around ``app`` that shows it only whole bodies of at most ``max_body`` bytes.

    All bodies together, from their first byte to the answer, take at most ``max_held`` bytes.
    """

    def __init__(self, app: Asgi, *, max_body: int, max_held: int = 128 << 20) -> None:
        self._app = app
        self._max_body = max_body
        self._max_held = max(max_held, max_body)
        self._held = 0

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request; part of ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = [(name, value) for name, value in scope["headers"]]  # ASGI allows one look only
        body = bytearray()
        try:
            self._check_length(headers)
            if await self._receive(body, receive, wanted=scope["method"] not in ("GET", "HEAD")):
                client = Client(bytes(body), receive)
                await self._app({**scope, "headers": headers, SCOPE_KEY: client}, client.receive, send)
        except ApiError as error:  # only from receiving: the application answers its own
            await _refuse(error, send)
        finally:
            self._held -= len(body)

    def _check_length(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        for name, value in headers:
            if name == b"content-length" and value.isdigit():
                self._check_size(int(value))

    def _check_size(self, size: int) -> None:
        if size > self._max_body:
            text = f"The body is too large: at most {self._max_body} bytes"
            raise BodyTooLarge(Failure(error=text, limit=self._max_body))

    async def _receive(self, body: bytearray, receive: Receive, *, wanted: bool) -> bool:
        """Fill ``body``; false if the client left before its end. One that nobody wants is received and not kept."""
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return False
            chunk = message.get("body", b"")
            size += len(chunk)
            if wanted:  # else a stream would hold it as long as it lasts
                body += chunk
                self._held += len(chunk)
            self._check_size(size)
            if self._held > self._max_held:
                raise Overloaded(Failure(error="Too much is being received at once"))
            if not message.get("more_body", False):
                return True


def check_media(req: falcon.asgi.Request, *accepted: str) -> str:
    """The media type of the body, one of ``accepted``; raises ``WrongMediaType``.

    A missing type is refused as well: a page of another origin can send such a request, or one of ``text/plain``,
    without asking first, but not JSON.
    """
    media, charset = _media(req.content_type or "")
    coding = req.get_header("Content-Encoding", default="identity")
    if coding.lower() != "identity":
        raise WrongMediaType(Failure(error=f"Content-Encoding {coding} is not taken", hint="send it as it is"))
    if media not in accepted:
        error = f"Content-Type {media} is not taken" if media else "Content-Type is missing"
        raise WrongMediaType(Failure(error=error, hint="send Content-Type: " + " or ".join(accepted)))
    if charset not in ("utf-8", "utf8"):
        raise WrongMediaType(Failure(error=f"The character set {charset} is not taken", hint="JSON is UTF-8"))
    return media


@lru_cache(maxsize=32)
def _media(content_type: str) -> tuple[str, str]:
    """The type and the character set; most clients send the same all the time."""
    media, params = falcon.parse_header(content_type)
    return media.strip().lower(), params.get("charset", "utf-8").lower()


async def _refuse(error: ApiError, send: Send) -> None:
    body = encode(error.failure)
    headers = {"content-type": falcon.MEDIA_JSON, "content-length": str(len(body)), **error.headers}
    await send(
        {
            "type": "http.response.start",
            "status": error.status,
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        }
    )
    await send({"type": "http.response.body", "body": body})
