"""A second opinion on how far the journal has come: one line in a small file beside it.

The journal alone cannot know that it is an older copy of itself, restored from a backup or rolled back with a damaged
write-ahead log; going on from there, it would give offsets that browsers hold to other rows. The witness remembers
the epoch and how many offsets had been given at the last commit (docs/decisions/0010-the-journals-witness.md).

It is written after a commit has returned and never before, so a killed process leaves it level with the journal or
one commit behind. It is not synced: a power failure can only make it older than a journal that is.
"""

from __future__ import annotations

import os
import zlib
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from journal.schema import State

_SOUND, _SUSPECT = "sound", "suspect"


class Testimony(NamedTuple):
    """What a witness says. ``suspect``: damage was met, so the whole journal must be looked at before it is served."""

    epoch: str
    given: int
    suspect: bool

    def line(self) -> bytes:
        """The file's content; always as long, so that it is written over in place."""
        said = f"{self.epoch:8} {self.given:020} {_SUSPECT if self.suspect else _SOUND:7}"
        return f"{said} {zlib.crc32(said.encode()):08x}\n".encode()


def hear(journal: Path) -> Testimony | None:
    """The witness of a journal; None when there is none, or what it says cannot be read."""
    try:
        epoch, given, word, _ = (content := _beside(journal).read_bytes()).decode("ascii").split()
        testimony = Testimony(epoch, int(given), word == _SUSPECT)
    except (FileNotFoundError, ValueError):
        return None
    return testimony if testimony.line() == content else None


def contradiction(testimony: Testimony | None, state: State) -> str | None:
    """Why a journal in this state may be an older copy of itself; None when it is shown to be none."""
    if testimony is None:
        return "there is no witness beside it that could tell it from an older copy"
    if testimony.epoch != state.epoch:
        return f"it is of epoch {state.epoch}, and the last one here was of {testimony.epoch}"
    if testimony.given > state.given:
        return f"it is an older copy: {state.given} events were ever in it, and {testimony.given} in the last one here"
    return None


def testify(journal: Path, epoch: str, given: int) -> None:
    """Write a witness, durably."""
    descriptor = _open(journal)
    try:
        os.ftruncate(descriptor, os.pwrite(descriptor, Testimony(epoch, given, suspect=False).line(), 0))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Witness:
    """The witness of an open journal, told of every commit."""

    def __init__(self, journal: Path, state: State) -> None:
        testify(journal, state.epoch, state.given)
        self._descriptor = _open(journal)
        self._state = state
        self._suspect = False

    def note(self, state: State) -> None:
        """Remember a commit that has returned."""
        self._state = state
        with suppress(OSError):  # then it is older than the journal, which does no harm
            self._write()

    def suspect(self) -> None:
        """Remember that damage was met, for the next start."""
        self._suspect = True
        with suppress(OSError):  # then the next start looks at what it always looks at
            self._write()
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)

    def _write(self) -> None:
        os.pwrite(self._descriptor, Testimony(self._state.epoch, self._state.given, self._suspect).line(), 0)


def _beside(journal: Path) -> Path:
    return journal.with_name(journal.name + ".witness")


def _open(journal: Path) -> int:
    return os.open(_beside(journal), os.O_RDWR | os.O_CREAT, 0o600)
