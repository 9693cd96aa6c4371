"""Writes the lock files anew from pyproject.toml: every version pinned, every file's hash listed, no address."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

from devenv.errors import Misconfigured, Unavailable
from devenv.settings import ROOT, DevSettings
from devenv.venv import RUNTIME, TEST, make, pip, python

_HEADER = """\
# Made from pyproject.toml by `./dev lock`; `./dev lock --upgrade` takes the newest versions. Not edited by hand.
# {what}
"""


def lock(dev: DevSettings, *, upgrade: bool) -> None:
    """Compile both lock files. What is locked stays as it is, where pyproject.toml still allows it, unless upgrading.

    Raises ``Misconfigured`` unless run by the oldest Python supported: a newer one would leave out what that needs.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    oldest = project["requires-python"].removeprefix(">=")
    if f"{sys.version_info.major}.{sys.version_info.minor}" != oldest:
        raise Misconfigured(f"the lock files are made by Python {oldest}", f"  python{oldest} dev lock")
    venv = dev.dev_dir / "lock"
    if not (venv / "bin" / "pip-compile").exists():
        make(venv)
        pip(dev, venv, "pip", "pip-tools")
    runtime, extras = project["dependencies"], project["optional-dependencies"]
    known = [] if upgrade else _pins(TEST)
    everything = [*runtime, *extras["test"], *extras["lint"]]
    _write(TEST, "To run, test and lint.", _compile(dev, everything, known))
    _write(RUNTIME, "To run.", _compile(dev, runtime, _pins(TEST)))


def _pins(file: Path) -> list[str]:
    return re.findall(r"^(\S+==\S+)", file.read_text(), re.MULTILINE) if file.exists() else []


def _write(target: Path, what: str, text: str) -> None:
    target.write_text(_HEADER.format(what=what) + text)
    print(f"dev: wrote {target.name}")


def _compile(dev: DevSettings, wanted: Sequence[str], pinned: Sequence[str]) -> str:
    """The lock of ``wanted``, keeping the versions of ``pinned`` where they still fit."""
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "in.txt", Path(folder) / "out.txt"
        source.write_text("\n".join(wanted) + "\n")
        out.write_text("\n".join(pinned) + "\n")
        command = [str(python(dev.dev_dir / "lock")), "-m", "piptools", "compile", "--generate-hashes", "--quiet"]
        command += ["--no-header", "--no-annotate", "--strip-extras", "--allow-unsafe", "--no-config"]
        command += ["--no-emit-index-url", "--no-emit-find-links", "--no-emit-trusted-host", "--no-emit-options"]
        command += ["--output-file", str(out), str(source)]
        done = subprocess.run(command, env=_public(dev), capture_output=True, text=True, check=False, cwd=folder)
        if done.returncode != 0:
            raise Unavailable(f"the lock file could not be made:\n{done.stderr.strip()}")
        return out.read_text()


def _public(dev: DevSettings) -> dict[str, str]:
    """The environment without this machine's own additions to the package index: their hashes hold nowhere else."""
    environment = dev.environment() | {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_CACHE_DIR": str(dev.dev_dir / "cache" / "pip"),
        "PIP_TOOLS_CACHE_DIR": str(dev.dev_dir / "cache" / "pip-tools"),
    }
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        environment.pop(name, None)
    return environment
