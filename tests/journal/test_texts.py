from __future__ import annotations

import json

import pytest

from journal.texts import event_text
from journal.types import DELETE, GAP, INSERT, READ, UPDATE, Event


def test_messages_go_out_as_they_are() -> None:
    """The message's bytes stand in the frame unchanged: spaces, key order and number forms."""
    message = '{ "b":1.10, "a":12345678901234567890, "é": [ ] }'.encode()
    text = event_text(Event("cctv_updates", 1042, INSERT, message, 0.0))
    assert text == b'{"channel":"cctv_updates","offset":1042,"message":' + message + b"}"


def test_op_is_named_unless_it_is_an_insert() -> None:
    """An event that is not an insert says what it is."""
    text = event_text(Event("c", 3, READ, b'{"id":1}', 0.0))
    assert json.loads(text) == {"channel": "c", "offset": 3, "op": "read", "message": {"id": 1}}


def test_an_update_says_what_was_before() -> None:
    """The old values stand before the row, exactly as the journal holds both; a delete has none."""
    text = event_text(Event("c", 4, UPDATE, b'{"id": 1,"n":2.50}', 0.0, b'{"n": 1.10}'))
    assert text == b'{"channel":"c","offset":4,"op":"update","old":{"n": 1.10},"message":{"id": 1,"n":2.50}}'
    text = event_text(Event("c", 5, DELETE, b'{"id":1}', 0.0))
    assert text == b'{"channel":"c","offset":5,"op":"delete","message":{"id":1}}'


def test_a_channel_name_is_escaped() -> None:
    """A channel's name may hold any character."""
    name = 'a"b\\c\ud83d\ude00'.encode("utf-16", "surrogatepass").decode("utf-16")
    assert json.loads(event_text(Event(name, 1, INSERT, b"{}", 0.0)))["channel"] == name


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b'{"reason":"purged","table":"x"}', "purged"),
        (b"{}", "unknown"),
        (b"\xff", "unknown"),
        (b'{"reason":3}', "unknown"),
    ],
)
def test_a_gap_event_becomes_a_gap_frame(message: bytes, reason: str) -> None:
    """A gap takes an offset; its frame names the offsets on both sides and no channel, whatever its message."""
    frame = json.loads(event_text(Event("c", 42, GAP, message, 0.0)))
    assert frame == {"type": "gap", "subscription": "c", "after": 41, "before": 43, "reason": reason}


def test_a_gap_frame_says_where() -> None:
    """The place in the source's log stands behind the cause."""
    message = b'{"reason":"unreadable","detail":"by statement","position":"0-1-7"}'
    assert json.loads(event_text(Event("c", 1, GAP, message, 0.0)))["detail"] == "by statement, at 0-1-7"
