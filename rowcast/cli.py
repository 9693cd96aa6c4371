"""The command line. Each command reads the settings, hands them to the room that does the work, and prints."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import tempfile
import time
import tomllib
import traceback
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from rowcast.errors import CONFIGURATION, INTERNAL, UNREACHABLE, Failure
from rowcast.loading import Loaded, load
from rowcast.mysql_url import MysqlUrl

INTERRUPTED = 130  # as a shell says it of SIGINT
_MARKS = {"ok": ("ok  ", "green"), "warn": ("warn", "yellow"), "fail": ("FAIL", "red")}

Command = Callable[..., Any]
T = TypeVar("T")


def with_settings(command: Command) -> Command:
    """The options that every command with settings has."""
    flag = click.option(
        "--set", "flags", multiple=True, metavar="KEY=VALUE", help="Set one setting; wins over file and environment."
    )
    file = click.option(
        "--config", type=click.Path(path_type=Path), metavar="FILE", help="Settings file; default ./rowcast.toml."
    )
    return file(flag(command))


def read(config: Path | None, flags: Sequence[str], *needs: str) -> Loaded:
    """The settings of this process."""
    return load(config, os.environ, flags, needs)


def _version() -> str:
    try:
        return version("rowcast")
    except PackageNotFoundError:  # run from the sources, as in ./dev and in the container
        project = Path(__file__).parents[1] / "pyproject.toml"
        return str(tomllib.loads(project.read_text("utf-8"))["project"]["version"])


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(_version(), prog_name="rowcast")
def cli() -> None:
    """Every row inserted into MySQL or MariaDB, live in every open browser.

    Exit codes: 0 done, 1 internal error, 2 usage, 69 something needed cannot be reached, 75 try again later,
    78 configuration.
    """


@cli.command()
@with_settings
@click.option("--no-api", is_flag=True, help="Leave out the HTTP API: `rowcast api` serves it elsewhere.")
def serve(config: Path | None, flags: tuple[str, ...], *, no_api: bool) -> None:
    """Follow the database's log and serve it over WebSocket, with the HTTP API beside it."""
    from rowcast import log, serve

    settings = read(config, flags, "mysql.url").settings
    log.set_up(settings)
    serve.run(settings, api=not no_api)


@cli.command()
@with_settings
def api(config: Path | None, flags: tuple[str, ...]) -> None:
    """Serve the HTTP API alone, beside a `rowcast serve --no-api` that owns the journal."""
    from rowcast import api_alone, log

    settings = read(config, flags, "api.mysql_url").settings
    log.set_up(settings)
    api_alone.run(settings)


@cli.command()
@with_settings
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="SECONDS",
    help="How long to wait for a database that is out of reach.",
)
def migrate(config: Path | None, flags: tuple[str, ...], wait: float) -> None:
    """Create database, tables and accounts. Safe to repeat."""
    from rowcast.migrate import migrate

    settings = read(config, flags, "mysql.url").settings
    for line in _patiently(lambda: migrate(settings, _demo_url()), wait):
        click.echo(line)


@cli.command()
@with_settings
def check(config: Path | None, flags: tuple[str, ...]) -> None:
    """Look at everything a row needs on its way, and say how to mend what is wrong."""
    from rowcast.check import check

    levels = []
    for finding in check(read(config, flags, "mysql.url").settings):
        levels.append(finding.level)
        mark, colour = _MARKS[finding.level]
        click.echo(f"{click.style(mark, fg=colour)}  {finding.subject}: {finding.text}")
        for line in finding.mend.splitlines():
            click.echo(f"          {line}")
    click.echo(f"{levels.count('ok')} ok, {levels.count('warn')} to look at, {levels.count('fail')} to mend")
    sys.exit(CONFIGURATION if "fail" in levels else 0)


@cli.command()
@click.argument("channel")
@click.option("--last", type=click.IntRange(0, 10_000), default=0, help="Begin with the newest N events.")
@click.option("--url", help="The gateway's address; default: the one in the settings, on this machine.")
@with_settings
def tail(config: Path | None, flags: tuple[str, ...], channel: str, last: int, url: str | None) -> None:
    """Print each event of CHANNEL as a line of JSON, and go on for ever.

    After a lost connection it goes on where it was. Gaps and the state of the source go to standard error.
    """
    from rowcast.check import local
    from rowcast.tail import Tail

    if url is None:
        gateway = read(config, flags).settings.gateway
        url = f"ws://{local(gateway.host)}:{gateway.port}/"
    follower = Tail(url, channel, last, click.echo, lambda text: click.echo(f"rowcast: {text}", err=True))
    try:
        asyncio.run(follower.run())
    except BrokenPipeError:  # `rowcast tail … | head`: what is left in the buffer goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@cli.command()
@with_settings
@click.option("--table", is_flag=True, help="Print a Markdown table of all settings instead.")
def config(config: Path | None, flags: tuple[str, ...], *, table: bool) -> None:
    """Print the settings in force and where each comes from; secrets are masked."""
    from rowcast import show

    if table:
        click.echo(show.table())
        return
    for line in show.effective(read(config, flags)):
        click.echo(line)


@cli.command()
@click.argument("url")
@click.option("--timeout", type=click.FloatRange(min=0.1), default=3.0, show_default=True, help="Seconds.")
def health(url: str, timeout: float) -> None:
    """Ask URL (http, https, ws or wss) once: exit 0 when it answers well, 69 when not."""
    from rowcast.health import ask, understood

    if not understood(url):
        raise click.BadParameter("expected an http, https, ws or wss URL", param_hint="URL")
    if (reason := ask(url, timeout)) is not None:
        raise Failure(f"{url}: {reason}", exit_code=UNREACHABLE)


@cli.group()
def journal() -> None:
    """Look into the journal."""


@journal.command()
@with_settings
def info(config: Path | None, flags: tuple[str, ...]) -> None:
    """Print the journal's path, epoch and checkpoint, and each channel's bounds; also beside a running server."""
    from journal.errors import JournalError
    from journal.reader import describe

    path = read(config, flags).settings.journal.path
    try:
        found = describe(path)
    except JournalError as error:
        raise Failure(f"journal.path: {error}", error.hint, CONFIGURATION) from error
    click.echo(f"path        {found.path}  ({found.file_bytes} bytes)")
    click.echo(f"epoch       {found.epoch}")
    click.echo(f"checkpoint  {found.checkpoint or 'none yet'}")
    for name, state in found.channels.items():
        click.echo(f"channel     {name}: floor {state.floor}, head {state.head}, {state.bytes} bytes")


@cli.group()
def debug() -> None:
    """Look at the inside."""


@debug.command()
@click.argument("table")
@click.option("--files", type=click.IntRange(1), default=4, show_default=True, help="Files of the log to look through.")
@with_settings
def decoder(config: Path | None, flags: tuple[str, ...], table: str, files: int) -> None:
    """Print the Python that decodes the rows of TABLE, as its newest rows in the log are.

    TABLE may be `schema.table`; alone it is in the database of mysql.url.
    """
    from rowcast import debug

    settings = read(config, flags, "mysql.url").settings
    for text in debug.decoder(settings, table, files, lambda text: click.echo(f"rowcast: {text}", err=True)):
        click.echo(text)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and leave with its exit code: no error reaches the user as a traceback."""
    try:
        cli.main(arguments, prog_name="rowcast", standalone_mode=False)
        code = 0
    except Failure as failure:
        click.echo(f"rowcast: {failure}", err=True)
        code = failure.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last resort: the traceback goes into a file
        click.echo(f"rowcast: internal error: {type(error).__name__}; details in {_report()}", err=True)
        code = INTERNAL
    sys.exit(code)


def _report() -> str:
    """Put the traceback where the person who is asked for it finds it; the answer is the place."""
    if logging.root.handlers:
        logging.getLogger("rowcast").critical("internal error", exc_info=True)
        return "the log above"
    with tempfile.NamedTemporaryFile("w", prefix="rowcast-", suffix=".log", delete=False) as file:
        traceback.print_exc(file=file)
    return file.name


def _patiently(work: Callable[[], T], seconds: float) -> T:
    """Do the work, again each second for so long while something that it needs is out of reach."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return work()
        except Failure as failure:
            if failure.exit_code != UNREACHABLE or time.monotonic() >= deadline:
                raise
            time.sleep(min(1.0, max(0.0, deadline - time.monotonic())))


def _demo_url() -> MysqlUrl | None:
    """The account of the demo writer, which is no setting: ./dev and compose give it to `migrate` and to the demo."""
    name = "ROWCAST_DEMO_MYSQL_URL"
    if not (text := os.environ.get(name)):
        return None
    try:
        return MysqlUrl.parse(text)
    except ValueError as error:
        raise Failure(f"{name}: {error}", exit_code=CONFIGURATION) from error
