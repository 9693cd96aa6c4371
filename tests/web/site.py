"""Serves `web/` as the API does: the gateway's port written into the index page, nothing else changed."""

from __future__ import annotations

import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

WEB = Path(__file__).resolve().parents[2] / "web"


class Site:
    """A static server on a port of its own. Whatever the page asks for besides is in `requested`."""

    def __init__(self, gateway_port: int) -> None:
        requested = self.requested = []

        class Handler(SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                requested.append(self.path)
                if self.path != "/":
                    super().do_GET()
                    return
                page = (WEB / "index.html").read_text().replace("__GATEWAY_PORT__", str(gateway_port)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(page)))
                self.end_headers()
                self.wfile.write(page)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), lambda *args: Handler(*args, directory=str(WEB)))
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
