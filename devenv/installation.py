"""Where a database server's programs are: named, found on the machine, or fetched into the dev folder."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from devenv.errors import Misconfigured, SetUpError, Unavailable
from devenv.packages import Apt, exclusive, library_path, loader

Flavour = Literal["mariadb", "mysql"]

HINT = (
    "  brew install mariadb       a server for ./dev to find, or\n  docker compose up          everything in containers"
)

_VARIABLE: Mapping[Flavour, str] = {"mariadb": "MARIADBD", "mysql": "MYSQLD"}
_SERVER: Mapping[Flavour, Sequence[str]] = {"mariadb": ("mariadbd", "mysqld"), "mysql": ("mysqld",)}
_CLIENT: Mapping[Flavour, Sequence[str]] = {"mariadb": ("mariadb", "mysql"), "mysql": ("mysql",)}
_INSTALL_DB = ("mariadb-install-db", "mysql_install_db")
_KEPT = {
    *("mariadb", "mariadb-admin", "mariadb-binlog", "mariadb-dump", "mariadb-install-db"),
    *("mysql", "mysqladmin", "mysqlbinlog", "mysqldump", "my_print_defaults", "resolveip"),
}
_MYSQL_PACKAGES = ("mysql-server-core", "mysql-server-core-8.4", "mysql-server-core-8.0")


@dataclass(frozen=True)
class Installation:
    """The programs of one server. ``root`` is the folder they were unpacked into, None when the system has them."""

    flavour: Flavour
    server: Path
    client: Path
    install_db: Path | None  # MariaDB's; MySQL's server initialises by itself
    root: Path | None = None

    def command(self, program: Path, *arguments: str) -> list[str]:
        """The argument list that runs one of the programs, through the root's own loader if it brought one."""
        own = loader(self.root) if self.root else None
        if own is None or self.root is None:
            return [str(program), *arguments]
        libraries = ["--library-path", library_path(self.root), "--argv0", str(program)]
        return [str(own), *libraries, str(program), *arguments]

    def environment(self) -> dict[str, str]:
        """The environment for every program: the unpacked libraries where the system's loader is used."""
        environment = dict(os.environ)
        for name in ("MYSQL_HOST", "MYSQL_TCP_PORT", "MYSQL_UNIX_PORT", "MYSQL_HOME", "MYSQL_PWD"):
            environment.pop(name, None)  # would lead a client to somebody else's server
        if self.root and not loader(self.root):
            known = [library_path(self.root), environment.get("LD_LIBRARY_PATH", "")]
            environment["LD_LIBRARY_PATH"] = ":".join(path for path in known if path)
        return environment

    def folders(self) -> list[str]:
        """Server options that replace the compiled-in folders, which an unpacked server does not have."""
        if self.root is None:
            return []
        usr = self.root / "usr"
        share = usr / "share" / "mysql"
        return [
            f"--basedir={usr}",
            f"--plugin-dir={usr / 'lib' / 'mysql' / 'plugin'}",
            f"--lc-messages-dir={share}",
            f"--character-sets-dir={share / 'charsets'}",
        ]

    def program(self, *names: str) -> Path | None:
        """Another program of the same installation, such as ``mariadb-binlog``; None when it is not there."""
        return _first(names, self.server, self.root)

    def version(self) -> str:
        """What the server says of itself."""
        return _version(self.command(self.server), self.environment())


def find_or_fetch(dev_dir: Path, flavour: Flavour) -> Installation:
    """The server named by MARIADBD or MYSQLD, else one on this machine, else one fetched into ``dev_dir``.

    Raises ``Unavailable`` where none can be had, ``Misconfigured`` when the variable names no server.
    """
    return _named(flavour) or _found(flavour) or fetch(dev_dir, flavour)


def find_or_fetch_any(dev_dir: Path) -> Installation:
    """The same for whoever does not mind which: a named one first, MariaDB before MySQL, fetching last."""
    flavours: tuple[Flavour, ...] = ("mariadb", "mysql")
    for look in (_named, _found):
        for flavour in flavours:
            installation = look(flavour)
            if installation:
                return installation
    return fetch(dev_dir, "mariadb")


def fetch(dev_dir: Path, flavour: Flavour) -> Installation:
    """The server unpacked below ``dev_dir``, downloaded when it is not there yet."""
    home = dev_dir.resolve() / flavour
    with exclusive(home / "lock"):
        try:
            known = _unpacked(home / "root", flavour)
            if known:
                return known
            _fetch_mariadb(home) if flavour == "mariadb" else _fetch_mysql(home)
            fetched = _unpacked(home / "root", flavour)
            if fetched is None:
                raise Unavailable("the packages held no server that runs here")
        except SetUpError as error:
            raise Unavailable(f"no {flavour} server was found here, and none can be fetched: {error}", HINT) from error
    return fetched


def _named(flavour: Flavour) -> Installation | None:
    variable = _VARIABLE[flavour]
    value = os.environ.get(variable)
    if not value:
        return None
    server = shutil.which(value)
    installation = _installed(flavour, Path(server)) if server else None
    if installation is None:
        raise Misconfigured(f"{variable}={value} is no {flavour} server with its client program beside it")
    return installation


def _found(flavour: Flavour) -> Installation | None:
    for name in _SERVER[flavour]:
        for folder in _places(flavour):
            server = shutil.which(name, path=folder)
            installation = _installed(flavour, Path(server)) if server else None
            if installation:
                return installation
    return None


def _places(flavour: Flavour) -> list[str]:
    """Folders that may hold a server, best first."""
    places = [*os.environ.get("PATH", "").split(os.pathsep), "/usr/sbin", "/usr/local/sbin", "/usr/libexec"]
    for prefix in (os.environ.get("HOMEBREW_PREFIX"), "/opt/homebrew", "/usr/local", "/home/linuxbrew/.linuxbrew"):
        if prefix:
            places += [f"{prefix}/bin", f"{prefix}/opt/{flavour}/bin"]
    if os.environ.get("CONDA_PREFIX"):
        places.append(f"{os.environ['CONDA_PREFIX']}/bin")
    return [place for place in places if place]


def _installed(flavour: Flavour, server: Path) -> Installation | None:
    """The installation a server on this machine belongs to, if it is of this flavour and complete."""
    server = server.resolve()
    said = _version([str(server)], os.environ)
    if not said or ("MariaDB" in said) != (flavour == "mariadb"):
        return None  # Debian's MariaDB calls itself mysqld too
    return _complete(flavour, server, None)


def _unpacked(root: Path, flavour: Flavour) -> Installation | None:
    for name in _SERVER[flavour]:
        server = root / "usr" / "sbin" / name
        installation = _complete(flavour, server, root) if server.exists() else None
        if installation and installation.version():
            return installation
    return None


def _complete(flavour: Flavour, server: Path, root: Path | None) -> Installation | None:
    client = _first(_CLIENT[flavour], server, root)
    install_db = _first(_INSTALL_DB, server, root) if flavour == "mariadb" else None
    if client is None or (flavour == "mariadb" and install_db is None):
        return None
    return Installation(flavour, server, client, install_db, root)


def _first(names: Sequence[str], server: Path, root: Path | None) -> Path | None:
    """A program of the server's own family: beside it or in its sibling folders; a system's also on PATH."""
    base = server.parent.parent
    folders = [str(server.parent), str(base / "bin"), str(base / "scripts")]
    if root is None:
        folders += os.environ.get("PATH", "").split(os.pathsep)
    for name in names:
        found = shutil.which(name, path=os.pathsep.join(folders))
        if found:
            return Path(found)
    return None


def _version(command: Sequence[str], environment: Mapping[str, str]) -> str:
    try:
        done = subprocess.run(
            [*command, "--version"], env=environment, capture_output=True, text=True, check=False, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _fetch_mariadb(home: Path) -> None:
    print("dev: fetching MariaDB from the system's package archive (once) ...", flush=True)
    apt = Apt(home / "apt")
    apt.update()
    needed = apt.closure(["mariadb-server-core", "mariadb-client-core"])
    # mariadb-client has mariadb-binlog; it links nothing more, and its perl is for scripts that nobody runs here.
    own = ["mariadb-server-core", "mariadb-client-core", "mariadb-client"]
    apt.unpack(sorted({*needed, *own}), home / "root")
    apt.discard()
    _slim(home / "root")


def _fetch_mysql(home: Path) -> None:
    """MySQL from the system's own archive (Ubuntu), else from Debian's newest suite with a libc of its own."""
    print("dev: fetching MySQL from the package archive (once) ...", flush=True)
    apt = Apt(home / "apt")
    apt.update()
    server = next((name for name in _MYSQL_PACKAGES if apt.knows(name)), None)
    if server is None:
        if platform.machine() != "x86_64":
            raise Unavailable("MySQL packages exist for x86_64 only")
        server = _MYSQL_PACKAGES[0]
        apt = Apt(home / "apt-sid", suite="sid")
        apt.update()
    client = re.sub("server", "client", server)
    apt.unpack(sorted({*apt.closure([server, client]), server, client}), home / "root")
    apt.discard()
    shutil.rmtree(home / "apt", ignore_errors=True)
    _slim(home / "root")


def _slim(root: Path) -> None:
    """Keep the client programs that are used: each is a static copy of the same libraries, 100 MB in all."""
    for program in (root / "usr" / "bin").iterdir():
        if program.name not in _KEPT:
            program.unlink()
    for folder in root.glob("usr/lib/*/gconv"):
        shutil.rmtree(folder)
