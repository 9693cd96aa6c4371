from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("requirements.lock", "requirements-test.lock")
PIN = re.compile(r"^([a-z0-9-]+)==(\S+)", re.MULTILINE)


def pins(name: str) -> dict[str, str]:
    return dict(PIN.findall((ROOT / name).read_text()))


def normal(requirement: str) -> str:
    """The name of a requirement as lock files spell it."""
    return re.split(r"[\[<>=!~; ]", requirement)[0].lower().replace("_", "-")


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_has_its_hashes(name: str) -> None:
    """Nothing can be installed that was not there when the lock was made."""
    blocks = re.split(r"\n(?=\S)", (ROOT / name).read_text().strip())
    packages = [block for block in blocks if not block.startswith("#")]
    assert len(packages) == len(pins(name)) > 10
    assert all("--hash=sha256:" in block for block in packages)


@pytest.mark.parametrize("name", LOCKS)
def test_names_no_address_and_no_path(name: str) -> None:
    """The lock works with any index: it holds names, versions and hashes."""
    text = (ROOT / name).read_text()
    code = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    assert not re.search(r"://|@ |--index|--find-links|--trusted|/", code)


def test_the_locks_hold_what_the_project_asks_for() -> None:
    """Each dependency is locked, and the tests run with the very versions that the product runs with."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    runtime, test = pins(LOCKS[0]), pins(LOCKS[1])
    assert {normal(requirement) for requirement in project["dependencies"]} <= runtime.keys()
    extras = [requirement for group in project["optional-dependencies"].values() for requirement in group]
    assert {normal(requirement) for requirement in extras} <= test.keys()
    assert runtime.items() <= test.items()
