from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from devenv import interpreter
from devenv.errors import Misconfigured

DEV = Path(__file__).resolve().parents[2] / "dev"


@pytest.fixture(autouse=True)
def no_wish(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have one."""
    monkeypatch.delenv(interpreter.VARIABLE, raising=False)


@pytest.mark.parametrize(
    ("prefix", "options", "optimised"),
    [
        ("/usr", "'--enable-shared' '--with-dtrace'", True),  # Debian optimises by other means
        ("/opt/python", "'--enable-optimizations' '--with-lto'", True),
        ("/home/u/.pyenv/versions/3.11.7", "'--prefix=/home/u/.pyenv/versions/3.11.7'", False),
        ("/opt/python", None, True),  # it does not say
    ],
)
def test_only_a_python_that_says_so_is_slow(prefix: str, options: str | None, optimised: bool) -> None:
    """A build is doubted when its own options show that it was not optimised."""
    assert interpreter.is_optimised(prefix, options) is optimised


def test_an_unoptimised_python_gives_way_to_the_systems(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It does where the system's can make a virtual environment and is no link to somebody else's."""
    monkeypatch.setattr(sys, "base_prefix", "/home/u/.pyenv/versions/3.11.7")
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    monkeypatch.setattr(sysconfig, "get_config_var", lambda _: "'--prefix=/home/u/.pyenv/versions/3.11.7'")
    for says, chosen in [("True /usr", True), ("False /usr", False), ("True /opt/python", False)]:
        monkeypatch.setattr(interpreter, "_SYSTEM", str(_python(tmp_path, f"echo python {says}")))
        assert interpreter.better() == (interpreter._SYSTEM if chosen else None)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "prefix", str(tmp_path))
            assert interpreter.better() is None, "a virtual environment was somebody's choice"
    monkeypatch.setattr(interpreter, "_SYSTEM", str(_python(tmp_path, "exit 1")))
    assert interpreter.better() is None
    monkeypatch.setattr(interpreter, "_SYSTEM", str(tmp_path / "none"))
    assert interpreter.better() is None


def test_a_wish_is_granted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever ``ROWCAST_DEV_PYTHON`` names is taken, and what is no Python is refused by name."""
    asked = tmp_path / "asked"
    python = _python(
        tmp_path, f'case "$1" in -c) echo python True /somewhere;; *) echo "$@ $ROWCAST_DEV_PYTHON" > {asked};; esac'
    )
    environment = os.environ | {interpreter.VARIABLE: str(python)}
    subprocess.run([sys.executable, str(DEV), "down"], env=environment, check=True)
    assert asked.read_text() == f"{DEV} down this\n"
    for wrong in ("/nonexistent/python", "/bin/echo"):
        monkeypatch.setenv(interpreter.VARIABLE, wrong)
        with pytest.raises(Misconfigured, match=rf"ROWCAST_DEV_PYTHON={wrong} is no Python from 3\.11 on"):
            interpreter.better()


def test_what_was_chosen_does_not_choose_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise two interpreters could hand a command back and forth."""
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    monkeypatch.setattr(interpreter, "is_optimised", lambda *_: False)
    monkeypatch.setattr(interpreter, "_says", lambda *_: "python True /usr")
    assert interpreter.better() == "/usr/bin/python3"
    monkeypatch.setenv(interpreter.VARIABLE, interpreter._CHOSEN)
    assert interpreter.better() is None


def _python(folder: Path, script: str) -> Path:
    program = folder / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program
