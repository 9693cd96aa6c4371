"""``/healthz``, ``/readyz`` and ``/metrics``: for those who watch over the process."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import falcon
import falcon.asgi
import msgspec

Readiness = Callable[[], tuple[bool, Mapping[str, str | None]]]
Metrics = Callable[[], bytes]


class Alive(msgspec.Struct):
    """The process answers."""

    status: str = "ok"


class Ready(msgspec.Struct):
    """Whether the whole path works, and of each part ``ok`` or what is wrong with it."""

    ready: bool
    checks: dict[str, str]


class Healthz:
    """Says that the process lives; asks nothing else."""

    async def on_get(self, _req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Answer 200."""
        resp.data = msgspec.json.encode(Alive())

    on_head = on_get


class Readyz:
    """Says whether to send work here."""

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness

    async def on_get(self, _req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Answer 200, or 503 with the reasons."""
        ready, checks = self._readiness()
        resp.status = falcon.HTTP_200 if ready else falcon.HTTP_503
        answer = Ready(ready, {name: reason or "ok" for name, reason in checks.items()})
        resp.data = msgspec.json.encode(answer)

    on_head = on_get


class MetricsText:
    """The metrics, in the text format of Prometheus."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def on_get(self, _req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Answer with the text of this moment."""
        resp.content_type = "text/plain; version=0.0.4; charset=utf-8"
        resp.data = self._metrics()

    on_head = on_get
