from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from journal.sqlite import SqliteJournal
from tests.journal import appender
from tests.journal.rows import offsets, read_all


def run_and_kill(path: Path, seed: int, lines: int) -> list[int]:
    """Run the appender, kill it with -9 after so many lines; the counts it last acknowledged."""
    command = [sys.executable, appender.__file__, path, str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        last = ""
        for _ in range(lines):
            last = process.stdout.readline()
        process.kill()
        rest = process.stdout.read().splitlines()
    complete = [line for line in [last.strip(), *rest] if len(line.split()) == 2]
    return [int(count) for count in complete[-1].split()]


@pytest.mark.parametrize("seed", range(4))
async def test_a_killed_writer_loses_nothing_it_acknowledged(path: Path, seed: int) -> None:
    """Killed with -9 at random, again and again: what was acknowledged is there, dense, with its checkpoint."""
    chance = random.Random(seed)
    epochs = set()
    for life in range(5):
        acknowledged = run_and_kill(path, seed * 100 + life, chance.randrange(1, 60))

        journal = await SqliteJournal.open(path, appender.CHANNELS, tail_bytes=10_000)
        heads = [journal.head(name) for name in appender.CHANNELS]
        assert all(head >= count for head, count in zip(heads, acknowledged, strict=True))
        assert journal.checkpoint == f"{heads[0]} {heads[1]}"
        for name in appender.CHANNELS:
            events = await read_all(journal, name)
            assert offsets(events) == list(range(journal.floor(name), journal.head(name) + 1))
            assert [event.message for event in events] == [appender.message(name, event.offset) for event in events]
        epochs.add(journal.epoch)  # the witness beside it was killed too, and never ahead
        await journal.close()
    assert len(epochs) == 1
