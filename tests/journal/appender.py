"""Appends until it is killed: ``python appender.py PATH SEED``. Prints a line for each append that has returned.

The checkpoint names how many events each channel holds with the batch in, so the file can be checked against itself.
"""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from journal.sqlite import SqliteJournal
from journal.types import INSERT, Change, Transaction

CHANNELS = ("a", "b")


def message(channel: str, offset: int) -> bytes:
    """What the event at this offset says; some are large."""
    size = 20_000 if offset % 97 == 0 else offset % 50
    return f"{channel} {offset} ".encode() + b"x" * size


async def main(path: Path, chance: random.Random) -> None:
    """Append random batches, and trim now and then."""
    journal = await SqliteJournal.open(path, CHANNELS)
    counts = {name: journal.head(name) for name in CHANNELS}
    while True:
        batch = []
        for _ in range(chance.randrange(1, 5)):
            changes = []
            for _ in range(chance.randrange(30)):
                name = chance.choice(CHANNELS)
                counts[name] += 1
                changes.append(Change(name, INSERT, message(name, counts[name])))
            batch.append(Transaction(changes, f"{counts['a']} {counts['b']}", 1.5))
        await journal.append(batch)
        sys.stdout.write(f"{counts['a']} {counts['b']}\n")
        sys.stdout.flush()
        if chance.random() < 0.1:
            await journal.trim(1e9, 400_000)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), random.Random(int(sys.argv[2]))))
