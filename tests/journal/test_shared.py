from __future__ import annotations

import pytest

from journal.errors import JournalError
from journal.shared import PAGE_EVENTS, Page, Pages, Run, resumes_at
from tests.gateway.memory import MemoryJournal

CHANNEL = "cctv_updates"


class Counts:
    """Nobody looks at these."""

    pages = page_hits = 0


def make_pages(journal: MemoryJournal, kept_bytes: int = 32 << 20) -> Pages[Run]:
    return Pages(journal, Run, Counts(), page_bytes=256 * 1024, kept_bytes=kept_bytes)


async def test_a_kept_page_grows_with_the_channel() -> None:
    """The page at the head is read again when there is more; whole pages are not."""
    journal = MemoryJournal([CHANNEL])
    pages = make_pages(journal)
    journal.append(CHANNEL, [b"{}"] * 10)
    first = await pages.read(CHANNEL, 0, 10)
    assert first is not None
    assert (first.run.first, first.run.last, first.whole) == (1, 10, False)
    assert await pages.read(CHANNEL, 0, 10) is first
    journal.append(CHANNEL, [b"{}"] * PAGE_EVENTS)
    second = await pages.read(CHANNEL, 0, 10 + PAGE_EVENTS)
    assert second is not None
    assert (second.run.last, second.whole) == (PAGE_EVENTS, True)
    journal.append(CHANNEL, [b"{}"])
    assert await pages.read(CHANNEL, 0, 11 + PAGE_EVENTS) is second


async def test_kept_pages_are_bounded() -> None:
    """Memory for kept pages has an end: the oldest go, and a page too large is not kept."""
    journal = MemoryJournal([CHANNEL])
    journal.append(CHANNEL, [b'"%b"' % (b"x" * 1000)] * 20 * PAGE_EVENTS)
    journal.append(CHANNEL, [b'"%b"' % (b"x" * 1_000_000)])
    pages = make_pages(journal, 8_000_000)
    after, head = 0, journal.head(CHANNEL)
    while after < head:
        page = await pages.read(CHANNEL, after, head)
        assert page is not None
        after = page.run.last
        assert sum(kept.size for kept in pages._kept.values()) == 8_000_000 - pages._room <= 8_000_000
    assert len(pages._kept) > 3
    assert max(kept.size for kept in pages._kept.values()) < 2_000_000


async def test_a_page_that_begins_at_the_floor_overtakes_nothing_either() -> None:
    """When retention moves the beginning of a page, its end still is what was published."""
    journal = MemoryJournal([CHANNEL])
    journal.append(CHANNEL, [b"{}"] * 20)
    journal.trim(CHANNEL, 6)
    page = await make_pages(journal).read(CHANNEL, 0, 10)
    assert page is not None
    assert (page.run.first, page.run.last) == (6, 10)


async def test_a_new_epoch_shares_no_page_with_the_old() -> None:
    """A journal that lies in the place of another may hold other rows under the same offsets."""
    journal = MemoryJournal([CHANNEL])
    journal.append(CHANNEL, [b'"old"'])
    pages = make_pages(journal)
    await pages.read(CHANNEL, 0, 1)
    journal.epoch = "m2aa"
    journal._events[CHANNEL].clear()
    journal.append(CHANNEL, [b'"new"'])
    page = await pages.read(CHANNEL, 0, 1)
    assert page is not None
    assert page.run.events[0].message == b'"new"'


def test_where_reading_goes_on() -> None:
    """A page tells by its first event; without one the floor does, and a hole that no floor explains is an error."""
    journal = MemoryJournal([CHANNEL])
    page = Page(Run(journal.append(CHANNEL, [b"{}"] * 9)[6:], 6), whole=True)
    assert resumes_at(page, 6, 1, 9) == 7
    assert resumes_at(page, 2, 7, 9) == 7
    assert resumes_at(None, 2, 10, 9) == 10
    assert resumes_at(None, 2, 12, 9) == 10  # what lies behind the head is for the next page
    with pytest.raises(JournalError):
        resumes_at(None, 2, 3, 9)
