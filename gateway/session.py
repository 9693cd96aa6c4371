"""What one client may do and has asked for: a frame's text in, replies and changes out, no I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from gateway import wire
from gateway.subscription import Sink, Subscription
from journal.filter import BadFilter, Filters, TooMany
from journal.opening import Bounds, opening
from journal.strict import quoted
from journal.texts import Gap, Id, Subscribed


class Rules(NamedTuple):
    """What holds for every session. ``bounds`` knows the channels: ``None`` means that there is no such channel.

    ``ahead`` is told the channel and offset of a client that has more of our epoch than was given. True: it may be
    right, another epoch is about to begin, and nothing may be answered in the name of this one.
    """

    bounds: Callable[[str], Bounds | None]
    max_subscriptions: int
    ahead: Callable[[str, int], bool] = lambda _channel, _offset: False
    filters: Filters = Filters()


class Outcome(NamedTuple):
    """What a frame leads to: first ``closed`` ends, then the replies go out, then ``opened`` begins.

    ``away``: nothing of this; the client is to come back in a while.
    """

    replies: tuple[wire.Control, ...]
    opened: Subscription | None = None
    closed: Subscription | None = None
    away: bool = False


class Session:
    """One client's subscriptions. They are few, so a tuple holds them in a third of a dictionary's memory."""

    __slots__ = ("_rules", "_sink", "subscriptions")

    def __init__(self, rules: Rules, sink: Sink) -> None:
        self._rules = rules
        self._sink = sink
        self.subscriptions: tuple[Subscription, ...] = ()

    def receive(self, text: str) -> Outcome:
        """Answer one text frame; never raises."""
        try:
            request = wire.decode(text)
        except wire.BadFrame as bad:
            return _refused("bad_request", bad.reason, bad.id)
        if isinstance(request, wire.Subscribe):
            return self._subscribe(request)
        if isinstance(request, wire.Unsubscribe):
            return self._unsubscribe(request)
        if isinstance(request, wire.Auth):
            return _refused("bad_request", "authentication is not configured", request.id)
        return Outcome((wire.Pong(id=request.id),))

    def _subscribe(self, request: wire.Subscribe) -> Outcome:
        channel = request.channel
        bounds = self._rules.bounds(channel)
        if bounds is None:
            return _unknown(channel, request.id)
        try:
            where = self._rules.filters.get(channel, request.where)
        except BadFilter as bad:
            return _refused("bad_filter", str(bad), request.id)
        except TooMany as limit:
            return _refused("limit", str(limit), request.id)
        replaced = self._find(channel)
        if replaced is None and len(self.subscriptions) >= self._rules.max_subscriptions:
            most = self._rules.max_subscriptions
            return _refused("limit", f"no more than {most} subscriptions on one connection", request.id)

        start = opening(request.start, bounds)
        if start.ahead and request.offset is not None and self._rules.ahead(channel, request.offset):
            return Outcome((), away=True)
        subscription = Subscription(channel, self._sink, start.offset, where, schema=bool(request.schema))
        self.subscriptions = (*(kept for kept in self.subscriptions if kept is not replaced), subscription)
        subscribed = Subscribed(
            subscription=channel,
            epoch=bounds.epoch,
            offset=start.offset,
            recovered=start.recovered,
            id=request.id,
        )
        replies: tuple[wire.Control, ...] = (subscribed,)
        if start.gap_reason is not None:
            after, before = start.gap_after, bounds.floor
            replies += (Gap(subscription=channel, after=after, before=before, reason=start.gap_reason),)
        return Outcome(replies, opened=subscription, closed=replaced)

    def _unsubscribe(self, request: wire.Unsubscribe) -> Outcome:
        channel = request.channel
        if self._rules.bounds(channel) is None:
            return _unknown(channel, request.id)
        closed = self._find(channel)
        self.subscriptions = tuple(kept for kept in self.subscriptions if kept is not closed)
        return Outcome((wire.Unsubscribed(subscription=channel, id=request.id),), closed=closed)

    def _find(self, channel: str) -> Subscription | None:
        for subscription in self.subscriptions:
            if subscription.channel == channel:
                return subscription
        return None


def _refused(code: wire.ErrorCode, reason: str, request_id: Id) -> Outcome:
    return Outcome((wire.Error(code=code, reason=reason, id=request_id),))


def _unknown(channel: str, request_id: Id) -> Outcome:
    return _refused("unknown_channel", f"no channel {quoted(channel)}: GET /api/channels lists them", request_id)
