"""``./dev up`` and its opposites: the whole of Rowcast on this machine, with nothing left behind when it ends."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from devenv.children import command_line
from devenv.crew import Crew, Stopped, end_strays
from devenv.database import Server, end_stray_server, find_or_fetch_any
from devenv.errors import Busy, Misconfigured, Unavailable
from devenv.ports import LOOPBACK, is_free
from devenv.settings import DEMO, READER, WRITER, DevSettings
from devenv.venv import RUNTIME, python, shown

DATABASE = "rowcast"
_READY_SECONDS = 60
_DOWN_SECONDS = 60


def up(dev: DevSettings, *, demo: bool) -> int:
    """Set up what is missing, run everything, and return once it was told to stop.

    Raises ``SetUpError`` with the message to show.
    """
    demo = demo and (dev.mysql_url is None or "ROWCAST_DEMO_MYSQL_URL" in os.environ)
    with alone(dev):
        _end_strays(dev)
        _check_ports(dev, demo=demo)
        try:
            with Crew(dev.logs, dev.dev_dir / "run") as crew:
                _start(dev, crew, demo=demo)
                while True:
                    crew.watch()
                    time.sleep(0.2)
        except Stopped:
            return os.EX_OK


def _start(dev: DevSettings, crew: Crew, *, demo: bool) -> None:
    # its own process: it runs while the database is found, fetched and started here
    venv = [sys.executable, "-m", "devenv.venv", RUNTIME.name]
    crew.start("venv", venv, dev.environment(), patience=1, quiet=False)
    environment = _settings(dev)
    if dev.mysql_url is None:
        server = _server(dev)
        crew.start_server(server)
        print(f"dev: the database answers on {LOOPBACK}:{server.port}", flush=True)
        environment |= _accounts(dev, server)
    crew.finish("venv", said=True)
    crew.start("migrate", [str(dev.venv / "bin" / "rowcast"), "migrate"], environment, patience=5)
    crew.finish("migrate")
    environment.pop("ROWCAST_MYSQL_ADMIN_URL", None)  # serving needs no such rights
    crew.start("serve", [str(dev.venv / "bin" / "rowcast"), "serve"], environment, patience=20)
    if demo:
        crew.start("demo", [str(python(dev.venv)), "-m", "demo"], environment, patience=5)
    _wait_until_ready(dev, crew)
    print(_welcome(dev, demo=demo), flush=True)


def _server(dev: DevSettings) -> Server:
    installation = find_or_fetch_any(dev.dev_dir)
    return Server(installation, dev.data / installation.flavour, dev.mysql_port)


def _settings(dev: DevSettings) -> dict[str, str]:
    return dev.environment() | {"ROWCAST_JOURNAL_PATH": str(dev.journal), **_addresses(dev)}


def _addresses(dev: DevSettings) -> dict[str, str]:
    return {
        "ROWCAST_GATEWAY_PORT": str(dev.gateway_port),
        "ROWCAST_API_PORT": str(dev.api_port),
        "ROWCAST_DEMO_PORT": str(dev.demo_port),
    }


def _accounts(dev: DevSettings, server: Server) -> dict[str, str]:
    """Who may do what in the private server; ``rowcast migrate`` makes the accounts from these."""
    urls = {name: server.url(name, dev.password(name), DATABASE) for name in (READER, WRITER, DEMO)}
    return {
        "ROWCAST_MYSQL_ADMIN_URL": server.root_url + DATABASE,
        "ROWCAST_MYSQL_URL": urls[READER],
        "ROWCAST_API_MYSQL_URL": urls[WRITER],
        "ROWCAST_DEMO_MYSQL_URL": urls[DEMO],
    }


def _wait_until_ready(dev: DevSettings, crew: Crew) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while (reason := _not_ready(dev.api_port)) is not None:
        crew.watch()
        if time.monotonic() > deadline:
            log = shown(dev.logs / "serve.log")
            raise Unavailable(f"not ready after {_READY_SECONDS} s: {reason}", f"  {log} says more")
        time.sleep(0.05)


def _not_ready(port: int) -> str | None:
    """Why ``/readyz`` does not answer 200 yet; None when it does."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return str(error)
    finally:
        connection.close()
    return None if answer.status == http.client.OK else text


def _welcome(dev: DevSettings, *, demo: bool) -> str:
    lines = [
        "",
        "  Rowcast is up. Ctrl-C stops everything.",
        "",
        f"  live page   http://{LOOPBACK}:{dev.api_port}/",
        f"  WebSocket   ws://{LOOPBACK}:{dev.gateway_port}/",
    ]
    if dev.mysql_url is None:
        lines.append(f"  database    {LOOPBACK}:{dev.mysql_port}, at a prompt: ./dev sql")
    if demo:
        lines.append("  demo        made-up cameras insert rows by plain SQL; ./dev up --no-demo goes without")
    return "\n".join([*lines, f"  logs        {shown(dev.logs)}/", ""])


def _check_ports(dev: DevSettings, *, demo: bool) -> None:
    ports = {"ROWCAST_GATEWAY_PORT": dev.gateway_port, "ROWCAST_API_PORT": dev.api_port}
    if dev.mysql_url is None:
        ports["ROWCAST_DEV_MYSQL_PORT"] = dev.mysql_port
    if demo:
        ports["ROWCAST_DEMO_PORT"] = dev.demo_port
    for variable, port in ports.items():
        others = [other for other in ports if other != variable and ports[other] == port]
        if others:
            raise Misconfigured(f"{variable} and {others[0]} are both {port}")
        if not is_free(port):
            raise Unavailable(f"port {port} is in use", f"  {variable}=PORT ./dev up      takes another one")


# -- one at a time ----------------------------------------------------------------------------------------------------


@contextmanager
def alone(dev: DevSettings) -> Iterator[None]:
    """Hold the dev folder; the kernel lets go of it however we end. Raises ``Busy`` when somebody else does."""
    dev.dev_dir.mkdir(parents=True, exist_ok=True)
    with (dev.dev_dir / "up.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(
                f"./dev up is already running in {shown(dev.dev_dir)} (process {_holder(dev)})",
                "  ./dev down      stops it\n  ROWCAST_DEV_DIR=.dev2 and other ports run a second one",
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _holder(dev: DevSettings) -> int | None:
    """The process that runs ``up`` here. None while it has not yet written its number, or is gone."""
    pid = int((dev.dev_dir / "up.lock").read_text() or 0)
    return pid if pid and "dev" in command_line(pid) else None


def _end_strays(dev: DevSettings) -> list[str]:
    ended = end_strays(dev.dev_dir / "run", str(dev.venv))
    for datadir in dev.data.glob("*/"):
        if end_stray_server(datadir):
            ended.append("database")
    return ended


def down(dev: DevSettings) -> None:
    """Stop a running ``up`` of this dev folder, and whatever a killed one left behind."""
    try:
        with alone(dev):
            ended = _end_strays(dev)
    except Busy:
        _stop(dev)
        ended = ["./dev up"]
    print(f"dev: stopped {', '.join(ended)}" if ended else "dev: nothing was running")


def _stop(dev: DevSettings) -> None:
    deadline = time.monotonic() + _DOWN_SECONDS
    told: int | None = None
    while True:
        try:
            with alone(dev):
                _end_strays(dev)
                return
        except Busy:
            pid = _holder(dev)
            late = time.monotonic() > deadline
            if pid is not None and (late or pid != told):  # twice would mean now
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
                told = pid
            time.sleep(0.1)


def reset(dev: DevSettings) -> None:
    """Remove the private server's data, the journal and the logs; programs and packages stay."""
    with alone(dev):
        _end_strays(dev)
        removed = []
        for path in [dev.data, *sorted(dev.dev_dir.glob("journal.db*")), dev.logs, dev.dev_dir / "test"]:
            if path.is_dir():
                shutil.rmtree(path)
            elif path.exists():
                path.unlink()
            else:
                continue
            removed.append(shown(path))
    print(f"dev: removed {', '.join(removed)}" if removed else "dev: there was nothing to remove")


# -- beside it --------------------------------------------------------------------------------------------------------


def sql(dev: DevSettings, arguments: list[str]) -> int:
    """Become the client program, as root in the database ``rowcast`` of the running private server."""
    if dev.mysql_url is not None:
        raise Unavailable("ROWCAST_MYSQL_URL is set: use your own client with that database")
    server = _server(dev)
    if not server.answers:
        raise Unavailable("the private database is not running", "  ./dev up")
    command = server.client(f"--database={DATABASE}", *arguments)
    os.execve(command[0], command, server.client_environment())  # noqa: S606 - an argument list, no shell


def rowcast(dev: DevSettings, arguments: list[str]) -> int:
    """Become the command ``rowcast`` with the settings that ``up`` gives to ``rowcast serve``."""
    program = dev.venv / "bin" / "rowcast"
    if not program.exists():
        raise Unavailable("nothing is set up here yet", "  ./dev up")
    environment = _settings(dev)
    if dev.mysql_url is None:
        environment |= _accounts(dev, _server(dev))
        environment.pop("ROWCAST_MYSQL_ADMIN_URL")
    os.execve(program, [str(program), *arguments], environment)  # noqa: S606 - an argument list, no shell
