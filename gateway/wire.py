"""The frames of the wire protocol, both ways (docs/protocol.md).

One rule holds for everything the server sends: a frame with ``channel`` is data, a frame with ``type`` is control; no
frame has both. Messages come from the journal as JSON and go out as they are: nothing here parses or encodes them.
"""

from __future__ import annotations

import json
import math
import re
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec

from journal.types import GAP, INSERT, UPDATE, Cursor, Event

MAX_LAST = 10_000  # the most events one subscribe may ask back with "last"
MAX_OFFSET = 2**63 - 1

Id = str | int | float | None
ErrorCode = Literal["bad_request", "unknown_channel", "bad_filter", "unauthorized", "denied", "limit", "rate"]
SourceState = Literal["live", "catching_up", "stalled", "down"]
Offset = Annotated[int, msgspec.Meta(ge=0, le=MAX_OFFSET)]


class BadFrame(Exception):
    """A client's frame that cannot be understood. ``reason`` names the key, ``id`` is the request's if it had one."""

    def __init__(self, reason: str, request_id: Id = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.id = request_id


# Client to server


class Subscribe(msgspec.Struct, tag_field="type", tag="subscribe", frozen=True, kw_only=True):
    """Ask for a channel: live from now on, the newest ``last``, or everything after ``offset`` of ``epoch``.

    ``schema``: say what the rows look like, and whenever that changes.
    """

    channel: str
    last: Annotated[int, msgspec.Meta(ge=0, le=MAX_LAST)] | None = None
    epoch: str | None = None
    offset: Offset | None = None
    where: Any = None
    schema: bool | None = None
    id: Id = None

    def __post_init__(self) -> None:
        if self.offset is None:
            if self.epoch is not None:
                raise ValueError("epoch: needs an offset beside it")
        elif self.last is not None:
            raise ValueError("last: cannot stand beside offset")
        elif self.epoch is None and self.offset != 0:
            raise ValueError("offset: needs the epoch beside it, unless it is 0")

    @property
    def cursor(self) -> Cursor | None:
        """Where the client wants to resume, if it does."""
        if self.epoch is None or self.offset is None:
            return None
        return Cursor(self.epoch, self.offset)


class Unsubscribe(msgspec.Struct, tag_field="type", tag="unsubscribe", frozen=True, kw_only=True):
    """Stop a channel."""

    channel: str
    id: Id = None


class Auth(msgspec.Struct, tag_field="type", tag="auth", frozen=True, kw_only=True):
    """Show a token. This version answers it with an error: it has no authentication."""

    token: str
    id: Id = None


class Ping(msgspec.Struct, tag_field="type", tag="ping", frozen=True, kw_only=True):
    """Ask for a pong."""

    id: Id = None


Request = Subscribe | Unsubscribe | Auth | Ping
REQUESTS: tuple[type[Request], ...] = (Subscribe, Unsubscribe, Auth, Ping)
_TYPES = {str(request.__struct_config__.tag): request for request in REQUESTS}


def decode(text: str) -> Request:
    """One client frame, checked; raises ``BadFrame``."""
    frame = _parse(text)
    request_id = _request_id(frame)
    kind = frame.get("type")
    if not isinstance(kind, str) or kind not in _TYPES:
        known = ", ".join(sorted(_TYPES))
        raise BadFrame(f"type: expected one of {known}, got {quoted(kind)}", request_id)
    try:
        # To the one type, not to the union of all: msgspec would take that to pieces anew each time.
        return msgspec.convert(frame, _TYPES[kind])
    except msgspec.ValidationError as error:
        raise BadFrame(_reason(str(error)), request_id) from None


def quoted(value: object) -> str:
    """A client's value as short, harmless ASCII for a reason; anything but text by its type alone."""
    if not isinstance(value, str):
        return "nothing" if value is None else type(value).__name__
    return json.dumps(value if len(value) <= 64 else f"{value[:60]}...")


def _parse(text: str) -> dict[str, Any]:
    # The standard library's parser, because it can refuse duplicate keys and NaN; msgspec takes the last of two keys.
    try:
        frame = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except BadFrame:
        raise
    except RecursionError:
        raise BadFrame("nested too deep") from None
    except ValueError as error:
        raise BadFrame(f"not JSON: {error}") from None
    if not isinstance(frame, dict):
        raise BadFrame("not a JSON object")
    return frame


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise BadFrame(f"key {quoted(twice)} stands twice")
    return found


def _no_constant(name: str) -> Any:
    raise BadFrame(f"not JSON: {name}")


def _request_id(frame: dict[str, Any]) -> Id:
    value = frame.get("id")
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, str) and not _SURROGATE.search(value):  # half a character cannot be repeated
        return value
    raise BadFrame("id: expected a string or a number")


_SURROGATE = re.compile("[\ud800-\udfff]")
_PLACE = re.compile(r"^(?P<what>.*?) - at `\$\.(?P<key>\w+)[^`]*`$")


def _reason(text: str) -> str:
    """Turn msgspec's "Expected `int` >= 0 - at `$.last`" into "last: expected int >= 0"."""
    place = _PLACE.match(text)
    what, key = (place["what"], place["key"]) if place else (text, "")
    if what.startswith(("Expected", "Object")):
        what = what[0].lower() + what[1:]
    return f"{key}: {what}".replace("`", "") if key else what.replace("`", "")


# Server to client


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


class Heartbeat(msgspec.Struct, tag_field="type", tag="heartbeat", kw_only=True):
    """How the source is, and how far behind its log we are."""

    source: SourceState
    lag_ms: int


class Unsubscribed(msgspec.Struct, tag_field="type", tag="unsubscribed", omit_defaults=True, kw_only=True):
    """Nothing more comes from this channel."""

    subscription: str
    id: Id = None


class Pong(msgspec.Struct, tag_field="type", tag="pong", omit_defaults=True, kw_only=True):
    """The answer to a ping."""

    id: Id = None


class Drain(msgspec.Struct, tag_field="type", tag="drain", kw_only=True):
    """The server goes away: come back after a random time between these two."""

    reconnect_ms: tuple[int, int]


class Error(msgspec.Struct, tag_field="type", tag="error", omit_defaults=True, kw_only=True):
    """A request was refused; the connection stays."""

    code: ErrorCode
    reason: str
    id: Id = None


Control = Subscribed | Live | Progress | Gap | Schema | Heartbeat | Unsubscribed | Pong | Drain | Error
CONTROLS: tuple[type[Control], ...] = (
    Subscribed, Live, Progress, Gap, Schema, Heartbeat, Unsubscribed, Pong, Drain, Error,
)  # fmt: skip


class Data(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A row. Only described here, for readers and documents: ``event_text`` writes it without this struct."""

    channel: str
    offset: int
    message: msgspec.Raw
    op: str | None = None
    old: dict[str, Any] | None = None


encode = msgspec.json.Encoder().encode


def event_text(event: Event) -> bytes:
    """The text of one event's frame: data, or for a gap event the control frame that announces it."""
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
