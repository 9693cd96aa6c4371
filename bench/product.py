"""`rowcast serve` itself, over a server of the bench's."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import Any

from bench.detections import SCHEMA
from bench.stage import Stage, environment
from devenv.children import end, spawn
from devenv.database import Server
from devenv.ports import free_ports

_READY = 30.0
_CATCH_UP = 300.0


class Product:
    """One journal and two ports, started and stopped as often as wanted."""

    def __init__(self, stage: Stage, server: Server, **settings: str) -> None:
        self._stage = stage
        self.gateway_port, self.api_port = free_ports(2)
        self._journal = stage.folder / f"product-{self.gateway_port}.db"
        url = server.url("root", server.root_password, SCHEMA)
        self._environment = environment({}) | {
            "ROWCAST_MYSQL_URL": url,
            "ROWCAST_JOURNAL_PATH": str(self._journal),
            "ROWCAST_GATEWAY_PORT": str(self.gateway_port),
            "ROWCAST_API_PORT": str(self.api_port),
            **settings,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Product:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        for file in self._journal.parent.glob(self._journal.name + "*"):
            file.unlink()

    @property
    def pid(self) -> int:
        """The process that serves."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start, and return when the whole path works."""
        with self._stage.log.open("ab") as log:
            command = [sys.executable, "-m", "rowcast", "serve"]
            self._process = spawn(command, environment=self._environment, output=log)
        deadline = time.monotonic() + _READY
        while self._get("/readyz") is None:
            self._still(deadline, "was not ready")

    def stop(self) -> None:
        """Stop in order."""
        if self._process is not None:
            end(self._process, 20)
            self._process = None

    def head(self, channel: str) -> int:
        """The channel's newest offset."""
        known = self._get("/api/channels") or {}
        return int(next((one["head"] for one in known["channels"] if one["channel"] == channel), 0)) if known else 0

    def epoch(self) -> str:
        """The journal's epoch."""
        return str((self._get("/api/channels") or {})["epoch"])

    def wait_for_head(self, channel: str, offset: int) -> None:
        """Return when so many events are in the journal."""
        deadline = time.monotonic() + _CATCH_UP
        while self.head(channel) < offset:
            self._still(deadline, f"did not reach {offset}")

    def _still(self, deadline: float, complaint: str) -> None:
        if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"rowcast serve {complaint}, see {self._stage.log.name}")
        time.sleep(0.05)

    def _get(self, path: str) -> dict[str, Any] | None:
        """A JSON answer; None unless it is a 200."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.api_port}{path}", timeout=10) as answer:
                known: dict[str, Any] = json.load(answer)
                return known
        except (urllib.error.URLError, OSError):
            return None
