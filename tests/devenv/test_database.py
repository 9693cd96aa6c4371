from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from devenv.children import command_line
from devenv.database import Server
from devenv.errors import ChildDied
from devenv.installation import Installation
from tests.conftest import MakeServer

ROOT = Path(__file__).resolve().parents[2]

# A program that starts a server, says its process id, and waits to be killed.
PARENT = """
import sys, time
from pathlib import Path
from devenv.database import Server, find_or_fetch
server = Server(find_or_fetch(Path(sys.argv[1]), "mariadb"), Path(sys.argv[2]))
server.start()
print(server.process.pid, flush=True)
time.sleep(600)
"""


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "still not so"
        time.sleep(0.02)


def test_answers_as_root_over_tcp(either: Server) -> None:
    """root_url is the address of an account that may do everything, over TCP."""
    pymysql = pytest.importorskip("pymysql")
    account = {"user": "root", "password": either.root_password}
    with (
        pymysql.connect(host="127.0.0.1", port=either.port, **account) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT 1 FROM mysql.user LIMIT 1")
        assert cursor.fetchall() == ((1,),)
    assert either.root_url == f"mysql://root:{either.root_password}@127.0.0.1:{either.port}/"


def test_sql_returns_rows_and_raises_the_servers_message(either: Server) -> None:
    """Rows come as tab-separated lines; an error as an exception that carries the server's words."""
    assert either.sql("SELECT 1, 'ü'; SELECT NULL") == "1\tü\nNULL"
    with pytest.raises(RuntimeError, match="nonsense"):
        either.sql("nonsense")


def test_has_no_account_without_a_password(either: Server) -> None:
    """Nobody on this machine gets in without the password that was made for this server."""
    wrong = either.client_environment() | {"MYSQL_PWD": ""}
    done = subprocess.run(either.client("-e", "SELECT 1"), env=wrong, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "Access denied" in done.stderr


def test_set_up_leaves_no_transaction_in_the_binlog(make_server: MakeServer) -> None:
    """A new server's first transaction is its user's: accounts are made without being logged."""
    server = make_server("mariadb")
    assert server.sql("SELECT @@gtid_binlog_pos") == ""


def test_keeps_rows_port_and_password_through_kill_and_restart(make_server: MakeServer) -> None:
    """After kill -9 and after a restart in order, what was committed is there under the same address."""
    server = make_server("mariadb")
    url = server.root_url
    server.sql("CREATE DATABASE d; CREATE TABLE d.t (a INT); INSERT INTO d.t VALUES (1)")
    server.kill()
    assert not server.running
    server.start()
    server.sql("INSERT INTO d.t VALUES (2)")
    server.restart()
    assert server.sql("SELECT a FROM d.t ORDER BY a") == "1\n2"
    assert server.root_url == url


def test_does_not_survive_a_killed_parent(mariadb_installation: Installation, dev_dir: Path, tmp_path: Path) -> None:
    """The server ends with the process that started it, also after kill -9; its data can be used again."""
    if sys.platform != "linux":
        pytest.skip("only Linux ends children with their parent; elsewhere the next start does")
    command = [sys.executable, "-c", PARENT, str(dev_dir), str(tmp_path / "db")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        assert "mariadbd" in command_line(pid)
        parent.kill()
    wait_until(lambda: str(tmp_path / "db") not in command_line(pid))
    with Server(mariadb_installation, tmp_path / "db") as server:
        assert server.sql("SELECT 1") == "1"


def test_start_ends_a_stray_of_the_same_folder(make_server: MakeServer) -> None:
    """A server left over by an earlier run is ended before the folder is used again."""
    stray = make_server("mariadb")
    again = Server(stray.installation, stray.datadir)
    again.start()
    wait_until(lambda: not stray.running)
    assert again.sql("SELECT @@port") == str(again.port)
    again.stop()


def test_a_foreign_process_of_the_noted_id_is_left_alone(make_server: MakeServer) -> None:
    """An old note of a process id, given to somebody else since, ends nobody."""
    server = make_server("mariadb")
    server.stop()
    (server.datadir / "started.pid").write_text(str(os.getppid()))
    server.start()
    assert command_line(os.getppid())


def test_a_long_path_gets_a_short_socket(mariadb_installation: Installation, tmp_path: Path) -> None:
    """Unix sockets allow 107 characters: beyond that the socket moves to a private short folder, removed at stop."""
    with Server(mariadb_installation, tmp_path / ("long" * 30)) as server:
        folder = server.socket.parent
        assert len(str(server.socket)) < 107
        assert folder.stat().st_mode & 0o077 == 0
        assert server.sql("SELECT 1") == "1"
    assert not folder.exists()


def test_says_why_it_did_not_start(mariadb_installation: Installation, tmp_path: Path) -> None:
    """A server that ends while starting raises its own error lines."""
    server = Server(mariadb_installation, tmp_path / "db", extra=["--no-such-option"])
    with pytest.raises(ChildDied, match="no-such-option"):
        server.start()
    assert not server.running


def test_a_port_in_use_is_named(mariadb: Server, mariadb_installation: Installation, tmp_path: Path) -> None:
    """Starting on a port that somebody has ends with an error that names it, not with their server's answers."""
    with pytest.raises(ChildDied, match=str(mariadb.port)):
        Server(mariadb_installation, tmp_path / "db", mariadb.port).start()
