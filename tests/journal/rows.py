"""Transactions to append, and what the tests look at."""

from __future__ import annotations

from collections.abc import Sequence

from journal.sqlite import SqliteJournal
from journal.types import INSERT, Change, Event, Transaction

A, B = "cctv_updates", "scraped_updates"
COMMITTED = 1_732_345_678.123456


def inserts(*messages: bytes, channel: str = A, checkpoint: str = "here") -> Transaction:
    """One transaction with an insert for each message."""
    return Transaction([Change(channel, INSERT, message) for message in messages], checkpoint, COMMITTED)


def rows(count: int, *, size: int = 20, channel: str = A, checkpoint: str = "here") -> list[Transaction]:
    """A batch of one transaction with so many different rows of about ``size`` bytes."""
    messages = [b'{"id":%d,"pad":"%s"}' % (number, b"x" * (size - 20)) for number in range(count)]
    return [inserts(*messages, channel=channel, checkpoint=checkpoint)]


async def read_all(journal: SqliteJournal, channel: str = A, after: int = 0, **page: int) -> list[Event]:
    """Every event after an offset, page by page."""
    events: list[Event] = []
    while found := await journal.read(channel, after, **page):
        events += found
        after = found[-1].offset
    return events


def offsets(events: Sequence[Event]) -> list[int]:
    """The events' offsets."""
    return [event.offset for event in events]
