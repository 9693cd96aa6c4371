import asyncio
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import click
import pytest

from devenv.children import spawn, strike
from journal.sqlite import SqliteJournal
from rowcast.cli import cli, main
from rowcast.errors import CONFIGURATION, INTERNAL, UNREACHABLE, USAGE
from tests.faults.product import Product

ROOT = Path(__file__).parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path) -> Run:
    """Runs `python -m rowcast` in a folder of its own, with only the given ROWCAST_ variables."""

    def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ROWCAST_")}
        done = subprocess.run(
            [sys.executable, "-m", "rowcast", *arguments],
            env=clean | {"PYTHONPATH": str(ROOT)} | environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "Traceback" not in done.stderr
        return done

    return _run


def commands(group: click.Group = cli, prefix: str = "") -> list[str]:
    found = []
    for name, command in group.commands.items():
        found += commands(command, f"{name} ") if isinstance(command, click.Group) else [prefix + name]
    return found


def test_help_and_version(run):
    """Both answer on standard output and end with 0."""
    for arguments in (["--help"], ["-h"], ["serve", "--help"], ["--version"]):
        done = run(*arguments)
        assert done.returncode == 0
        assert done.stdout
        assert not done.stderr


def test_every_command_stands_in_the_documentation():
    """docs/cli.md has a row for each command."""
    document = (ROOT / "docs" / "cli.md").read_text("utf-8")
    documented = re.findall(r"^\| `rowcast ([a-z ]+?)(?: [A-Z]+)?` \|", document, re.MULTILINE)
    assert sorted(documented) == sorted(commands())


@pytest.mark.parametrize("arguments", [[], ["nope"], ["tail"], ["serve", "--nope"], ["tail", "c", "--last", "-1"]])
def test_usage(run, arguments):
    """A command line that cannot be understood is told, with how to use it, and ends with 2."""
    done = run(*arguments)
    assert done.returncode == USAGE
    assert "Usage: rowcast" in done.stderr


@pytest.mark.parametrize("command", ["serve", "api", "migrate", "check"])
def test_commands_that_need_a_database_say_so(run, command):
    """Without a URL they end with one message that names the variable."""
    done = run(command)
    assert done.returncode == CONFIGURATION
    assert done.stderr.startswith("rowcast: one thing is wrong with the settings:")
    assert "is not set (set ROWCAST_" in done.stderr


def test_settings_are_checked_whole(run, tmp_path):
    """File, environment and flags are read, and everything wrong in them told at once."""
    (tmp_path / "own.toml").write_text("[gateway]\nprot = 1\n")
    done = run("config", "--config", "own.toml", "--set", "api.port=x", ROWCAST_LOG_LEVEL="loud")
    assert done.returncode == CONFIGURATION
    for place in ("own.toml:2: ", "--set api.port: ", "ROWCAST_LOG_LEVEL: "):
        assert place in done.stderr


def test_config_prints_what_is_in_force(run, tmp_path):
    """`rowcast config` shows values and origins, and no secret."""
    (tmp_path / "rowcast.toml").write_text("[gateway]\nport = 9001\n")
    done = run("config", ROWCAST_MYSQL_URL="mysql://u:s3cret@h/d")
    assert done.returncode == 0
    assert "gateway.port = 9001  # rowcast.toml:2\n" in done.stdout
    assert 'mysql.url = "mysql://u:***@h:3306/d"  # ROWCAST_MYSQL_URL\n' in done.stdout
    assert run("config", "--table").stdout.startswith("| key | environment |")


def test_an_unreachable_database(run, free_port):
    """Migrating or checking a server that is not there ends with 69 and names the address."""
    url = f"mysql://u:s3cret@127.0.0.1:{free_port}/d"
    for command in ("migrate", "check"):
        done = run(command, ROWCAST_MYSQL_URL=url)
        assert done.returncode == UNREACHABLE
        assert f"127.0.0.1:{free_port}" in done.stderr
        assert "s3cret" not in done.stderr


def test_migrate_and_check(run, either, accounts, database, query):
    """One makes the database ready, the demo's account too, and says what it did; the other then finds it so."""
    demo = either.url(f"{database}_d", "d", database)
    ports = {"ROWCAST_GATEWAY_PORT": "0", "ROWCAST_API_PORT": "0"}
    done = run("migrate", **accounts(either), ROWCAST_DEMO_MYSQL_URL=demo)
    assert done.returncode == 0, done.stderr
    assert f"account {database}_d ready (ROWCAST_DEMO_MYSQL_URL)" in done.stdout
    done = run("check", **accounts(either), **ports)
    assert done.returncode == 0, done.stdout
    assert ", 0 to look at, 0 to mend" in done.stdout


def test_check_ends_with_78_when_something_must_be_mended(run, either, accounts):
    """Before the migration the accounts do not exist; as root, the tables do not: each with its remedy."""
    done = run("check", **accounts(either))
    assert done.returncode == CONFIGURATION
    assert "Access denied" in done.stderr
    root = accounts(either)["ROWCAST_MYSQL_ADMIN_URL"] + "mysql"
    done = run("check", ROWCAST_MYSQL_URL=root, ROWCAST_GATEWAY_PORT="0", ROWCAST_API_PORT="0")
    assert done.returncode == CONFIGURATION
    assert "FAIL  table mysql.cctv_detection_results: does not exist\n          create it" in done.stdout


def test_a_bad_demo_url_is_told(run, mariadb):
    """The demo's account is no setting, but its mistakes are told the same way."""
    url = f"{mariadb.root_url}x"
    done = run("migrate", ROWCAST_MYSQL_URL=url, ROWCAST_DEMO_MYSQL_URL="http://x")
    assert done.returncode == CONFIGURATION
    assert "ROWCAST_DEMO_MYSQL_URL: must begin with mysql://" in done.stderr


async def test_journal_info(run, tmp_path):
    """Path, epoch and each channel's bounds are printed, also while another process has the journal."""
    path = tmp_path / "journal.db"
    missing = run("journal", "info")
    assert missing.returncode == CONFIGURATION
    journal = await SqliteJournal.open(path, ["c"])
    try:
        done = run("journal", "info", "--set", f"journal.path={path}")
    finally:
        await journal.close()
    assert done.returncode == 0, done.stderr
    assert f"epoch       {journal.epoch}\n" in done.stdout
    assert "channel     c: floor 1, head 0, 0 bytes\n" in done.stdout


def test_health(run, free_port):
    """A URL that nobody answers ends with 69 and one line."""
    done = run("health", f"http://127.0.0.1:{free_port}/", "--timeout", "1")
    assert done.returncode == UNREACHABLE
    assert done.stderr.startswith(f"rowcast: http://127.0.0.1:{free_port}/: ")


@pytest.mark.parametrize("url", ["foo", "ftp://127.0.0.1/", "http://[::1/"])
def test_health_of_what_is_no_url_is_wrong_usage(run, url):
    """It ends with 2: nobody was asked, so nobody is said to be away."""
    done = run("health", url)
    assert done.returncode == 2
    assert "http, https, ws or wss" in done.stderr


@pytest.fixture
async def product(mariadb, tmp_path) -> AsyncIterator[Product]:
    """A running server over a database of its own."""
    product = Product(mariadb, tmp_path)
    product.migrate()
    product.start()
    await product.ready()
    yield product
    product.kill()


async def test_tail_ends_quietly_with_its_reader(product):
    """Events are printed as lines; `| head -1` ends it without a word."""
    insert = "INSERT INTO scraped_result (account, data, url) VALUES "
    product.sql(f"{insert} ('a', '1', 'u'), ('b', '2', 'u')")
    tail = spawn(
        [sys.executable, "-m", "rowcast", "tail", "scraped_updates", "--last", "2"],
        environment=product.environment,
        output=subprocess.PIPE,
    )
    try:
        assert tail.stdout is not None
        first = await asyncio.wait_for(asyncio.to_thread(tail.stdout.readline), 20)
        assert json.loads(first)["message"]["account"] == "a"
        tail.stdout.close()
        product.sql(f"{insert} ('c', '3', 'u')")
        assert await asyncio.to_thread(tail.wait, 20) == 0
    finally:
        if tail.poll() is None:
            strike(tail)
            tail.wait()


async def test_health_and_check_beside_a_running_server(product):
    """Both ports are found well, as HTTP and as WebSocket, and taken by nobody else."""
    for url in (f"{product.api}/readyz", product.gateway, product.gateway.replace("ws", "http") + "readyz"):
        assert product.run("health", url).returncode == 0
    done = product.run("check")
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("is served by a running Rowcast") == 2


def test_an_internal_error_names_the_place_of_its_details(monkeypatch, capsys):
    """An error that nobody foresaw is one line; the traceback is in the file that it names, or in the log."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("rowcast.health.ask", broken)
    monkeypatch.setattr(logging.root, "handlers", [])
    with pytest.raises(SystemExit) as left:
        main(["health", "http://x"])
    assert left.value.code == INTERNAL
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("rowcast: internal error: ZeroDivisionError; details in ")
    report = Path(line.rpartition(" ")[2])
    assert "Traceback" in report.read_text()
    report.unlink()
    monkeypatch.setattr(logging.root, "handlers", [logging.NullHandler()])
    with pytest.raises(SystemExit):
        main(["health", "http://x"])
    assert capsys.readouterr().err.endswith("details in the log above\n")


def test_migrate_waits_for_a_database_that_starts(make_server, tmp_path):
    """With --wait it goes on trying, and does its work once the server answers."""
    server = make_server()
    server.stop()
    url = server.url("root", server.root_password, "rowcast_waited")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "ROWCAST_MYSQL_URL": url}
    command = [sys.executable, "-m", "rowcast", "migrate", "--wait", "60"]
    waiting = subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    server.start()
    said, _ = waiting.communicate(timeout=60)
    assert waiting.returncode == 0
    assert "database rowcast_waited created" in said
