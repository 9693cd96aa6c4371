"""How a command ends when it cannot do its work: one message, one hint, one exit code.

The codes are those of sysexits.h, so that a supervisor can tell "mend the configuration" from "try again".
"""

from __future__ import annotations

INTERNAL = 1
USAGE = 2
UNREACHABLE = 69
TEMPORARY = 75
CONFIGURATION = 78


class Failure(Exception):
    """A known way to fail. ``text`` says what is wrong, ``hint`` how to mend it; neither holds a secret."""

    def __init__(self, text: str, hint: str = "", exit_code: int = INTERNAL) -> None:
        super().__init__(text)
        self.text = text
        self.hint = hint
        self.exit_code = exit_code

    def __str__(self) -> str:
        return f"{self.text}\n  {self.hint}" if self.hint else self.text
