from __future__ import annotations

import threading
from pathlib import Path

import pytest

from devenv.errors import Unavailable
from devenv.packages import Apt, exclusive, have_apt, library_path, loader

SYSTEM = [Path("/var/lib/apt/lists"), Path("/var/cache/apt"), Path("/var/lib/dpkg/status")]


def state() -> list[tuple[str, float]]:
    """The system's package files with their times."""
    files = [path for top in SYSTEM for path in (sorted(top.iterdir()) if top.is_dir() else [top])]
    return [(str(path), path.stat().st_mtime) for path in files]


def test_fetches_without_touching_the_system(tmp_path: Path) -> None:
    """A package and what it needs are found and unpacked; the system's lists and caches stay as they were."""
    if not have_apt():
        pytest.skip("this machine has no apt")
    before = state()
    apt = Apt(tmp_path / "apt")
    apt.update()
    if not apt.knows("mysql-common"):
        pytest.skip("the package archive cannot be reached")
    assert not apt.knows("no-such-package")
    assert "mariadb-server-core" in apt.closure(["mariadb-server-core"])
    apt.unpack(["mysql-common"], tmp_path / "root")
    assert (tmp_path / "root" / "etc" / "mysql").is_dir()
    apt.discard()
    assert not (tmp_path / "apt").exists()
    assert state() == before


def test_an_unknown_package_is_apts_own_message(tmp_path: Path) -> None:
    """What apt says about it reaches the user."""
    if not have_apt():
        pytest.skip("this machine has no apt")
    with pytest.raises(Unavailable, match="no-such-package"):
        Apt(tmp_path / "apt").closure(["no-such-package"])


def test_libraries_and_loader_of_an_unpacked_root(tmp_path: Path) -> None:
    """Library folders are those of the root, a level below included; the loader is there only if libc is."""
    top = tmp_path / "usr/lib/x86_64-linux-gnu"
    (top / "pulseaudio").mkdir(parents=True)
    (top / "pulseaudio" / "libpulsecommon.so").touch()
    (top / "perl").mkdir()
    assert library_path(tmp_path) == f"{top}:{top / 'pulseaudio'}"
    assert loader(tmp_path) is None
    (top / "ld-linux-x86-64.so.2").touch()
    assert loader(tmp_path) == top / "ld-linux-x86-64.so.2"


def test_of_two_that_fetch_the_second_waits(tmp_path: Path) -> None:
    """The lock is held until the first is done."""
    entered = threading.Event()

    def second() -> None:
        with exclusive(tmp_path / "lock"):
            entered.set()

    thread = threading.Thread(target=second)
    with exclusive(tmp_path / "lock"):
        thread.start()
        assert not entered.wait(0.2)
    thread.join(10)
    assert entered.is_set()
