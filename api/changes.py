"""``GET /api/changes/{channel}``: what has happened since a cursor, for scripts: at once, or when something comes."""

from __future__ import annotations

import asyncio

import falcon.asgi
import msgspec

from api.client import SCOPE_KEY, Client
from api.cursor import ChannelCursor, asked_cursor, number
from api.errors import ComeBack, Stopping
from api.feed import Feed
from api.origins import Origins
from journal.texts import Data, Gap, encode
from journal.types import GAP

MAX_LIMIT = 1000
DEFAULT_LIMIT = 100
MAX_WAIT = 60  # seconds; proxies cut what is silent for longer
LOOK_SECONDS = 1.0  # that a filter which lets little pass may take, also without ``wait``
MOST_BYTES = 256 * 1024  # of events in one answer, but for the last page


class Changes(msgspec.Struct, kw_only=True):
    """Ask again ``after`` ``next``, at once unless it is ``live``. Data and gaps are in the order of their offsets."""

    channel: str
    epoch: str
    next: str
    live: bool
    gaps: list[Gap]
    events: list[Data]


class ChannelChanges:
    """Answers polls for the channels of a feed."""

    def __init__(self, feed: Feed, origins: Origins) -> None:
        self._feed = feed
        self._origins = origins

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, channel: str) -> None:
        """Answer with events, if need be after ``wait`` seconds with none."""
        self._origins.admit(req, resp)
        limit = number(req, "limit", MAX_LIMIT, least=1) or DEFAULT_LIMIT
        wait = number(req, "wait", MAX_WAIT) or 0
        cursor = asked_cursor(req, self._feed, channel)
        if self._feed.closing:
            raise Stopping
        self._feed.check_room()
        with self._feed.polling():
            poll = _Poll(self._feed, cursor, limit, wait)
            await poll.run(req.scope[SCOPE_KEY])
        resp.data = poll.answer()


class _Poll:
    """One answer in the making."""

    def __init__(self, feed: Feed, cursor: ChannelCursor, limit: int, wait: float) -> None:
        self._feed = feed
        self._cursor = cursor
        self._left = limit
        self._now = asyncio.get_running_loop().time
        self._deadline = self._now() + wait
        self._look_until = self._now() + max(wait, LOOK_SECONDS)
        self._size = 0
        self._live = False
        self._events: list[bytes] = []
        self._gaps = [] if cursor.gap is None else [encode(cursor.gap)]

    async def run(self, client: Client) -> None:
        """Collect what there is, else wait for something."""
        watch = asyncio.create_task(client.watch())
        try:
            await self._collect(client)
            self._live = not self._cursor.missing
        except ComeBack:
            pass  # the epoch is over: who asks again with its cursor is told
        finally:
            watch.cancel()

    async def _collect(self, client: Client) -> None:
        cursor = self._cursor
        while self._left > 0 and self._size < MOST_BYTES:
            if cursor.missing:
                await self._feed.turn()
                await self._step()
                if self._now() >= self._look_until:
                    break
            elif self._events or self._gaps or (not await self._arrival(client) and self._is_over(client)):
                break

    def _is_over(self, client: Client) -> bool:
        """Whether nothing is waited for any more; who is woken for another's event waits on."""
        return self._feed.closing or client.gone or self._now() >= self._deadline

    async def _arrival(self, client: Client) -> bool:
        cursor, seconds = self._cursor, self._deadline - self._now()
        return await self._feed.arrival(cursor.channel, cursor.offset, client, seconds)

    async def _step(self) -> None:
        gap, lines, places = await self._cursor.step(self._left)
        if gap is not None:
            self._gaps.append(encode(gap))
        if lines is None:
            return
        for place in places:
            text = lines.text(place)
            (self._gaps if lines.events[place].op == GAP else self._events).append(text)
            self._size += len(text)
        self._left -= len(places)

    def answer(self) -> bytes:
        """``Changes`` as JSON, its events as they are."""
        cursor = self._cursor
        self._feed.stats.bytes += self._size
        about = {"channel": cursor.channel, "epoch": cursor.epoch, "next": cursor.text, "live": self._live}
        gaps, events = b",".join(self._gaps), b",".join(self._events)
        return b'%b,"gaps":[%b],"events":[%b]}' % (encode(about)[:-1], gaps, events)
