"""A client that believes nothing: every frame is held against what was promised (docs/protocol.md).

On each subscription it must see the offsets after the one it was told, one by one, with the rows that belong to them;
events may be missing only where a gap frame says so and is right.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple, Protocol

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from tests.models.link import Link
from tests.models.loop import SteppedLoop

NEW_EPOCH, RESTART = 4001, 1012


class Bounds(NamedTuple):
    """What a channel offers at the moment of asking.

    ``may_be_older``: the journal was not born under our eyes, so a client that is ahead of it may be right.
    """

    epoch: str
    floor: int
    head: int
    may_be_older: bool


class World(Protocol):
    """What the client's judge knows of the other side."""

    loop: SteppedLoop

    def bounds(self, channel: str) -> Bounds:
        """The journal's bounds now."""

    def row(self, channel: str, offset: int) -> int | None:
        """The number of the row that has this offset for ever; None for a gap."""


class Asked(NamedTuple):
    """A subscribe frame on its way, and what must come of it: an offset, and the gap before it."""

    channel: str
    epoch: str
    offset: int
    gap: dict[str, Any] | None


class Following:
    """One channel's cursor: everything up to ``offset`` of ``epoch`` was seen, or announced as missing."""

    def __init__(self, asked: Asked) -> None:
        self.epoch = asked.epoch
        self.offset = asked.offset
        self.gap_due = asked.gap
        self.live = False


class Client:
    """A browser: at most one connection, its cursors outlive it."""

    def __init__(self, world: World, name: str) -> None:
        self.name = name
        self.reads = True
        self.cursors: dict[str, tuple[str, int]] = {}
        self.following: dict[str, Following] = {}
        self.link: Link | None = None
        self.rows = 0
        self._world = world

    # What it does

    def connect(self) -> None:
        """Open a connection."""
        self.reads = True
        self.following = {}
        self._asked: list[Asked | str] = []  # in the order in which answers must come; a str is an unsubscribe
        self._protocol = ClientProtocol(parse_uri("ws://127.0.0.1/"), max_size=None)
        self._doomed = ""
        self.link = Link(self._world.loop, self)
        self._protocol.send_request(self._protocol.connect())
        self._say()

    def subscribe(self, channel: str, **where: Any) -> None:
        """Ask for a channel: ``last``, or ``epoch`` and ``offset``, or from now on."""
        asked = expected(channel, self._world.bounds(channel), where)
        if asked is None:
            self._doomed = "it has more of our epoch than was given"
        else:
            self._asked.append(asked)
        self._send({"type": "subscribe", "channel": channel, "id": len(self._asked), **where})

    def unsubscribe(self, channel: str) -> None:
        """Stop a channel."""
        self._asked.append(channel)
        self._send({"type": "unsubscribe", "channel": channel})

    @property
    def open(self) -> bool:
        """Whether the handshake is done and nothing was said about an end."""
        return self.link is not None and self._protocol.state is State.OPEN

    def cut(self) -> None:
        """Lose the connection."""
        if self.link is not None:
            self.link.cut()

    def _send(self, frame: dict[str, Any]) -> None:
        self._protocol.send_text(json.dumps(frame).encode())
        self._say()

    def _say(self) -> None:
        for data in self._protocol.data_to_send():
            if self.link is None:
                break
            if data:
                self.link.say(data)

    # What it is told

    def take(self, data: bytes) -> None:
        """Bytes have come."""
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._frame(event)
        assert self._protocol.parser_exc is None, self._protocol.parser_exc
        self._world.loop.call_soon(self._say)  # pongs, and the answer to a close frame

    def lost(self) -> None:
        """The connection is gone."""
        self.link = None
        self.following = {}

    def _frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.CLOSE:
            self._closed(int.from_bytes(frame.data[:2], "big"))
        elif frame.opcode is Opcode.TEXT:
            content = json.loads(bytes(frame.data))
            if "channel" in content:
                self._event(content)
            else:
                getattr(self, "_" + content["type"])(content)

    def _closed(self, code: int) -> None:
        assert code in (NEW_EPOCH, RESTART), f"{self.name} was sent away with {code}"
        if code == NEW_EPOCH:
            held = {cursor.epoch for cursor in self.following.values()}
            now = {self._world.bounds(channel).epoch for channel in self.following}
            assert self._doomed or held != now or not held, "sent away, though the epoch is the same"
        self.following = {}

    def _event(self, frame: dict[str, Any]) -> None:
        channel, offset = frame["channel"], frame["offset"]
        following = self._expecting(channel)
        assert following.gap_due is None, f"a row came before the gap {following.gap_due}"
        assert offset == following.offset + 1, f"{self.name} has {channel}:{following.offset} and was sent {offset}"
        assert frame["message"]["n"] == self._world.row(channel, offset), f"{channel}:{offset} is another row"
        self.rows += 1
        self._pass(channel, following, offset)

    def _gap(self, frame: dict[str, Any]) -> None:
        channel, after, before = frame["subscription"], frame["after"], frame["before"]
        following = self._expecting(channel)
        told = {"after": after, "before": before, "reason": frame["reason"]}
        if following.gap_due is not None:
            assert told == following.gap_due, f"{told} instead of {following.gap_due}"
            following.gap_due = None
            return
        assert after == following.offset, f"{self.name} has {channel}:{following.offset}, the gap is after {after}"
        if frame["reason"] == "retention":
            assert after + 1 < before <= self._world.bounds(channel).floor, f"{told} were not let go of"
        else:
            assert before == after + 2
            assert self._world.row(channel, after + 1) is None, f"{told}, but there is a row"
        self._pass(channel, following, before - 1)

    def _subscribed(self, frame: dict[str, Any]) -> None:
        asked = self._answered()
        assert isinstance(asked, Asked)
        told = (frame["subscription"], frame["epoch"], frame["offset"], frame["recovered"])
        assert told == (asked.channel, asked.epoch, asked.offset, asked.gap is None), f"{told} answers {asked}"
        self.following[asked.channel] = following = Following(asked)
        self._pass(asked.channel, following, asked.offset)

    def _unsubscribed(self, frame: dict[str, Any]) -> None:
        assert self._answered() == frame["subscription"]
        self.following.pop(frame["subscription"], None)

    def _live(self, frame: dict[str, Any]) -> None:
        following = self._expecting(frame["subscription"])
        assert frame["offset"] == following.offset, f"said to be live at {frame}, and has {following.offset}"
        following.live = True

    def _heartbeat(self, _: dict[str, Any]) -> None:
        pass

    def _drain(self, _: dict[str, Any]) -> None:
        pass

    def _answered(self) -> Asked | str:
        assert self._asked, f"an answer to nothing{', though ' * bool(self._doomed)}{self._doomed}"
        return self._asked.pop(0)

    def _expecting(self, channel: str) -> Following:
        assert channel in self.following, f"{self.name} was sent something of {channel} and had not asked for it"
        return self.following[channel]

    def _pass(self, channel: str, following: Following, offset: int) -> None:
        following.offset = offset
        self.cursors[channel] = (following.epoch, offset)

    def check_complete(self) -> None:
        """Everybody had time: each channel followed is at its head, and nothing asked is unanswered."""
        if self.link is None:
            return
        assert not self._asked, f"{self.name} had no answer to {self._asked}"
        assert not self._doomed, f"{self.name} is still connected, though {self._doomed}"
        for channel, following in self.following.items():
            epoch, _, head, _ = self._world.bounds(channel)
            assert following.epoch == epoch, f"{self.name} follows {channel} in the old epoch"
            assert following.offset == head, f"{self.name} is left at {channel}:{following.offset}, the head is {head}"
            assert following.live, f"{self.name} was never told that {channel} is live"


def expected(channel: str, bounds: Bounds, where: dict[str, Any]) -> Asked | None:
    """What a subscription must begin with, from docs/protocol.md; None: the client is to come back."""
    epoch, floor, head, may_be_older = bounds
    offset = where.get("offset")
    if "last" in where:
        return Asked(channel, epoch, max(head - where["last"], floor - 1), None)
    if offset is None:
        return Asked(channel, epoch, head, None)
    if "epoch" not in where:
        return Asked(channel, epoch, floor - 1, None)
    if offset > head and where["epoch"] == epoch and may_be_older:
        return None
    if where["epoch"] != epoch or offset > head:
        return Asked(channel, epoch, floor - 1, {"after": 0, "before": floor, "reason": "epoch"})
    if offset < floor - 1:
        return Asked(channel, epoch, floor - 1, {"after": offset, "before": floor, "reason": "retention"})
    return Asked(channel, epoch, offset, None)
