"""What readers of a channel are sent, as JSON: the same over WebSocket, event streams and long polls.

One rule holds for all of it: a text with ``channel`` is data, one with ``type`` is control; none has both. Messages
come from the journal as JSON and go out as they are: nothing here parses or encodes them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from journal.types import GAP, INSERT, UPDATE, Event

RECONNECT_MS = (200, 5000)

Id = str | int | float | None


class Subscribed(msgspec.Struct, tag_field="type", tag="subscribed", omit_defaults=True, kw_only=True):
    """The next event sent is the first one after ``offset``."""

    subscription: str
    epoch: str
    offset: int
    recovered: bool
    id: Id = None


class Live(msgspec.Struct, tag_field="type", tag="live", kw_only=True):
    """Caught up with the channel's head."""

    subscription: str
    offset: int


class Progress(msgspec.Struct, tag_field="type", tag="progress", kw_only=True):
    """Everything up to ``offset`` that passes the subscription's filter has been sent: resume after it."""

    subscription: str
    offset: int


class Gap(msgspec.Struct, tag_field="type", tag="gap", kw_only=True, omit_defaults=True):
    """Events between ``after`` and ``before`` (both exclusive) will not come, and why; ``detail`` is for people."""

    subscription: str
    after: int
    before: int
    reason: str
    detail: str | None = None


class Column(msgspec.Struct, kw_only=True):
    """One column: its ``type`` in SQL, and whether it is part of the primary ``key``."""

    name: str
    type: str
    nullable: bool
    key: bool


class Schema(msgspec.Struct, tag_field="type", tag="schema", kw_only=True):
    """What the rows that follow look like."""

    subscription: str
    columns: list[Column]


class Drain(msgspec.Struct, tag_field="type", tag="drain", kw_only=True):
    """The server goes away: come back after a random time between these two."""

    reconnect_ms: tuple[int, int]


class Data(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A row. Only described here, for readers and documents: ``event_text`` writes it without this struct."""

    channel: str
    offset: int
    message: msgspec.Raw
    op: str | None = None
    old: dict[str, Any] | None = None


encode = msgspec.json.Encoder().encode


def event_text(event: Event) -> bytes:
    """The text of one event: data, or for a gap event the control text that announces it."""
    channel, offset, op, message, _, old = event
    if op == INSERT:
        return b'%b%d,"message":%b}' % (_prefix(channel), offset, message)
    if op == GAP:
        told = _gap_message(message)
        detail = told.detail if told.position is None else f"{told.detail}, at {told.position}"
        return encode(Gap(subscription=channel, after=offset - 1, before=offset + 1, reason=told.reason, detail=detail))
    if op == UPDATE:
        return b'%b%d,"op":"update","old":%b,"message":%b}' % (_prefix(channel), offset, old, message)
    return b'%b%d,"op":%b,"message":%b}' % (_prefix(channel), offset, encode(op), message)


@lru_cache(maxsize=256)
def _prefix(channel: str) -> bytes:
    return b'{"channel":%b,"offset":' % encode(channel)


class _GapMessage(msgspec.Struct):
    reason: str
    detail: str | None = None
    position: str | None = None


def _gap_message(message: bytes) -> _GapMessage:
    try:
        return msgspec.json.decode(message, type=_GapMessage)
    except msgspec.DecodeError:
        return _GapMessage("unknown")  # a gap that cannot say why is still a gap
