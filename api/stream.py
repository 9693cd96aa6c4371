"""``GET /api/stream/{channel}``: a channel as server-sent events, for a browser's ``EventSource`` and for curl.

What the gateway writes to a WebSocket comes here too, word for word: data as messages, the rest as events that are
named like their ``type``. Each has its cursor as ``id``, so a browser that comes back says by itself where it was.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import falcon.asgi

from api.client import SCOPE_KEY, Client
from api.cursor import ChannelCursor, asked_cursor
from api.errors import ComeBack, ReadersFull
from api.feed import Feed
from api.lines import BEAT, control
from api.origins import Origins
from journal.errors import JournalError
from journal.texts import RECONNECT_MS, Drain, Live, Progress, Subscribed

NO_ROOM_MS = (5_000, 15_000)  # before one comes back who found no room
MEDIA_EVENTS = "text/event-stream"


class Stream:
    """Streams the channels of a feed."""

    def __init__(self, feed: Feed, origins: Origins) -> None:
        self._feed = feed
        self._origins = origins

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, channel: str) -> None:
        """Answer with events until the client leaves or the server does."""
        self._origins.admit(req, resp)
        answer = self._answer(req, channel)
        resp.content_type = MEDIA_EVENTS
        resp.set_header("X-Accel-Buffering", "no")  # nginx would keep it until it has a few kilobytes
        resp.sse = _written(answer)

    def _answer(self, req: falcon.asgi.Request, channel: str) -> AsyncIterator[bytes]:
        # What may be better in a while is not answered with 503: an EventSource would never come back.
        try:
            cursor = asked_cursor(req, self._feed, channel)
            self._feed.check_room()
        except ReadersFull:
            return _farewell(NO_ROOM_MS)
        except (ComeBack, JournalError):
            return _farewell()
        return _Streaming(self._feed, cursor, req.scope[SCOPE_KEY]).chunks()


class _Streaming:
    """One client's stream."""

    def __init__(self, feed: Feed, cursor: ChannelCursor, client: Client) -> None:
        self._feed = feed
        self._cursor = cursor
        self._client = client
        self._told = cursor.offset  # the last id sent
        self._due = 0.0  # when it has to hear something again
        self._now = asyncio.get_running_loop().time

    async def chunks(self) -> AsyncIterator[bytes]:
        """What to send, piece by piece; the next is not made before there is room for it."""
        with self._feed.streaming():
            yield self._beginning()
            self._due = self._now() + self._feed.heartbeat
            try:
                async for chunk in self._events():
                    yield chunk
                    self._due = self._now() + self._feed.heartbeat
            except (ComeBack, JournalError):
                pass  # the client comes back, and is told more then
            if not self._client.gone:
                async for chunk in _farewell():
                    yield chunk

    def _beginning(self) -> bytes:
        cursor = self._cursor
        subscribed = Subscribed(
            subscription=cursor.channel, epoch=cursor.epoch, offset=cursor.offset, recovered=cursor.recovered
        )
        gap = b"" if cursor.gap is None else control(cursor.gap, cursor=cursor.text)
        # Until something is told behind the gap, who is cut off shall be told of it again: no id before.
        first = control(subscribed, cursor="" if cursor.gap else cursor.text)
        return _retry(RECONNECT_MS) + first + gap

    async def _events(self) -> AsyncIterator[bytes]:
        feed, cursor = self._feed, self._cursor
        live = woken = False
        while not feed.closing and not self._client.gone:
            if cursor.missing:
                live = live and not cursor.far
                if not woken:
                    await feed.turn()
                woken = False
                if chunk := await self._page():
                    yield chunk
            elif not live:
                live = True
                yield self._here(Live(subscription=cursor.channel, offset=cursor.offset))
            else:
                woken = await feed.arrival(cursor.channel, cursor.offset, self._client, self._due - self._now())
            if self._now() >= self._due:
                yield self._beat()

    async def _page(self) -> bytes:
        gap, lines, places = await self._cursor.step()
        chunk = b""
        if gap is not None:
            self._told = gap.before - 1
            chunk = control(gap, cursor=f"{self._cursor.epoch}:{self._told}")
        if lines is not None and places:
            sent = lines.sent(places, self._cursor.epoch)
            self._told = lines.events[places[-1]].offset
            self._feed.stats.bytes += len(sent)
            chunk += sent
        return chunk

    def _beat(self) -> bytes:
        """A sign of life; if a filter has held something back since, how far it has come."""
        cursor = self._cursor
        if cursor.offset == self._told:
            return BEAT
        return self._here(Progress(subscription=cursor.channel, offset=cursor.offset))

    def _here(self, message: Live | Progress) -> bytes:
        self._told = self._cursor.offset
        return control(message, cursor=self._cursor.text)


async def _farewell(reconnect_ms: tuple[int, int] = RECONNECT_MS) -> AsyncIterator[bytes]:
    """Come back, not all at once."""
    yield _retry(reconnect_ms) + control(Drain(reconnect_ms=reconnect_ms))


def _retry(between: tuple[int, int]) -> bytes:
    """How long a browser waits before it comes back, also after a cut: with any luck not like all the others."""
    return b"retry: %d\n" % random.randint(*between)  # noqa: S311 - spreads the return, hides nothing


class _Chunk:
    """What Falcon takes for an event: anything that has its text."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = data

    def serialize(self, _handler: Any = None) -> bytes:
        """The text, made already."""
        return self._data


async def _written(chunks: AsyncIterator[bytes]) -> AsyncIterator[Any]:
    async for chunk in chunks:
        yield _Chunk(chunk)
