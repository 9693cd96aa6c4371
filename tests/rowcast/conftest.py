from collections.abc import Callable
from typing import Any

import pymysql
import pytest

from devenv.database import Server
from rowcast.loading import load
from rowcast.settings import Settings

_numbers = iter(range(1, 1000))


@pytest.fixture
def database() -> str:
    """A database name of the test's own, with a character that GRANT takes for a pattern."""
    return f"test_rowcast_{next(_numbers)}"


@pytest.fixture
def accounts(database: str) -> Callable[[Server], dict[str, str]]:
    """The environment that gives a server's administrator and two accounts of the test's own."""

    def _accounts(server: Server) -> dict[str, str]:
        return {
            "ROWCAST_MYSQL_ADMIN_URL": server.root_url,
            "ROWCAST_MYSQL_URL": server.url(f"{database}_r", "r';-- p", database),
            "ROWCAST_API_MYSQL_URL": server.url(f"{database}_w", "w p", database),
        }

    return _accounts


@pytest.fixture
def settings_of(accounts) -> Callable[..., Settings]:
    """Settings for a server with accounts of the test's own; further variables by keyword."""

    def _settings(server: Server, **more: str) -> Settings:
        return load(None, accounts(server) | more).settings

    return _settings


@pytest.fixture
def query() -> Callable[..., list[tuple[Any, ...]]]:
    """Runs one statement as the account of a URL."""

    def _query(url, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with pymysql.connect(**url.arguments(), autocommit=True) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return list(cursor.fetchall())

    return _query
