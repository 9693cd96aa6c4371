"""SQL files: cut into statements, with values put in where braces name them."""

from __future__ import annotations

import re
from collections.abc import Mapping

_PIECE = re.compile(
    r"""
      (?P<keep> '(?:[^'\\]|\\.)*' | "(?:[^"\\]|\\.)*" | `[^`]*` | /\*M?!.*?\*/ )
    | (?P<comment> --(?=\s|$)[^\n]* | \#[^\n]* | /\*.*?\*/ )
    | (?P<end> ; )
    | (?P<text> . )
    """,
    re.VERBOSE | re.DOTALL,
)


def split(text: str) -> list[str]:
    """The statements of a file, without comments. Strings, names and ``/*!`` comments stay whole.

    A doubled quote ends one string and begins the next, which comes to the same. There is no DELIMITER.
    """
    statements = [""]
    for piece in _PIECE.finditer(text):
        if piece["end"]:
            statements.append("")
        else:
            statements[-1] += " " if piece["comment"] else piece[0]
    return [stripped for statement in statements if (stripped := statement.strip())]


def fill(statement: str, values: Mapping[str, str]) -> str:
    """``{name}`` replaced by its value, which must already be quoted; raises ``KeyError`` for an unknown name."""
    return re.sub(r"\{(\w+)\}", lambda match: values[match[1]], statement)


def identifier(name: str) -> str:
    """A name, quoted."""
    return "`" + name.replace("`", "``") + "`"


def schema_pattern(name: str) -> str:
    """A schema for ``GRANT … ON schema.*``, where ``_`` and ``%`` would stand for other schemas too."""
    return identifier(re.sub(r"([\\_%])", r"\\\1", name))
