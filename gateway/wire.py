"""The frames of the wire protocol, both ways (docs/protocol.md).

Those of the server that tell of a channel are the same wherever it is read: ``journal/texts.py`` has them.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal

import msgspec

from journal.opening import MAX_LAST, MAX_OFFSET, Start
from journal.strict import NotJson, parse, quoted
from journal.texts import Drain, Gap, Id, Live, Progress, Schema, Subscribed
from journal.types import Cursor

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
    def start(self) -> Start:
        """Where the client wants to begin."""
        if self.epoch is None or self.offset is None:
            return Start(last=self.last, everything=self.offset == 0)
        return Start(Cursor(self.epoch, self.offset))


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


def _parse(text: str) -> dict[str, Any]:
    try:
        frame = parse(text)
    except NotJson as error:
        raise BadFrame(str(error)) from None
    if not isinstance(frame, dict):
        raise BadFrame("not a JSON object")
    return frame


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


class Error(msgspec.Struct, tag_field="type", tag="error", omit_defaults=True, kw_only=True):
    """A request was refused; the connection stays."""

    code: ErrorCode
    reason: str
    id: Id = None


Control = Subscribed | Live | Progress | Gap | Schema | Heartbeat | Unsubscribed | Pong | Drain | Error
CONTROLS: tuple[type[Control], ...] = (
    Subscribed, Live, Progress, Gap, Schema, Heartbeat, Unsubscribed, Pong, Drain, Error,
)  # fmt: skip
