"""A `rowcast serve` of the test's own: its database, its journal, its ports, and ways to end it."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pymysql

from devenv.children import end, spawn, strike
from devenv.database import Server
from devenv.ports import free_ports

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS = 30.0


class Product:
    """Rowcast over a new database on ``server``. ``folder`` takes its journal and its log.

    ``mysql_port`` is where it looks for the server: a proxy's, say. ``settings`` are further environment variables.
    """

    def __init__(
        self, server: Server, folder: Path, *, mysql_port: int | None = None, settings: Mapping[str, str] | None = None
    ) -> None:
        self.server = server
        self.database = f"rowcast_{secrets.token_hex(4)}"
        self.log = folder / f"{self.database}.log"
        self.gateway_port, self.api_port = free_ports(2)
        port = mysql_port or server.port
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ROWCAST_")},
            "PYTHONPATH": str(ROOT),
            "ROWCAST_CONFIG": os.devnull,  # not the rowcast.toml of whoever works here
            "ROWCAST_MYSQL_URL": f"mysql://r_{self.database}:reader-secret@127.0.0.1:{port}/{self.database}",
            "ROWCAST_API_MYSQL_URL": f"mysql://w_{self.database}:writer-secret@127.0.0.1:{port}/{self.database}",
            "ROWCAST_JOURNAL_PATH": str(folder / f"{self.database}.db"),
            "ROWCAST_GATEWAY_PORT": str(self.gateway_port),
            "ROWCAST_API_PORT": str(self.api_port),
            **(settings or {}),
        }
        self.process: subprocess.Popen[bytes] | None = None

    # life

    def migrate(self) -> None:
        """Make tables and accounts."""
        admin = self.server.url("root", self.server.root_password, self.database)
        self.run("migrate", extra={"ROWCAST_MYSQL_ADMIN_URL": admin}, check=True)

    def start(self, extra: Mapping[str, str] | None = None) -> None:
        """Start serving, this time with ``extra`` environment variables; ``ready`` tells when it does."""
        environment = {**self.environment, **(extra or {})}
        with self.log.open("ab") as log:
            self.process = spawn([sys.executable, "-m", "rowcast", "serve"], environment=environment, output=log)

    def kill(self) -> None:
        """``kill -9``."""
        assert self.process is not None
        strike(self.process)
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        return end(self.process, 20)

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self.process is not None and self.process.poll() is None

    async def ready(self) -> None:
        """Return once /readyz says so; fail with the log's end when the process dies or is not ready in time."""
        try:
            async with asyncio.timeout(READY_SECONDS):
                while (await self.readiness())[0] != 200:
                    assert self.running, f"rowcast serve ended:\n{self.last_words()}"
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"not ready after {READY_SECONDS:g} s:\n{self.last_words()}") from None

    # use

    def run(
        self, *arguments: str, extra: Mapping[str, str] | None = None, check: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Another command of the CLI, with the same settings."""
        done = subprocess.run(
            [sys.executable, "-m", "rowcast", *arguments],
            env={**self.environment, **(extra or {})},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    def sql(self, statements: str) -> str:
        """Statements as root: a row that no part of ours has written."""
        return self.server.sql(statements, self.database)

    def connect(self) -> pymysql.Connection[Any]:
        """A connection as root straight to the server, not through any proxy."""
        return pymysql.connect(
            host="127.0.0.1",
            port=self.server.port,
            user="root",
            password=self.server.root_password,
            database=self.database,
        )

    @property
    def gateway(self) -> str:
        """The WebSocket address."""
        return f"ws://127.0.0.1:{self.gateway_port}/"

    @property
    def api(self) -> str:
        """The HTTP address, without a slash at its end."""
        return f"http://127.0.0.1:{self.api_port}"

    async def readiness(self) -> tuple[int, dict[str, Any]]:
        """What /readyz answers: status and body; ``(0, {})`` when nobody does."""
        return await asyncio.to_thread(_get, f"{self.api}/readyz")

    def last_words(self) -> str:
        """The end of the log."""
        return "\n".join(self.log.read_text().splitlines()[-20:])


def _get(url: str) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)
    except OSError:
        return 0, {}


def fetch(url: str) -> str:
    """The body of a page as text."""
    with urllib.request.urlopen(url, timeout=5) as answer:
        text: str = answer.read().decode()
        return text
