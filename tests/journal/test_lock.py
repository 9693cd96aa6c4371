from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from journal.errors import JournalLocked
from journal.sqlite import SqliteJournal
from tests.journal.conftest import OpenJournal
from tests.journal.rows import A, rows

HOLD = """
import pathlib, sys
from journal.lock import JournalLock
lock = JournalLock(pathlib.Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


async def test_one_process_has_one_writer(open_journal: OpenJournal) -> None:
    """A second journal on the same file is refused within one process too, and the first goes on."""
    journal = await open_journal()

    with pytest.raises(JournalLocked, match=rf"pid {os.getpid()}\)") as raised:
        await open_journal()

    assert "journal.path" in raised.value.hint
    assert len(await journal.append(rows(1))) == 1


async def test_a_link_is_the_same_journal(open_journal: OpenJournal, path: Path) -> None:
    """A symbolic link to the file does not get around the lock."""
    await open_journal()
    link = path.with_name("link.db")
    link.symlink_to(path)

    with pytest.raises(JournalLocked):
        await SqliteJournal.open(link, [A])


async def test_another_process_is_named_and_its_death_frees(open_journal: OpenJournal, path: Path) -> None:
    """The refusal names the other process; killed with -9, it holds the lock no longer."""
    holder = subprocess.Popen([sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(JournalLocked, match=f"pid {holder.pid}"):
            await open_journal()
    finally:
        holder.kill()
        holder.communicate()

    await open_journal()
