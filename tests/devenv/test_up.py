"""./dev itself, as one types it, in a dev folder of the test's own."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from devenv import settings, venv
from devenv.children import command_line
from devenv.installation import Installation
from devenv.ports import free_ports, is_free

ROOT = Path(__file__).resolve().parents[2]
PYTHON = "ROWCAST_DEV_PYTHON"
PORTS = ("ROWCAST_DEV_MYSQL_PORT", "ROWCAST_GATEWAY_PORT", "ROWCAST_API_PORT", "ROWCAST_DEMO_PORT")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds processes by /proc")


class Dev:
    """Runs ./dev with a folder and ports of its own; ``ports`` are named by their variable."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ROWCAST_") or name == PYTHON}
        numbers = {variable: str(port) for variable, port in self.ports.items()}
        self.environment = kept | numbers | {"ROWCAST_DEV_DIR": str(folder)}
        self.printed: list[str] = []
        self._reader = threading.Thread(target=lambda: None)

    def run(self, *arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        """A command that ends by itself."""
        return subprocess.run(
            [sys.executable, "dev", *arguments],
            cwd=ROOT,
            env=self.environment | environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def up(self, *arguments: str) -> subprocess.Popen[str]:
        """``./dev up``, once it has said that it is up."""
        self.printed.clear()
        process = subprocess.Popen(
            [sys.executable, "dev", "up", *arguments],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout
        self._reader = threading.Thread(target=self._read, args=[process.stdout])
        self._reader.start()
        wait_until(lambda: "Rowcast is up" in self.said() or process.poll() is not None, 90)
        assert process.poll() is None, self.said()
        return process

    def _read(self, output: IO[str]) -> None:
        with output:
            self.printed.extend(output)

    def said(self) -> str:
        """What ``up`` printed so far."""
        return "".join(self.printed)

    def pid(self, name: str) -> int:
        """The process id of one of up's programs."""
        return int((self.folder / "run" / f"{name}.pid").read_text())

    def processes(self) -> list[str]:
        """The command lines of everything that runs on this dev folder."""
        pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
        return [line for line in map(command_line, pids) if f"{self.folder}/" in line]

    def leaves_nothing(self, process: subprocess.Popen[str]) -> int:
        """Waits for the end of ``up``; its exit code. No process and no taken port may be left."""
        code = process.wait(60)
        self._reader.join(30)
        wait_until(lambda: not self.processes())
        wait_until(lambda: all(map(is_free, self.ports.values())))  # a dying process loses its name before its ports
        return code


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "still not so"
        time.sleep(0.02)


@pytest.fixture
def dev(dev_dir: Path, mariadb_installation: Installation, tmp_path: Path) -> Iterator[Dev]:
    """A new dev folder whose programs and packages are those that are already there."""
    real = settings.read({"ROWCAST_DEV_DIR": str(dev_dir)})
    venv.prepare(real, venv.RUNTIME)
    folder = tmp_path / "dev"
    folder.mkdir()
    (folder / "venv").symlink_to(real.venv)
    if mariadb_installation.root:
        (folder / "mariadb").symlink_to(dev_dir / "mariadb")
    own = Dev(folder)
    yield own
    own.run("down")


def status(port: int, path: str = "/") -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def test_up_serves_the_page_and_sql_reaches_the_database(dev: Dev) -> None:
    """Once it says so, the page answers and ./dev sql and ./dev rowcast talk to the same database."""
    process = dev.up()
    assert status(dev.ports["ROWCAST_API_PORT"]) == 200
    assert status(dev.ports["ROWCAST_API_PORT"], "/readyz") == 200
    assert dev.run("sql", "-Ne", "SELECT DATABASE(), @@port").stdout == f"rowcast\t{dev.ports[PORTS[0]]}\n"
    assert dev.run("sql", "-N", stdin="SELECT 'ü'").stdout == "ü\n"
    checked = dev.run("rowcast", "check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    process.send_signal(signal.SIGINT)
    assert dev.leaves_nothing(process) == 0


def test_data_outlives_up_and_the_passwords_are_ours_alone(dev: Dev) -> None:
    """Rows are there again after down and up; nobody else may read the passwords."""
    process = dev.up("--no-demo")
    dev.run("sql", "-e", "CREATE TABLE kept (a INT); INSERT INTO kept VALUES (7)")
    assert dev.run("down").returncode == 0
    assert dev.leaves_nothing(process) == 0
    again = dev.up("--no-demo")
    assert dev.run("sql", "-Ne", "SELECT a FROM kept").stdout == "7\n"
    assert (dev.folder / "data" / "passwords.json").stat().st_mode & 0o077 == 0
    again.send_signal(signal.SIGTERM)
    assert dev.leaves_nothing(again) == 0


def test_kill_9_leaves_nothing_behind(dev: Dev) -> None:
    """Nobody outlives ./dev up, however it ends, and the next one starts."""
    process = dev.up()
    process.kill()
    assert dev.leaves_nothing(process) == -signal.SIGKILL
    again = dev.up("--no-demo")
    again.send_signal(signal.SIGINT)
    assert dev.leaves_nothing(again) == 0


def test_a_second_signal_ends_what_does_not_stop(dev: Dev) -> None:
    """With a server that hangs, the first Ctrl-C waits for it and the second does not."""
    process = dev.up("--no-demo")
    os.kill(dev.pid("serve"), signal.SIGSTOP)
    process.send_signal(signal.SIGINT)
    wait_until(lambda: "stopping serve" in dev.said())
    process.send_signal(signal.SIGINT)
    started = time.monotonic()
    assert dev.leaves_nothing(process) == 0
    assert time.monotonic() - started < 15  # the patience with serve is 20 s


@pytest.mark.parametrize("name", ["serve", "demo"])
def test_the_death_of_one_ends_all(dev: Dev, name: str) -> None:
    """A program that dies by itself is named, and the others are stopped."""
    process = dev.up()
    os.kill(dev.pid(name), signal.SIGKILL)
    assert dev.leaves_nothing(process) == 1
    assert f"{name} was killed by signal 9" in dev.said()


def test_the_death_of_the_database_ends_all(dev: Dev) -> None:
    """The same for the server, which is told by its own note."""
    process = dev.up("--no-demo")
    note = next(dev.folder.glob("data/*/started.pid"))
    os.kill(int(note.read_text()), signal.SIGKILL)
    assert dev.leaves_nothing(process) == 1
    assert "database was killed by signal 9" in dev.said()


def test_one_up_for_each_folder_and_no_reset_meanwhile(dev: Dev) -> None:
    """A second up and a reset are refused with what to type; afterwards reset removes the data, and says so."""
    process = dev.up("--no-demo")
    for command in ("up", "reset"):
        refused = dev.run(command)
        assert refused.returncode == 75
        assert f"already running in {dev.folder} (process {process.pid})" in refused.stderr
        assert "./dev down" in refused.stderr
    process.send_signal(signal.SIGINT)
    assert dev.leaves_nothing(process) == 0
    removed = dev.run("reset")
    assert removed.returncode == 0
    assert f"{dev.folder}/journal.db" in removed.stdout
    assert not (dev.folder / "data").exists()
    assert dev.run("reset").stdout == "dev: there was nothing to remove\n"


def test_a_taken_port_is_named_with_its_variable(dev: Dev) -> None:
    """One message tells the port and what to set, before anything is started."""
    import socket

    for variable, port in dev.ports.items():
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", port))
            taken.listen()
            refused = dev.run("up")
        assert refused.returncode == 69
        assert f"port {port} is in use" in refused.stderr
        assert f"{variable}=" in refused.stderr
    assert not (dev.folder / "data").exists()


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"ROWCAST_API_PORT": "eighty"}, "ROWCAST_API_PORT=eighty is no port number"),
        ({"ROWCAST_API_PORT": "8080", "ROWCAST_GATEWAY_PORT": "8080"}, "are both 8080"),
        ({"MARIADBD": "/bin/true"}, "MARIADBD=/bin/true is no mariadb server"),
    ],
)
def test_a_wrong_variable_is_named(dev: Dev, variables: dict[str, str], said: str) -> None:
    """A variable that cannot be used ends up with exit code 78."""
    refused = dev.run("up", **variables)
    assert refused.returncode == 78
    assert said in refused.stderr


def test_sql_without_a_running_server_says_what_to_type(dev: Dev) -> None:
    """One message, no client's riddle about sockets."""
    refused = dev.run("sql", "-e", "SELECT 1")
    assert refused.returncode == 69
    assert "./dev up" in refused.stderr


def test_down_has_nothing_to_do(dev: Dev) -> None:
    """Stopping what does not run is no error."""
    assert dev.run("down").stdout == "dev: nothing was running\n"


def test_a_database_of_ones_own_is_used_instead(dev: Dev, mariadb_installation: Installation, tmp_path: Path) -> None:
    """With ROWCAST_MYSQL_URL set no private server is started, and nobody invents rows in it."""
    from devenv.database import Server

    with Server(mariadb_installation, tmp_path / "own") as server:
        dev.environment["ROWCAST_MYSQL_URL"] = server.root_url + "rowcast"
        process = dev.up()
        assert status(dev.ports["ROWCAST_API_PORT"], "/readyz") == 200
        assert not (dev.folder / "data").exists()
        assert not (dev.folder / "run" / "demo.pid").exists()
        process.send_signal(signal.SIGINT)
        assert dev.leaves_nothing(process) == 0
        assert server.sql("SELECT COUNT(*) FROM rowcast.cctv_detection_results") == "0"
