"""Pages of events that many readers share: read once, filtered once, and each way of writing them made once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

from journal.columns import Columns
from journal.errors import JournalError
from journal.types import Event, JournalReader, Shape

PAGE_EVENTS = 512  # pages end at multiples of this offset, so that readers behind by the same share them

_EVENT_OVERHEAD = 640  # bytes of memory that an event of a page takes beside its message


class Run:
    """Consecutive events of one channel, and what filters see of them."""

    __slots__ = ("columns", "events", "first", "last", "size")

    def __init__(self, events: Sequence[Event], size: int) -> None:
        self.events = events
        self.first = events[0].offset
        self.last = events[-1].offset
        self.size = size  # bytes of messages, more or less
        self.columns = Columns(events)


R = TypeVar("R", bound=Run)


class Page(NamedTuple, Generic[R]):
    """A run of events, and what rows of the channel look like. ``whole``: reading again would give no more."""

    run: R
    whole: bool
    shapes: tuple[Shape, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of memory, at most: the messages, their texts singly and joined, and what filters look at."""
        return 3 * self.run.size + _EVENT_OVERHEAD * len(self.run.events)


class Counts(Protocol):
    """Where it is counted how often the journal was read, and how often a page was there already."""

    pages: int
    page_hits: int


class Pages(Generic[R]):
    """Reads pages and keeps the last few for others: thousands of clients that return at once need the same ones.

    ``make`` makes a run of events and their size. Pages are of about ``page_bytes`` of messages.
    """

    def __init__(
        self,
        journal: JournalReader,
        make: Callable[[Sequence[Event], int], R],
        counts: Counts,
        *,
        page_bytes: int,
        kept_bytes: int,
    ) -> None:
        self._journal = journal
        self._make = make
        self._counts = counts
        self._page_bytes = page_bytes
        self._room = kept_bytes
        self._most = kept_bytes // 4  # a larger page is not worth keeping
        self._kept: OrderedDict[tuple[str, str, int], Page[R]] = OrderedDict()

    async def read(self, channel: str, after: int, head: int) -> Page[R] | None:
        """The page after ``after``, nothing beyond ``head``; ``None`` when retention has left nothing to read."""
        key = (self._journal.epoch, channel, after)
        page = self._kept.get(key)
        if page is not None and (page.whole or page.run.last == head):
            self._kept.move_to_end(key)
            self._counts.page_hits += 1
            return page
        page = await self._load(channel, after, head)
        if page is not None:
            self._keep(key, page)
        return page

    async def _load(self, channel: str, after: int, head: int) -> Page[R] | None:
        boundary = (after // PAGE_EVENTS + 1) * PAGE_EVENTS
        stop = min(boundary, head)
        shapes = self._journal.shapes(channel)  # now, for retention may take some with the events, and pages are kept
        events = await self._journal.read(channel, after, limit=stop - after, max_bytes=self._page_bytes)
        self._counts.pages += 1
        events = [event for event in events if event.offset <= head]  # the page begins at the floor if that is higher
        if not events:
            return None
        run = self._make(events, sum(event.size for event in events))
        return Page(run, run.last >= boundary or run.last < head, shapes)

    def _keep(self, key: tuple[str, str, int], page: Page[R]) -> None:
        if page.size > self._most:
            return
        replaced = self._kept.pop(key, None)
        self._room += replaced.size if replaced else 0
        self._kept[key] = page
        self._room -= page.size
        while self._room < 0:
            _, oldest = self._kept.popitem(last=False)
            self._room += oldest.size


def resumes_at(page: Page[R] | None, after: int, floor: int, head: int) -> int:
    """The first offset that a reader behind ``after`` can still have; more than ``after + 1`` is a gap.

    ``page`` is what ``Pages.read`` gave it, ``floor`` the channel's of now. Raises ``JournalError`` when the event is
    missing though it is kept.
    """
    if page is not None:
        return page.run.first
    first = min(floor, head + 1)
    if first <= after + 1:
        raise JournalError(f"There is no event {after + 1}, though it is kept.")
    return first
