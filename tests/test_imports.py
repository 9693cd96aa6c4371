"""The house's arrows, read from the code itself: which room may know which."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

MAY_IMPORT = {
    "journal": set(),
    "cdc": {"journal"},
    "gateway": {"journal"},
    "api": {"journal", "web"},
    "demo": set(),
    "devenv": set(),
    "rowcast": {"api", "cdc", "gateway", "journal", "sql"},
}
ROOMS = {*MAY_IMPORT, "web", "sql", "tests", "bench"}
PURE = {
    "cdc": [
        "assembler",
        "binary_json",
        "cells",
        "charsets",
        "decoder_source",
        "events",
        "framing",
        "json_source",
        "pending",
        "position",
        "rows",
        "statements",
        "tablemap",
        "temporal",
        "values",
    ],
    "gateway": ["filters", "frames", "group", "hub", "session", "subscription", "wire"],
    "journal": ["columns", "filter"],
}
SHELL_LIBRARIES = {"asyncio", "socket", "threading", "pymysql", "pymysqlreplication", "apsw", "sqlite3", "websockets"}
FORBIDDEN_NAMES = {"utils", "util", "common", "core", "helpers", "helper", "manager", "factory", "misc"}


def imported(file: Path) -> set[str]:
    """Top-level packages that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative imports hide where an arrow points"
            names.add((node.module or "").partition(".")[0])
    return names


def files(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_rooms_know_only_whom_they_may(room: str) -> None:
    """No arrow of the house points anywhere else."""
    assert files(room)
    for file in files(room):
        foreign = (imported(file) & ROOMS) - {room} - MAY_IMPORT[room]
        assert not foreign, f"{file.relative_to(ROOT)} imports {sorted(foreign)}"


@pytest.mark.parametrize(("room", "module"), [(room, module) for room, names in PURE.items() for module in names])
def test_pure_cores_do_no_io(room: str, module: str) -> None:
    """The parts that decide what is right know no socket, thread, loop or database."""
    assert not imported(ROOT / room / f"{module}.py") & SHELL_LIBRARIES


def test_one_file_knows_the_binlog_library() -> None:
    """Its traps are closed in one place."""
    knowing = {
        str(file.relative_to(ROOT))
        for room in MAY_IMPORT
        for file in files(room)
        if "pymysqlreplication" in imported(file)
    }
    assert knowing == {"cdc/source.py"}


@pytest.mark.parametrize("room", ["devenv"])
def test_the_set_up_needs_nothing_installed(room: str) -> None:
    """./dev runs before anything is there: the standard library only."""
    for file in [*files(room), ROOT / "dev"]:
        assert imported(file) <= set(sys.stdlib_module_names) | {"devenv"}, file


def test_names_say_what_a_file_is_about() -> None:
    """No drawer for everything."""
    named = {
        part.lower() for room in ROOMS for file in files(room) for part in file.relative_to(ROOT).with_suffix("").parts
    }
    assert not named & FORBIDDEN_NAMES
