"""Where a request wants to read, out of its query: channel, beginning and filter. And the cursor that reads on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import falcon.asgi

from api.errors import BadFilterGiven, BadQuery, Failure, FiltersFull, NewEpoch, NoSuchChannel
from api.feed import Feed
from api.lines import Lines
from journal.errors import UnknownChannel
from journal.filter import BadFilter, Filter, TooMany
from journal.opening import MAX_LAST, MAX_OFFSET, Bounds, Start, opening
from journal.shared import PAGE_EVENTS, resumes_at
from journal.strict import NotJson, parse
from journal.texts import Gap
from journal.types import Cursor

_CURSOR = re.compile(r"(?P<epoch>[^\s:]{1,64}):(?P<offset>[0-9]{1,19})", re.ASCII)
_NUMBER = re.compile("[0-9]{1,9}")


class Step(NamedTuple):
    """What a cursor came upon: ``gap`` first, then the events of ``lines`` at ``places``."""

    gap: Gap | None
    lines: Lines | None
    places: Sequence[int]


class ChannelCursor:
    """A place in one channel that moves on, and what is passed over on the way.

    Raises ``NewEpoch`` when the client holds more than was given and may be right.
    """

    def __init__(self, feed: Feed, channel: str, start: Start, where: Filter | None) -> None:
        journal = feed.journal
        bounds = Bounds(journal.epoch, journal.floor(channel), journal.head(channel))
        begun = opening(start, bounds)
        if begun.ahead and start.cursor is not None and feed.ahead(channel, start.cursor.offset):
            raise NewEpoch
        self._feed = feed
        self.channel = channel
        self.epoch = bounds.epoch
        self.where = where
        self.offset = begun.offset
        self.recovered = begun.recovered
        self.gap: Gap | None = None  # of the beginning
        if begun.gap_reason is not None:
            self.gap = Gap(subscription=channel, after=begun.gap_after, before=bounds.floor, reason=begun.gap_reason)
            feed.stats.gaps += 1

    @property
    def text(self) -> str:
        """``epoch:offset``: everything up to it was told."""
        return f"{self.epoch}:{self.offset}"

    @property
    def missing(self) -> int:
        """How many events there are behind it. Raises ``NewEpoch`` when its epoch is over."""
        journal = self._feed.journal
        if journal.epoch != self.epoch:
            raise NewEpoch
        return journal.head(self.channel) - self.offset

    @property
    def far(self) -> bool:
        """Whether more is missing than one page has."""
        return self.missing > PAGE_EVENTS

    async def step(self, limit: int | None = None) -> Step:
        """Move over the next page, or up to the ``limit``-th event of it that passes. Something must be missing."""
        async with self._feed.reading:
            # No await from the look at the epoch to that for the page: what lies up to the head is of this epoch.
            head, after = self.missing + self.offset, self.offset
            page = await self._feed.page(self.channel, after, head)
        first = resumes_at(page, after, self._feed.journal.floor(self.channel), head)
        gap = None
        if first > after + 1:
            gap = Gap(subscription=self.channel, after=after, before=first, reason="retention")
            self._feed.stats.gaps += 1
            self.offset = first - 1
        if page is None:
            return Step(gap, None, ())
        places = page.run.choose(self.where)
        if limit is None or len(places) <= limit:
            self.offset = page.run.last
        else:
            places = places[:limit]
            self.offset = page.run.events[places[-1]].offset
        self._feed.stats.deliveries += len(places)
        return Step(gap, page.run, places)


def asked_cursor(req: falcon.asgi.Request, feed: Feed, channel: str) -> ChannelCursor:
    """The cursor that a request asks for. Raises ``NoSuchChannel``, ``BadQuery``, ``BadFilterGiven``, ``NewEpoch``."""
    try:
        feed.journal.head(channel)
    except UnknownChannel:
        raise NoSuchChannel from None
    return ChannelCursor(feed, channel, _start(req), _where(req, feed, channel))


def number(req: falcon.asgi.Request, name: str, most: int, least: int = 0) -> int | None:
    """A whole number out of the query, if it is there; raises ``BadQuery``."""
    given = req.get_param(name)
    if given is None:
        return None
    if not _NUMBER.fullmatch(given) or not least <= int(given) <= most:
        raise BadQuery(Failure(error=f"{name}: expected a number from {least} to {most}", path=name))
    return int(given)


def _start(req: falcon.asgi.Request) -> Start:
    resumed = req.get_header("Last-Event-ID")
    if resumed:  # from a browser that comes back to the address it began with
        return Start(_cursor("Last-Event-ID", resumed))
    after, last = req.get_param("after"), number(req, "last", MAX_LAST)
    if after is None:
        return Start(last=last)
    if last is not None:
        raise BadQuery(Failure(error="last: cannot stand beside after", path="last"))
    return Start(everything=True) if after == "0" else Start(_cursor("after", after))


def _cursor(name: str, text: str) -> Cursor:
    found = _CURSOR.fullmatch(text)
    if found is None or int(found["offset"]) > MAX_OFFSET:
        hint = "as it came: an event's id, or next"
        raise BadQuery(Failure(error=f"{name}: expected epoch:offset", path=name, hint=hint))
    return Cursor(found["epoch"], int(found["offset"]))


def _where(req: falcon.asgi.Request, feed: Feed, channel: str) -> Filter | None:
    text = req.get_param("where")
    if text is None:
        return None
    try:
        wanted = parse(text)
    except NotJson as error:
        raise BadQuery(Failure(error=f"where: {error}", path="where")) from None
    try:
        return feed.filters.get(channel, wanted)
    except BadFilter as bad:
        raise BadFilterGiven(Failure(error="The filter cannot be used", reason=str(bad), path="where")) from None
    except TooMany as limit:
        raise FiltersFull(Failure(error="Too many different filters", reason=str(limit))) from None
