"""Is the file what its state says? Asked when it is opened for writing."""

from __future__ import annotations

from pathlib import Path

import apsw

from journal.errors import JournalDamaged
from journal.pages import Ask, read_page
from journal.schema import MAX_OFFSET, SET_ASIDE, ChannelRow, State

CHECKED_WHOLE = 256 << 20  # bytes; a file up to this size is checked whole (measured: 0.3 s)

_ENDS = "SELECT min(id), max(id) FROM event WHERE id BETWEEN ? AND ?"


def check(connection: apsw.Connection, path: Path, state: State, *, suspect: bool = False) -> None:
    """Raise ``JournalDamaged`` unless the file holds what its state says.

    The tree is walked as a whole up to ``CHECKED_WHOLE`` only, so that 4 GiB do not hold up a start; beyond that a
    damaged page is found when it is read, for every event carries a checksum that is compared on the way out. A
    ``suspect`` file, in which a reader has met damage, is walked whatever its size, and every event in it is read.
    """
    for row in state.channels.values():
        _check_ends(connection, path, row)
    if suspect or path.stat().st_size <= CHECKED_WHOLE:
        said = connection.execute("PRAGMA quick_check(1)").get
        if said != "ok":
            raise JournalDamaged(f"{path} is damaged: {said}.", SET_ASIDE)
    if suspect:
        for row in state.channels.values():
            _read_through(connection, row, state.epoch)


def _read_through(connection: apsw.Connection, row: ChannelRow, epoch: str) -> None:
    after = row.floor - 1
    while after < row.head:
        after = read_page(connection, Ask(row.name, after, 1_000, 1 << 20, row.head), {epoch})[-1].offset


def _check_ends(connection: apsw.Connection, path: Path, row: ChannelRow) -> None:
    """A channel's first and last events must be where its bounds are, and none outside."""
    ((first, last),) = connection.execute(_ENDS, (row.key(0), row.key(MAX_OFFSET)))
    expected = (row.key(row.floor), row.key(row.last)) if row.floor <= row.last else (None, None)
    if (first, last) != expected:
        raise JournalDamaged(
            f"{path} is damaged: channel {row.name} should hold events {row.floor} to {row.last}.", SET_ASIDE
        )
