"""Whole systems, started on a database: the product, and the two ways in which Node does the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from bench.detections import SCHEMA, TABLE
from bench.product import Product
from bench.stage import Program, Stage
from devenv.database import Server


class Running(NamedTuple):
    """Where a system listens, and its process. ``post`` is empty where rows come through the database alone."""

    port: int
    post: str
    pid: int


def address(server: Server) -> dict[str, Any]:
    """How a program gets to the bench's database."""
    login = {"host": "127.0.0.1", "port": server.port, "user": "root", "password": server.root_password}
    return login | {"schema": SCHEMA, "table": TABLE}


@contextmanager
def product(stage: Stage, server: Server) -> Iterator[Running]:
    """``rowcast serve``."""
    with Product(stage, server) as ours:
        ours.start()
        yield Running(ours.gateway_port, f"127.0.0.1:{ours.api_port}", ours.pid)


@contextmanager
def feed(stage: Stage, server: Server) -> Iterator[Running]:
    """Zongji and ws in one Node process."""
    with stage.peer("feed.mjs", address(server)) as program:
        yield Running(_ready(program), "", program.pid)


@contextmanager
def original(stage: Stage, server: Server) -> Iterator[Running]:
    """Express, mysql2 and ws in one Node process: save, then broadcast."""
    with stage.peer("original.mjs", address(server)) as program:
        port = _ready(program)
        yield Running(port, f"127.0.0.1:{port}", program.pid)


def _ready(program: Program) -> int:
    return int(program.hear(30)["ready"])
