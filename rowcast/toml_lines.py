"""On which line of a TOML file a key stands: ``tomllib`` reads the values but does not say."""

from __future__ import annotations

import re

_WORD = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_DOTTED = rf"{_WORD}(?:\s*\.\s*{_WORD})*"
_TABLE = re.compile(rf"\s*\[\s*({_DOTTED})\s*\]")
_ASSIGNMENT = re.compile(rf"\s*({_DOTTED})\s*=")
_TRIPLE = re.compile(r"\"\"\"|'''")


def key_lines(text: str) -> dict[str, int]:
    """Line number, from 1, of each table header and key under its dotted name. ``text`` must be valid TOML.

    Keys inside an inline table are not found; ``line_of`` answers with the line the table stands on.
    """
    lines: dict[str, int] = {}
    table = ""
    inside = ""  # the quotes of the multi-line string that this line begins in
    for number, line in enumerate(text.splitlines(), 1):
        if not inside:
            if header := _TABLE.match(line):
                table = _name(header[1])
                lines.setdefault(table, number)
            elif assignment := _ASSIGNMENT.match(line):
                name = _name(assignment[1])
                lines[f"{table}.{name}" if table else name] = number
        for quotes in _TRIPLE.findall(line):
            inside = "" if inside == quotes else inside or quotes
    return lines


def line_of(lines: dict[str, int], key: str) -> int | None:
    """The line of ``key``, or of the nearest table around it."""
    while key and key not in lines:
        key = key.rpartition(".")[0]
    return lines.get(key)


def _name(dotted: str) -> str:
    return ".".join(word.strip("\"'") for word in re.findall(_WORD, dotted))
