"""A damaged journal is put away whole, under a name of its own, and a new one takes its place."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from journal.errors import JournalError
from journal.file import connect, create, explained, explained_os, sync_folder
from journal.lock import JournalLock
from journal.schema import APPLICATION_ID, load_state
from journal.witness import hear

_ID_AT = slice(68, 72)  # https://www.sqlite.org/fileformat.html, section 1.3


def was_ours(path: Path) -> bool:
    """Whether a journal lies at ``path``, or lay there once: its header says so, or the witness beside it."""
    with path.open("rb") as file:
        header = file.read(_ID_AT.stop)
    return header[_ID_AT] == APPLICATION_ID.to_bytes(4, "big") or hear(path) is not None


def set_aside(path: Path, carry_over: Callable[[str], str]) -> Path:
    """Move a damaged journal out of the way and make a new one; returns where the old one is.

    The new one resumes where the old one's state says, if that can still be read, so that no row of the log is missed
    on the way: at what ``carry_over`` makes of its checkpoint. Raises ``JournalError``.
    """
    with explained_os(path):
        lock = JournalLock(path)
        try:
            aside = _free_name(path)
            for suffix in ("", "-wal", "-shm"):
                with suppress(FileNotFoundError):
                    path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
            sync_folder(path.parent)
            checkpoint = _checkpoint(aside)
            create(path, None if checkpoint is None else carry_over(checkpoint))
        finally:
            lock.release()
    return aside


def _free_name(path: Path) -> Path:
    name = f"{path.name}.damaged-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    number = 1
    aside = path.with_name(name)
    while any(aside.with_name(aside.name + suffix).exists() for suffix in ("", "-wal", "-shm")):
        number += 1
        aside = path.with_name(f"{name}-{number}")
    return aside


def _checkpoint(aside: Path) -> str | None:
    try:
        connection = connect(aside, read_only=True)
        try:
            with explained(connection, aside):
                return load_state(connection).checkpoint
        finally:
            connection.close()
    except JournalError:
        return None
