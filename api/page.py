"""The live page and ``client.js``: the files of the package ``web``, read once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from importlib.resources import files

import falcon
import falcon.asgi

INDEX = "index.html"
SDK = "client.js"

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
# No inline script or style. The gateway is on another port and a snapshot's picture can be anywhere.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' http: https: data:",
        "connect-src 'self' ws: wss:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "Cache-Control": "no-cache",  # keep it, but ask each time: the ETag makes that cheap
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class WebFile:
    """One file of the page, with an ETag."""

    def __init__(self, name: str, content: bytes) -> None:
        self._content = content
        self._type = _TYPES[_suffix(name)]
        self._etag = falcon.ETag(hashlib.sha256(content).hexdigest()[:32])
        self._headers = dict(_HEADERS)
        if name == SDK:
            self._headers["Access-Control-Allow-Origin"] = "*"  # pages of other origins import it

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Answer with the file, or 304 to a client that has it."""
        resp.set_headers(self._headers)
        resp.etag = self._etag.dumps()
        known = req.if_none_match or []
        if "*" in known or self._etag in known:
            resp.status = falcon.HTTP_304
            return
        resp.content_type = self._type
        resp.data = self._content

    on_head = on_get


def web_files(settings: Mapping[str, object], package: str = "web") -> Iterator[tuple[str, WebFile]]:
    """The path and the file of everything that the package serves.

    In the index page ``__GATEWAY_PORT__`` becomes ``settings["gateway_port"]``, and so on for each setting.
    """
    for source in files(package).iterdir():
        if _suffix(source.name) not in _TYPES or not source.is_file():
            continue
        content = source.read_bytes()
        if source.name == INDEX:
            for key, value in settings.items():
                content = content.replace(f"__{key.upper()}__".encode(), str(value).encode())
            yield "/", WebFile(source.name, content)
        yield f"/{source.name}", WebFile(source.name, content)


def _suffix(name: str) -> str:
    return "." + name.rpartition(".")[2]
