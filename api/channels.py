"""``GET /api/channels``: what can be subscribed to, and how far back it reaches."""

from __future__ import annotations

import falcon.asgi
import msgspec

from api.origins import Origins
from journal.types import JournalReader


class Channel(msgspec.Struct):
    """A channel and its bounds: ``floor`` is the oldest offset kept, ``head`` the newest; ``rate`` is per second."""

    channel: str
    floor: int
    head: int
    bytes: int
    rate: float


class ChannelList(msgspec.Struct):
    """All channels of a journal; offsets mean nothing without the epoch."""

    epoch: str
    channels: list[Channel]


class Channels:
    """Lists the channels of the journal."""

    def __init__(self, journal: JournalReader, origins: Origins) -> None:
        self._journal = journal
        self._origins = origins

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Answer with every channel, by name."""
        self._origins.admit(req, resp)
        states = sorted(self._journal.channels().items())
        channels = [Channel(name, s.floor, s.head, s.bytes, round(s.rate, 1)) for name, s in states]
        resp.data = msgspec.json.encode(ChannelList(self._journal.epoch, channels))

    on_head = on_get
