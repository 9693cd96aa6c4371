from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from cdc import backoff
from cdc.reader import Origin
from devenv.database import Server
from tests.cdc.database import Database
from tests.cdc.following import Follow, Following


@pytest.fixture
def database(either: Server) -> Iterator[Database]:
    """An empty database on the run's MariaDB, then on its MySQL."""
    yield from opened(either)


@pytest.fixture
def maria(mariadb: Server) -> Iterator[Database]:
    """An empty database on the run's MariaDB."""
    yield from opened(mariadb)


@pytest.fixture
def oracle(mysql: Server) -> Iterator[Database]:
    """An empty database on the run's MySQL."""
    yield from opened(mysql)


def opened(server: Server) -> Iterator[Database]:
    """A database that is gone afterwards."""
    database = Database(server)
    yield database
    database.close()


@pytest.fixture
async def follow(tmp_path: Path) -> AsyncIterator[Follow]:
    """Makes capture loops over the test's journal, and stops them."""
    made: list[Following] = []

    def make(origin: Origin, **options: Any) -> Following:
        made.append(Following(origin, tmp_path / "journal.db", **options))
        return made[-1]

    yield make
    for following in made:
        await following.stop()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Come back soon, however often the link was lost."""
    monkeypatch.setattr(backoff, "_SLOWEST", 0.1)
