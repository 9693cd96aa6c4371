from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from devenv import settings, venv
from devenv.errors import Unavailable

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def prepared(dev_dir: Path) -> settings.DevSettings:
    """The dev folder's own environment, brought up to date."""
    dev = settings.read({"ROWCAST_DEV_DIR": str(dev_dir)})
    venv.prepare(dev, venv.RUNTIME)
    return dev


def test_the_command_runs_from_the_tree(prepared: settings.DevSettings) -> None:
    """Rowcast is there, imports this tree's code and knows its version, and nothing was built beside the sources."""
    done = subprocess.run(
        [prepared.venv / "bin" / "rowcast", "--version"], capture_output=True, text=True, check=True, cwd="/"
    )
    assert "0." in done.stdout
    shown = [str(venv.python(prepared.venv)), "-c", "import rowcast; print(rowcast.__file__)"]
    where = subprocess.run(shown, capture_output=True, text=True, check=True, cwd="/")
    assert where.stdout.strip() == str(ROOT / "rowcast" / "__init__.py")
    assert not list(ROOT.glob("*.egg-info"))
    assert not (ROOT / "build").exists()


def test_nothing_is_done_when_nothing_changed(prepared: settings.DevSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second time costs a look at a file: no pip is run."""
    monkeypatch.setattr(venv, "pip", lambda *_: pytest.fail("installed again"))
    venv.prepare(prepared, venv.RUNTIME)


def test_an_unfinished_installation_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in the middle, the environment is not taken for whole; a changed lock is installed too."""
    dev = settings.read({"ROWCAST_DEV_DIR": str(tmp_path / "dev")})
    lock = tmp_path / "some.lock"
    lock.write_text("")
    installed: list[str] = []

    def cut(*arguments: object) -> None:
        raise Unavailable("cut")

    monkeypatch.setattr(venv, "pip", cut)
    with pytest.raises(Unavailable):
        venv.prepare(dev, lock)
    monkeypatch.setattr(venv, "pip", lambda *arguments: installed.append(arguments[-1]))
    venv.prepare(dev, lock)
    venv.prepare(dev, lock)
    assert installed == [str(lock)]
    lock.write_text("changed")
    venv.prepare(dev, lock)
    assert installed == [str(lock)] * 2


def test_another_python_gets_a_new_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packages built for one Python are not shown to another."""
    dev = settings.read({"ROWCAST_DEV_DIR": str(tmp_path / "dev")})
    monkeypatch.setattr(venv, "pip", lambda *_: None)
    venv.prepare(dev, venv.RUNTIME)
    marker = dev.venv / "rowcast.json"
    marker.write_text(json.dumps(json.loads(marker.read_text()) | {"python": "3.9"}))
    (dev.venv / "old").touch()
    venv.prepare(dev, venv.RUNTIME)
    assert not (dev.venv / "old").exists()
