"""What goes wrong at the start is said in one clear message with the right exit code, and never as a traceback."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from devenv.database import Server
from tests.conftest import MakeServer
from tests.faults.product import Product

UNREACHABLE, TEMPORARY, CONFIGURATION = 69, 75, 78


@pytest.fixture
def product(mariadb: Server, tmp_path: Path) -> Iterator[Product]:
    """A product that is migrated and not started."""
    product = Product(mariadb, tmp_path)
    product.migrate()
    yield product
    if product.running:
        product.kill()


def refused(product: Product, *words: str, code: int, extra: Mapping[str, str] | None = None) -> None:
    """`rowcast serve` ends with ``code`` and one message that has all of ``words``."""
    done = product.run("serve", extra={"ROWCAST_LOG_LEVEL": "error", **(extra or {})})
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("rowcast: ") == 1
    for word in words:
        assert word in done.stderr


def test_a_wrong_password(product: Product) -> None:
    """Names the account and the setting, not the password."""
    url = product.environment["ROWCAST_MYSQL_URL"].replace("reader-secret", "hunter2")
    refused(product, "mysql.url", f"r_{product.database}", code=CONFIGURATION, extra={"ROWCAST_MYSQL_URL": url})


def test_no_database(product: Product, free_port: int) -> None:
    """A server that does not answer is a dependency out of reach."""
    url = f"mysql://u:p@127.0.0.1:{free_port}/{product.database}"
    refused(product, "mysql.url", str(free_port), code=UNREACHABLE, extra={"ROWCAST_MYSQL_URL": url})


def test_a_server_without_a_binlog(make_server: MakeServer, tmp_path: Path) -> None:
    """There would be nothing to follow."""
    product = Product(make_server(extra=["--skip-log-bin"]), tmp_path)
    product.migrate()
    refused(product, "log_bin", "rowcast check", code=CONFIGURATION)


def test_statements_instead_of_rows(make_server: MakeServer, tmp_path: Path) -> None:
    """Rows would be missing without a trace."""
    product = Product(make_server(extra=["--binlog-format=STATEMENT"]), tmp_path)
    product.migrate()
    refused(product, "binlog_format", code=CONFIGURATION)


@pytest.mark.parametrize("section", ["gateway", "api"])
def test_a_port_in_use(product: Product, section: str) -> None:
    """Names the address, the setting and its environment variable."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        variable = f"ROWCAST_{section.upper()}_PORT"
        refused(product, f"127.0.0.1:{port}", f"{section}.port", variable, code=CONFIGURATION, extra={variable: port})


def test_a_malformed_settings_file(product: Product, tmp_path: Path) -> None:
    """Names file and line."""
    file = tmp_path / "rowcast.toml"
    file.write_text("[gateway]\nport = 80 80\n")
    refused(product, f"{file}:2", code=CONFIGURATION, extra={"ROWCAST_CONFIG": str(file)})


def test_all_wrong_settings_at_once(product: Product, tmp_path: Path) -> None:
    """Whoever mends one sees the others too."""
    file = tmp_path / "rowcast.toml"
    file.write_text('[gateway]\nmax_buffer = "x"\n[journal]\nkeep_hour = 3\n')
    words = (f"{file}:2", "gateway.max_buffer", f"{file}:4", "keep_hours")
    refused(product, *words, code=CONFIGURATION, extra={"ROWCAST_CONFIG": str(file)})


async def test_a_second_one_on_the_same_journal(product: Product) -> None:
    """Two captures cannot share a journal; the second says who holds it."""
    product.start()
    await product.ready()
    refused(product, "journal", str(product.process.pid), code=TEMPORARY)  # type: ignore[union-attr]  # it runs


def test_a_journal_that_is_something_else(product: Product) -> None:
    """A foreign file is refused and left as it was."""
    path = Path(product.environment["ROWCAST_JOURNAL_PATH"])
    path.write_text("my precious notes")
    refused(product, str(path), code=CONFIGURATION)
    assert path.read_text() == "my precious notes"
