"""Real parts for the tests: private database servers, a browser, ports.

Fetched parts stay in the dev folder (``ROWCAST_DEV_DIR``, default ``.dev``) for the next run; data does not. What
cannot be had on this machine is skipped with its reason.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from devenv import chromium as browsers
from devenv import ports
from devenv.database import Server, find_or_fetch
from devenv.errors import Unavailable
from devenv.installation import Flavour, Installation

ROOT = Path(__file__).resolve().parent.parent

# no timing decides a test: the machine may be busy
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("unhurried")

MakeServer = Callable[..., Server]


def pytest_addoption(parser: pytest.Parser) -> None:
    """``./dev test --long``."""
    parser.addoption("--long", action="store_true", help="run also what takes minutes")


@pytest.fixture
def long(request: pytest.FixtureRequest) -> None:
    """A test that takes minutes."""
    if not request.config.getoption("--long"):
        pytest.skip("takes minutes: ./dev test --long")


@pytest.fixture(scope="session")
def dev_dir() -> Path:
    """Where fetched programs are kept."""
    return (ROOT / os.environ.get("ROWCAST_DEV_DIR", ".dev")).resolve()


@pytest.fixture(scope="session")
def data_dir(dev_dir: Path) -> Iterator[Path]:
    """A folder for this run's servers; those that killed runs left behind are removed."""
    everybody = dev_dir / "test"
    everybody.mkdir(parents=True, exist_ok=True)
    for old in everybody.iterdir():
        if not _alive(int(old.name)):
            shutil.rmtree(old, ignore_errors=True)
    own = everybody / str(os.getpid())
    own.mkdir()
    yield own
    shutil.rmtree(own, ignore_errors=True)


@pytest.fixture(scope="session")
def mariadb_installation(dev_dir: Path) -> Installation:
    """MariaDB's programs."""
    return _installation(dev_dir, "mariadb")


@pytest.fixture(scope="session")
def mysql_installation(dev_dir: Path) -> Installation:
    """MySQL's programs."""
    return _installation(dev_dir, "mysql")


@pytest.fixture(scope="session")
def mariadb(mariadb_installation: Installation, data_dir: Path) -> Iterator[Server]:
    """A MariaDB for the whole run, started with my.cnf and empty. Use a database of your own; do not stop it."""
    with _empty_server(mariadb_installation, data_dir, "mariadb") as server:
        yield server


@pytest.fixture(scope="session")
def mysql(mysql_installation: Installation, data_dir: Path) -> Iterator[Server]:
    """A real MySQL for the whole run, otherwise like ``mariadb``."""
    with _empty_server(mysql_installation, data_dir, "mysql") as server:
        yield server


@pytest.fixture(params=["mariadb", "mysql"])
def either(request: pytest.FixtureRequest) -> Server:
    """Runs the test twice: on the run's MariaDB and on its MySQL."""
    server: Server = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def make_server(request: pytest.FixtureRequest, data_dir: Path) -> Iterator[MakeServer]:
    """``make_server("mariadb", extra=["--gtid-domain-id=3"])`` starts a server of the test's own, to stop and kill."""
    made: list[Server] = []

    def make(flavour: Flavour = "mariadb", *, extra: Sequence[str] = (), port: int | None = None) -> Server:
        installation: Installation = request.getfixturevalue(f"{flavour}_installation")
        server = _empty_server(installation, data_dir, f"own-{id(made)}-{len(made)}", port, extra)
        made.append(server)
        server.start()
        return server

    yield make
    for server in made:
        server.kill()
        shutil.rmtree(server.datadir, ignore_errors=True)


@pytest.fixture(scope="session")
def chromium(dev_dir: Path) -> Path:
    """The browser's executable: Playwright's ``executable_path``, with ``args`` ``devenv.chromium.ARGUMENTS``."""
    try:
        return browsers.find_or_fetch(dev_dir)
    except Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture
def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    return ports.free_port()


def _installation(dev_dir: Path, flavour: Flavour) -> Installation:
    try:
        return find_or_fetch(dev_dir, flavour)
    except Unavailable as reason:
        pytest.skip(str(reason))


def _empty_server(
    installation: Installation, data_dir: Path, name: str, port: int | None = None, extra: Sequence[str] = ()
) -> Server:
    """A server over a copy of an empty data folder: making that anew takes MySQL several seconds."""
    pattern = Server(installation, data_dir / f"empty-{installation.flavour}")
    pattern.initialise()
    server = Server(installation, data_dir / name, port, extra)
    shutil.copytree(pattern.datadir, server.datadir, ignore=shutil.ignore_patterns("auto.cnf"))  # MySQL's own UUID
    return server


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
