"""A private database server: its own folder, port and socket, on the loopback interface only.

The same for ./dev and for the tests. Programs come from ``devenv.installation``, the configuration is the project's
``my.cnf``.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from devenv.children import end, end_stray, spawn, strike
from devenv.errors import ChildDied, Unavailable
from devenv.installation import Installation, find_or_fetch, find_or_fetch_any
from devenv.ports import LOOPBACK, free_port

__all__ = ["MY_CNF", "Server", "end_stray_server", "find_or_fetch", "find_or_fetch_any"]

MY_CNF = Path(__file__).resolve().parent.parent / "my.cnf"

_NOTE = "started.pid"  # beside the server's own, which it writes late and removes early
_START_SECONDS = 60
_STOP_SECONDS = 30
_SOCKET_LIMIT = 100  # the kernel's is 107 characters


class Server:
    """One server over ``datadir``, which is created when it is not there.

    ``port`` None takes a free one, which then stays the same through restarts. ``extra`` are further options, such
    as ``--gtid-domain-id=3``; they win over ``my.cnf``. The account ``root`` gets a random password of its own, so
    ``root_url`` works over TCP. Usable as a context manager.
    """

    def __init__(
        self, installation: Installation, datadir: Path, port: int | None = None, extra: Sequence[str] = ()
    ) -> None:
        self.installation = installation
        self.datadir = datadir.resolve()
        self.port = port or free_port()
        self.extra = tuple(extra)
        self.process: subprocess.Popen[bytes] | None = None  # of the last start

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- life ---------------------------------------------------------------------------------------------------------

    def initialise(self) -> None:
        """Make an empty data folder, unless there is one; it gets its name only when it is whole."""
        if self.datadir.exists():
            return
        new = self.datadir.with_name(self.datadir.name + ".new")
        shutil.rmtree(new, ignore_errors=True)
        new.parent.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            self._initialise_command(new),
            env=self.installation.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            shutil.rmtree(new, ignore_errors=True)
            last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
            raise ChildDied(f"the database could not be initialised:\n{last}")
        password = new / "root.password"
        password.touch(mode=0o600)
        password.write_text(secrets.token_urlsafe(18))
        new.rename(self.datadir)

    def start(self) -> None:
        """Initialise when needed, start, and return once the server answers on its port.

        Raises ``ChildDied`` with the end of its error log when it ends before that.
        """
        if self.running:
            return
        end_stray_server(self.datadir)
        self.initialise()
        self.socket.parent.mkdir(mode=0o700, exist_ok=True)
        if self.socket.parent.stat().st_uid != os.geteuid():
            raise Unavailable(f"{self.socket.parent} belongs to somebody else")
        self._init_file.touch(mode=0o600)
        self._init_file.write_text(self._root_account())
        with self._log.open("ab") as log:
            self.process = spawn(self._command(), environment=self.installation.environment(), output=log)
        self._pid_file.write_text(str(self.process.pid))
        self._wait_until_it_answers(self.process)

    def stop(self) -> None:
        """Shut the server down in order; kill it when it takes longer than 30 s."""
        if self.process is not None:
            end(self.process, _STOP_SECONDS)
        self._forget()

    def kill(self) -> None:
        """End the server as a power cut would: ``kill -9``."""
        if self.process is not None:
            strike(self.process)
            self.process.wait()
        self._forget()

    def restart(self) -> None:
        """Stop in order and start again on the same port."""
        self.stop()
        self.start()

    @property
    def running(self) -> bool:
        """Whether the server's process is alive."""
        return self.process is not None and self.process.poll() is None

    @property
    def answers(self) -> bool:
        """Whether a server, whoever started it, greets on this one's socket, which it opens last.

        A port would not tell: on one that is taken, somebody else's server greets.
        """
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            try:
                connection.connect(str(self.socket))
                return len(connection.recv(5)) == 5
            except OSError:
                return False

    # -- addresses ----------------------------------------------------------------------------------------------------

    @property
    def socket(self) -> Path:
        """The Unix socket: in the data folder, or in a short private one when that path is too long."""
        beside = self.datadir / "mysqld.sock"
        if len(str(beside)) < _SOCKET_LIMIT:
            return beside
        name = hashlib.sha256(str(self.datadir).encode()).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"rowcast-{name}" / "s"

    @property
    def root_url(self) -> str:
        """``mysql://root:…@127.0.0.1:port/`` for whoever may do everything."""
        return self.url("root", self.root_password, "")

    def url(self, user: str, password: str, database: str) -> str:
        """The server's address over TCP for an account."""
        return f"mysql://{quote(user, safe='')}:{quote(password, safe='')}@{LOOPBACK}:{self.port}/{database}"

    @property
    def root_password(self) -> str:
        """Made at the first start and kept beside the data."""
        return self._password_file.read_text()

    # -- use ----------------------------------------------------------------------------------------------------------

    def sql(self, statements: str, database: str = "") -> str:
        """Run statements as root over the socket; the rows as tab-separated lines without a heading.

        Raises ``RuntimeError`` with the server's message.
        """
        done = subprocess.run(
            self.client("--batch", "--skip-column-names", *([database] if database else [])),
            env=self.client_environment(),
            input=statements,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(done.stderr.strip())
        return done.stdout.removesuffix("\n")

    def client(self, *arguments: str) -> list[str]:
        """The command that opens the client program as root; run it with ``client_environment``."""
        first = [f"--defaults-file={MY_CNF}", "--protocol=SOCKET", f"--socket={self.socket}", "--user=root"]
        return self.installation.command(self.installation.client, *first, *arguments)

    def client_environment(self) -> dict[str, str]:
        """The client's environment: the password is handed over here, where no process list shows it."""
        return self.installation.environment() | {"MYSQL_PWD": self.root_password}

    def errors(self) -> list[str]:
        """The error lines of the server's log, oldest first."""
        return [line for line in self._log_lines() if "[ERROR]" in line]

    # -- how ----------------------------------------------------------------------------------------------------------

    @property
    def _log(self) -> Path:
        return self.datadir / "error.log"

    @property
    def _pid_file(self) -> Path:
        return self.datadir / _NOTE

    @property
    def _password_file(self) -> Path:
        return self.datadir / "root.password"

    @property
    def _init_file(self) -> Path:
        return self.datadir / "root.sql"

    def _initialise_command(self, datadir: Path) -> list[str]:
        here = self.installation
        if here.install_db is None:
            first = ["--no-defaults", "--initialize-insecure", f"--datadir={datadir}", f"--tmpdir={self._own_tmp()}"]
            return here.command(here.server, *first, "--secure-file-priv=NULL", *here.folders(), *_as_user())
        base = here.root / "usr" if here.root else None
        return [
            str(here.install_db),
            "--no-defaults",
            *([f"--basedir={base}"] if base else []),
            f"--datadir={datadir}",
            f"--tmpdir={self._own_tmp()}",
            # the other method, "normal", leaves accounts without a password for every host name of this machine
            "--auth-root-authentication-method=socket",
            f"--auth-root-socket-user={getpass.getuser()}",
            "--skip-test-db",
            *_as_user(),
        ]

    def _own_tmp(self) -> Path:
        """A folder for temporary tables. In one that is shared, a server that starts removes those of the others."""
        own = self.datadir.with_name(self.datadir.name + ".tmp")  # beside the data: inside, it would be a database
        own.mkdir(mode=0o700, parents=True, exist_ok=True)
        return own

    def _root_account(self) -> str:
        """Statements run at each start, so that a data folder made by an interrupted start gets its account too."""
        lines = ["SET SESSION sql_log_bin = 0;"]
        for host in ("localhost", LOOPBACK):
            account = f"'root'@'{host}'"
            lines.append(f"CREATE USER IF NOT EXISTS {account};")
            lines.append(f"ALTER USER {account} IDENTIFIED BY '{self.root_password}';")
            lines.append(f"GRANT ALL PRIVILEGES ON *.* TO {account} WITH GRANT OPTION;")
        return "\n".join(lines) + "\n"

    def _command(self) -> list[str]:
        here = self.installation
        mysql = ["--mysqlx=OFF", "--secure-file-priv=NULL"] if here.flavour == "mysql" else []
        return here.command(
            here.server,
            f"--defaults-file={MY_CNF}",  # has to be the first
            *here.folders(),
            *mysql,
            *_as_user(),
            f"--datadir={self.datadir}",
            f"--port={self.port}",
            f"--bind-address={LOOPBACK}",
            f"--socket={self.socket}",
            f"--pid-file={self.datadir / 'mysqld.pid'}",
            f"--tmpdir={self._own_tmp()}",
            f"--init-file={self._init_file}",
            *self.extra,
        )

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not self.answers:
            if process.poll() is not None:
                self._forget()
                raise ChildDied(f"the database ended with code {process.returncode}:\n{self._last_words()}")
            if time.monotonic() > deadline:
                self.kill()
                raise ChildDied(f"the database did not answer within {_START_SECONDS} s:\n{self._last_words()}")
            time.sleep(0.02)

    def _forget(self) -> None:
        self._pid_file.unlink(missing_ok=True)
        if self.socket.parent != self.datadir:
            shutil.rmtree(self.socket.parent, ignore_errors=True)

    def _log_lines(self) -> list[str]:
        return self._log.read_text(errors="replace").splitlines() if self._log.exists() else []

    def _last_words(self) -> str:
        return "\n".join(self.errors()[-5:] or self._log_lines()[-10:])


def end_stray_server(datadir: Path) -> int | None:
    """End a server that an earlier, killed parent left over this data folder; its process id, if there was one."""
    datadir = datadir.resolve()
    return end_stray(datadir / _NOTE, f"--datadir={datadir}", _STOP_SECONDS)


def _as_user() -> list[str]:
    """A server refuses to run as root unless that is what it is told."""
    return ["--user=root"] if os.geteuid() == 0 else []
