from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from api.app import create_app
from api.feed import Feed
from api.server import ApiServer
from api.table import Address, ResultTable
from api.writer import ResultWriter
from devenv.database import Server
from tests.api.stubs import Journal
from tests.gateway.stored import StoredJournal

PASSWORD = "s3cret-Wr1ter'ж"

CHANNELS = ("cctv_updates", "scraped_updates")

_numbers = itertools.count()


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run every test on plain asyncio and, where it can be had, on uvloop: both are used in the field."""
    try:
        import uvloop
    except ImportError:
        return {"asyncio": asyncio.new_event_loop}
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def make_database(server: Server) -> Address:
    """A database of the test's own with the project's tables, and an account that may only insert."""
    name = f"test_api_{next(_numbers)}"
    password = PASSWORD.replace("'", "''")
    tables = files("sql").joinpath("001_tables.sql").read_text()
    server.sql(f"DROP DATABASE IF EXISTS {name}; CREATE DATABASE {name}; USE {name};\n{tables}")
    server.sql(f"CREATE USER IF NOT EXISTS '{name}'@'%' IDENTIFIED BY '{password}'")
    server.sql(f"GRANT INSERT ON {name}.scraped_result TO '{name}'@'%'")
    return Address(host="127.0.0.1", port=server.port, user=name, password=PASSWORD, database=name)


@pytest.fixture
def address(mariadb: Server) -> Address:
    """The address of a database of the test's own on MariaDB."""
    return make_database(mariadb)


@pytest.fixture
def stored(mariadb: Server, address: Address) -> Callable[[str], list[list[str]]]:
    """The rows of a query on the test's database, as text."""

    def query(columns: str = "id, account, data, url, timestamp") -> list[list[str]]:
        text = mariadb.sql(f"SELECT {columns} FROM scraped_result ORDER BY id", address.database)
        return [line.split("\t") for line in text.splitlines()]

    return query


@pytest.fixture
async def make_writer(address: Address) -> AsyncIterator[Callable[..., Any]]:
    """Starts writers with the given settings; ``port`` is a proxy's, else the database's own."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(port: int | None = None, io_timeout: float = 5.0, **settings: Any) -> ResultWriter:
            at = Address(**{**vars(address), "port": port or address.port})
            writer = ResultWriter(ResultTable(at, connect_timeout=2.0, io_timeout=io_timeout), **settings)
            stack.push_async_callback(writer.close, 0.5)
            await writer.start()
            return writer

        yield make


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Any]]:
    """Starts servers of the whole application, made of the given parts."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(**parts: Any) -> ApiServer:
            parts.setdefault("feed", Feed(Journal()))
            server = ApiServer(make_app(**parts), "127.0.0.1", 0, parts["feed"].close)
            await server.start()
            stack.push_async_callback(server.stop, 0.5)
            return server

        yield start


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[StoredJournal]:
    """An empty journal of both channels, on disk."""
    journal = await StoredJournal.open(tmp_path / "journal.db", CHANNELS)
    yield journal
    await journal.close()


def make_app(**parts: Any) -> Any:
    """The application with the given parts, and harmless ones for the rest."""
    defaults = {
        "results": None,
        "feed": Feed(Journal()),
        "origins": lambda _origin, _host: True,
        "readiness": lambda: (True, {}),
        "metrics": lambda: b"",
        "page_settings": {"gateway_port": 8080},
    }
    return create_app(**{**defaults, **parts})
