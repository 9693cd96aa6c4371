"""What a look at the source turned up."""

from __future__ import annotations

from typing import Literal, NamedTuple

Level = Literal["ok", "warn", "fail"]


class Finding(NamedTuple):
    """One thing looked at. ``mend`` is the exact SQL or my.cnf text that puts it right, empty when it is right."""

    level: Level
    subject: str
    text: str
    mend: str = ""

    @property
    def fatal(self) -> bool:
        """Whether rows would be missing: capture must not start."""
        return self.level == "fail"
