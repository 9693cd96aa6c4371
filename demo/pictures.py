"""The web server of the made-up cameras: ``/snapshot.svg?camera=…`` on 127.0.0.1, and nothing else."""

from __future__ import annotations

import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, urlsplit

from demo.frames import BadParameter, frame_of, svg

HOST = "127.0.0.1"
PATH = "/snapshot.svg"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10  # for a client that says nothing

    def do_GET(self) -> None:
        """Answer with a picture; 400 for parameters that are not ours, 404 for any other path."""
        url = urlsplit(self.path)
        if url.path != PATH:
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", f"there is only {PATH}\n")
            return
        try:
            picture = svg(frame_of(dict(parse_qsl(url.query))))
        except BadParameter as error:
            self._answer(HTTPStatus.BAD_REQUEST, "text/plain", f"{error}\n")
            return
        self._answer(HTTPStatus.OK, "image/svg+xml", picture)

    def do_HEAD(self) -> None:
        """The same without a body."""
        self.do_GET()

    def _answer(self, status: HTTPStatus, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        # Opened by itself an SVG is a document: it may do nothing.
        self.send_header("Content-Security-Policy", "default-src 'none'; sandbox")
        if status is HTTPStatus.OK:  # the same address shows the same picture for ever
            self.send_header("Cache-Control", "public, max-age=31536000, immutable")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing: a page full of pictures would fill the terminal."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that leaves in the middle is no error."""


class Pictures:
    """The server, running while the ``with`` block does. ``OSError`` when the port is taken."""

    def __init__(self, port: int) -> None:
        self._server = _Server((HOST, port), _Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="pictures", daemon=True
        )

    @property
    def url(self) -> str:
        """The pictures' address without its query."""
        return f"http://{HOST}:{self._server.server_port}{PATH}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
