from __future__ import annotations

from pathlib import Path

import pytest

from devenv import packages
from devenv.errors import Misconfigured, Unavailable
from devenv.installation import Installation, find_or_fetch, find_or_fetch_any


def program(folder: Path, name: str, version: str) -> Path:
    """A program that only knows its version."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(f"#!/bin/sh\necho '{version}'\n")
    file.chmod(0o755)
    return file


@pytest.fixture
def nothing_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without any server, and without apt; the folder is the whole of its PATH."""
    path = tmp_path / "bin"
    path.mkdir()
    (path / "sh").symlink_to("/bin/sh")
    monkeypatch.setenv("PATH", str(path))
    for variable in ("MARIADBD", "MYSQLD", "HOMEBREW_PREFIX", "CONDA_PREFIX"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("devenv.installation._places", lambda _: [str(path)])
    return path


def test_the_variable_wins(nothing_here: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """MARIADBD names the server, whatever else there is; its client is looked for beside it."""
    own = tmp_path / "own" / "bin"
    for folder in (nothing_here, own):
        program(folder, "mariadbd", "mariadbd Ver 11.4.2-MariaDB")
        program(folder, "mariadb", "mariadb")
        program(folder, "mariadb-install-db", "")
    monkeypatch.setenv("MARIADBD", str(own / "mariadbd"))
    found = find_or_fetch(tmp_path / "dev", "mariadb")
    assert (found.server, found.client) == (own / "mariadbd", own / "mariadb")
    assert find_or_fetch_any(tmp_path / "dev") == found


def test_a_variable_that_names_no_server_is_an_error(
    nothing_here: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What was asked for by name is not replaced by something else in silence."""
    monkeypatch.setenv("MYSQLD", str(program(nothing_here, "mysqld", "mysqld Ver 10.11.6-MariaDB")))
    with pytest.raises(Misconfigured, match="MYSQLD="):
        find_or_fetch(tmp_path / "dev", "mysql")


def test_a_mariadb_that_calls_itself_mysqld_is_no_mysql(nothing_here: Path, tmp_path: Path) -> None:
    """Distributions name MariaDB's server mysqld too: what it says of itself counts."""
    program(nothing_here, "mysqld", "mysqld Ver 10.11.6-MariaDB")
    program(nothing_here, "mysql", "mysql")
    program(nothing_here, "mysql_install_db", "")
    assert find_or_fetch(tmp_path / "dev", "mariadb").server == nothing_here / "mysqld"
    with pytest.raises(Unavailable):
        find_or_fetch(tmp_path / "dev", "mysql")


def test_a_server_without_its_client_is_not_used(nothing_here: Path, tmp_path: Path) -> None:
    """Both programs are needed, so half an installation is no hit."""
    program(nothing_here, "mysqld", "mysqld Ver 9.7.0 for Linux")
    with pytest.raises(Unavailable):
        find_or_fetch(tmp_path / "dev", "mysql")


@pytest.mark.usefixtures("nothing_here")
def test_without_a_server_and_apt_the_message_says_what_to_type(tmp_path: Path) -> None:
    """One message, with the lines for a Mac and for containers; exit code 69."""
    with pytest.raises(Unavailable, match="no apt") as caught:
        find_or_fetch_any(tmp_path / "dev")
    assert "brew install mariadb" in caught.value.hint
    assert "docker compose up" in caught.value.hint
    assert caught.value.code == 69


def test_fetched_mysql_runs_with_its_own_libraries(mysql_installation: Installation) -> None:
    """A MySQL from a newer suite brings its libc: it runs through that, and the system's stays as it is."""
    if mysql_installation.root is None or packages.loader(mysql_installation.root) is None:
        pytest.skip("this MySQL is the system's own")
    assert mysql_installation.command(mysql_installation.server)[0].startswith(str(mysql_installation.root))
    assert "mysqld" in mysql_installation.version()


def test_other_programs_of_the_installation(mariadb_installation: Installation) -> None:
    """The program that prints the log comes with the server; what does not exist is None."""
    assert mariadb_installation.program("mariadb-binlog", "mysqlbinlog")
    assert mariadb_installation.program("no-such-program") is None
