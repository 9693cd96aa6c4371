import http.server
import threading
from collections.abc import Iterator

import pytest
from websockets.sync.server import serve

from rowcast.health import ask


@pytest.fixture
def web() -> Iterator[str]:
    """An HTTP server: /good answers 200, everything else 503 with a reason."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/good" else 503)
            self.send_header("Content-Length", "18")
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(b'{"source": "down"}')

        def log_message(self, *_args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_http_is_healthy_with_200_only(web):
    """200 is well; another status is told with its body."""
    assert ask(f"{web}/good", 2) is None
    assert ask(f"{web}/bad", 2) == '503 {"source": "down"}'


def test_websocket_is_healthy_when_it_answers_a_ping():
    """A connection and a pong are enough."""
    with serve(list, "127.0.0.1", 0) as server:  # reads until the client leaves
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        port = server.socket.getsockname()[1]
        assert ask(f"ws://127.0.0.1:{port}/", 2) is None
        server.shutdown()
        thread.join()


def test_a_websocket_that_is_none_is_told(web):
    """An HTTP server that does not upgrade is not healthy as a WebSocket."""
    assert "503" in (ask(web.replace("http", "ws"), 2) or "")


@pytest.mark.parametrize("scheme", ["http", "ws"])
def test_nobody_there_is_told(scheme, free_port):
    """A refused connection is a reason, not an exception."""
    assert ask(f"{scheme}://127.0.0.1:{free_port}/", 2) is not None


@pytest.mark.parametrize("url", ["http://", "http://[", "ws://"])
def test_a_broken_url_is_told(url):
    """It is a reason like any other."""
    assert ask(url, 1) is not None


@pytest.mark.parametrize("url", ["file:///etc/passwd", "example", "ftp://127.0.0.1/"])
def test_other_schemes_are_refused(url):
    """No file is read and nothing else is asked."""
    assert ask(url, 1) == "is not an http, https, ws or wss URL"
