"""The virtual environment in the dev folder: the locked packages, and the project itself straight from the tree.

``python -m devenv.venv requirements.lock`` brings it up to date; nothing happens when it is.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from devenv import settings
from devenv.errors import SetUpError, Unavailable
from devenv.packages import Apt, exclusive, have_apt
from devenv.settings import ROOT, DevSettings

RUNTIME = ROOT / "requirements.lock"
TEST = ROOT / "requirements-test.lock"  # holds the runtime's packages too

_SCRIPT = """\
#!/bin/sh
'''exec' '{python}' "$0" "$@"
' '''
import sys

from {module} import {function}

sys.exit({function}())
"""


def prepare(dev: DevSettings, lock: Path) -> None:
    """Make the virtual environment hold what ``lock`` says, in its exact versions and hashes.

    Raises ``Unavailable`` when Python cannot make one or the packages cannot be had.
    """
    with exclusive(dev.dev_dir / "venv.lock"):
        marker = dev.venv / "rowcast.json"
        wanted = {"python": sys.version, "base": sys.base_prefix, "tree": str(ROOT), "venv": str(dev.venv.resolve())}
        known = json.loads(marker.read_text()) if marker.exists() else {}
        installed: dict[str, str] = known.pop("installed", {})
        if known != wanted:
            installed = {}
            make(dev.venv)
        # the larger lock has the smaller one's packages in the same versions
        if any(installed.get(enough.name) == _digest(enough) for enough in {lock, TEST}):
            return
        print(f"dev: installing {lock.name} into {shown(dev.venv)}, by {sys.executable} ...", flush=True)
        marker.unlink(missing_ok=True)  # until it is whole
        pip(dev, dev.venv, "--require-hashes", "--no-deps", "-r", str(lock))
        _link_project(dev.venv)
        marker.write_text(json.dumps({**wanted, "installed": {lock.name: _digest(lock)}}))


def _digest(lock: Path) -> str:
    return hashlib.sha256(lock.read_bytes()).hexdigest()


def python(venv: Path) -> Path:
    """The virtual environment's interpreter."""
    return venv / "bin" / "python"


def shown(path: Path) -> str:
    """A path as one would type it from the tree."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def make(venv: Path) -> None:
    """Make an empty virtual environment, replacing an old one."""
    shutil.rmtree(venv, ignore_errors=True)
    command = [sys.executable, "-m", "venv", "--without-pip", str(venv)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Unavailable(
            f"{sys.executable} cannot make a virtual environment: {(done.stderr or done.stdout).strip()}",
            "  apt-get install python3-venv      on Debian and Ubuntu",
        )


def pip(dev: DevSettings, venv: Path, *arguments: str) -> None:
    """Run ``pip install`` into a virtual environment, which itself holds no pip: this one runs from its wheel."""
    command = [str(python(venv)), str(_pip_wheel(dev) / "pip"), "install", "--quiet", "--no-compile", *arguments]
    environment = dev.environment() | {
        "PIP_CACHE_DIR": str(dev.dev_dir / "cache" / "pip"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
        "PIP_USER": "0",
    }
    environment.pop("PIP_TARGET", None)
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = "\n".join((done.stderr or done.stdout).strip().splitlines()[-8:])
        raise Unavailable(f"the Python packages could not be installed:\n{last}")


def _pip_wheel(dev: DevSettings) -> Path:
    """The wheel that Python brings for ensurepip; Debian keeps it in a package that may be absent, so fetched."""
    spec = importlib.util.find_spec("ensurepip")
    bundled = [Path(spec.origin).parent / "_bundled"] if spec and spec.origin else []
    for folder in (*bundled, Path("/usr/share/python-wheels"), dev.dev_dir / "pip"):
        wheels = sorted(folder.glob("pip-*.whl"))
        if wheels:
            return wheels[-1]
    if not have_apt():
        raise Unavailable(f"{sys.executable} has no pip and no ensurepip", "  python3 -m ensurepip")
    try:
        return _fetch_pip(dev.dev_dir / "pip")
    except SetUpError as error:
        raise Unavailable(f"{sys.executable} has no ensurepip: {error}", "  apt-get install python3-venv") from error


def _fetch_pip(home: Path) -> Path:
    apt = Apt(home / "apt")
    apt.update()
    apt.unpack(["python3-pip-whl"], home / "root")
    apt.discard()
    wheel = next((home / "root").rglob("pip-*.whl"))
    return wheel.rename(home / wheel.name)


def _link_project(venv: Path) -> None:
    """Install the project as pip's editable mode would, without its build folder in the tree."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    site = next(venv.glob("lib/python*/site-packages"))
    (site / "rowcast-tree.pth").write_text(f"{ROOT}\n")
    for old in site.glob("rowcast-*.dist-info"):
        shutil.rmtree(old)
    about = site / f"rowcast-{project['version']}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: rowcast\nVersion: {project['version']}\n")
    (about / "RECORD").write_text("")
    for name, target in project["scripts"].items():
        module, function = target.split(":")
        script = venv / "bin" / name
        script.write_text(_SCRIPT.format(python=python(venv), module=module, function=function))
        script.chmod(0o755)


def main() -> int:
    """Prepare for the lock named on the command line, as a process of its own beside the database's set-up."""
    try:
        prepare(settings.read(), ROOT / sys.argv[1])
    except SetUpError as error:
        print(f"dev: {error}\n{error.hint}".rstrip(), file=sys.stderr, flush=True)
        return error.code
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
