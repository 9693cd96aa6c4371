from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from devenv.database import Server
from tests.cdc.database import Database

# no timing decides a test: the machine may be busy
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("unhurried")


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
