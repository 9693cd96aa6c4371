"""The Dockerfile, as far as it can be held to its word without Docker."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def copied() -> list[str]:
    """What the last stage takes from the tree."""
    lines = re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE.split("\nFROM ")[-1], re.MULTILINE)
    return [source for line in lines for source in line.split()[:-1]]


def test_every_package_is_in_the_image():
    """A room that the project installs is copied, and let through by .dockerignore."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(project["tool"]["setuptools"]["packages"]) <= set(copied())
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert {*copied(), "requirements.lock"} == {line.removeprefix("!") for line in ignored if line.startswith("!")}


def test_what_is_in_the_image_runs(tmp_path):
    """The copied files alone are enough for every command to load."""
    for source in copied():
        there = ROOT / source
        if there.is_dir():
            shutil.copytree(there, tmp_path / source, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(there, tmp_path)
    load = "import rowcast.serve, rowcast.api_alone, rowcast.migrate, rowcast.check, demo.writer"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    for command in (["-c", load], ["-m", "rowcast", "--version"]):
        done = subprocess.run(
            [sys.executable, *command], env=environment, cwd="/", capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"rowcast, version \d+\.\d+\.\d+\n", done.stdout)


@pytest.mark.parametrize(
    "line",
    ["--require-hashes", "--only-binary :all:", "USER 10001:10001", 'ENTRYPOINT ["python", "-m", "rowcast"]'],
)
def test_the_image_is_built_from_the_lock_and_runs_without_root(line):
    """Dependencies come by hash from the lock file, and the process is nobody special."""
    assert line in DOCKERFILE


def test_base_images_are_pinned_and_named_plainly():
    """Each stage starts from a version of an image, without the name of a registry."""
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert len(bases) == 2
    assert all(re.fullmatch(r"[a-z]+:\d+\.\d+[\w.-]*", base) for base in bases)
