"""Serves `web/` as the API does: the gateway's port written into the index page, nothing else changed."""

from __future__ import annotations

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

WEB = Path(__file__).resolve().parents[2] / "web"


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, site: Site, *rest: object) -> None:
        self._site = site
        super().__init__(*rest, directory=str(WEB))  # type: ignore[arg-type]

    def do_GET(self) -> None:
        """The index page as it is meant for this site; other files as they are."""
        if self.path != "/":
            super().do_GET()
            return
        page = self._site.index.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Site:
    """A static server on a port of its own, at `url`. A test may put another page in the place of `index`."""

    def __init__(self, gateway_port: int) -> None:
        self.index = (WEB / "index.html").read_text().replace("__GATEWAY_PORT__", str(gateway_port))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
