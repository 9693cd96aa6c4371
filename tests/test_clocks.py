"""Which code looks at the wall clock: that may jump a day, so nothing that waits or throws away may ask it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("api", "cdc", "gateway", "journal", "rowcast")
WALL = {"time", "time_ns", "gmtime", "localtime", "now", "utcnow", "today", "ctime"}
MAY_ASK = {
    "api/rows.py": "the timestamp of a row that names none",
    "cdc/capture.py": "the commit time of a gap, and the lag, less what the server's clock is ahead",
    "cdc/control.py": "how far the server's clock is ahead of ours",
    "cdc/reader.py": "the commit time of rows read from a table",
    "gateway/upgrade.py": "the date in the answer to a handshake",
    "journal/aside.py": "the name of a file set aside",
    "journal/file.py": "when the journal was made, for people to read",
    "rowcast/log.py": "when a line was logged",
}


def asks(file: Path) -> bool:
    """Whether a file mentions a function that tells the time of day."""
    return any(
        isinstance(node, ast.Attribute)
        and node.attr in WALL
        and ast.unparse(node.value).rpartition(".")[2] in {"time", "datetime", "date"}
        for node in ast.walk(ast.parse(file.read_text()))
    )


@pytest.mark.parametrize("room", ROOMS)
def test_only_the_monotonic_clock_is_waited_on(room: str) -> None:
    """The files that ask the time of day are these, each for a reason that a jump does not hurt."""
    found = {str(file.relative_to(ROOT)) for file in (ROOT / room).rglob("*.py") if asks(file)}
    assert found == {file for file in MAY_ASK if file.startswith(f"{room}/")}


def test_the_wall_clock_is_never_imported_by_name() -> None:
    """A function imported by its bare name would hide from the test above: nobody does that."""
    for room in ROOMS:
        for file in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.ImportFrom) and node.module == "time":
                    assert not WALL & {alias.name for alias in node.names}, file
