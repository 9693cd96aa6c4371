from __future__ import annotations

import json

import msgspec
import pytest

from gateway import wire
from journal.types import DELETE, GAP, INSERT, READ, UPDATE, Cursor, Event


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        ('{"type":"subscribe","channel":"c"}', wire.Subscribe(channel="c")),
        ('{"type":"subscribe","channel":"c","last":0}', wire.Subscribe(channel="c", last=0)),
        ('{"type":"subscribe","channel":"c","offset":0,"id":"a"}', wire.Subscribe(channel="c", offset=0, id="a")),
        (
            '{"type":"subscribe","channel":"c","epoch":"k3f9","offset":9223372036854775807}',
            wire.Subscribe(channel="c", epoch="k3f9", offset=2**63 - 1),
        ),
        ('{"type":"subscribe","channel":"c","last":null,"where":null}', wire.Subscribe(channel="c")),
        ('{"type":"subscribe","channel":"c","colour":{"x":[1]}}', wire.Subscribe(channel="c")),
        ('{"type":"unsubscribe","channel":"c","id":7}', wire.Unsubscribe(channel="c", id=7)),
        ('{"type":"auth","token":"t"}', wire.Auth(token="t")),
        (' {"type":"ping","id":1.5} ', wire.Ping(id=1.5)),
    ],
)
def test_every_request_is_decoded(text: str, request_: wire.Request) -> None:
    """Each form of each request becomes its struct; unknown keys are ignored and null means absent."""
    assert wire.decode(text) == request_


def refused(text: str) -> str:
    with pytest.raises(wire.BadFrame) as caught:
        wire.decode(text)
    return caught.value.reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ('"subscribe"', "not a JSON object"),
        ('{"type":"ping","id":NaN}', "not JSON: NaN"),
        ('{"type":"ping","x":-Infinity}', "not JSON: -Infinity"),
        ('{"type":"ping","type":"ping"}', 'key "type" stands twice'),
        ('{"type":"ping","x":[{"a":1,"a":2}]}', 'key "a" stands twice'),
        ("{}", "type: expected one of auth, ping, subscribe, unsubscribe, got nothing"),
        ('{"type":"publish"}', 'got "publish"'),
        ('{"type":{"a":[]}}', "got dict"),
        ('{"type":"subscribe"}', "object missing required field channel"),
        ('{"type":"subscribe","channel":3}', "channel: expected str, got int"),
        ('{"type":"subscribe","channel":"c","last":-1}', "last: expected int >= 0"),
        ('{"type":"subscribe","channel":"c","last":10001}', "last: expected int <= 10000"),
        ('{"type":"subscribe","channel":"c","last":true}', "last: expected int | null, got bool"),
        ('{"type":"subscribe","channel":"c","last":1.0}', "last: expected int | null, got float"),
        ('{"type":"subscribe","channel":"c","last":"5"}', "last: expected int | null, got str"),
        ('{"type":"subscribe","channel":"c","last":5,"offset":0}', "last: cannot stand beside offset"),
        ('{"type":"subscribe","channel":"c","last":5,"epoch":"e","offset":9}', "last: cannot stand beside offset"),
        ('{"type":"subscribe","channel":"c","epoch":"e"}', "epoch: needs an offset beside it"),
        ('{"type":"subscribe","channel":"c","epoch":3,"offset":1}', "epoch: expected str | null, got int"),
        ('{"type":"subscribe","channel":"c","offset":1}', "offset: needs the epoch beside it, unless it is 0"),
        ('{"type":"subscribe","channel":"c","epoch":"e","offset":-1}', "offset: expected int >= 0"),
        ('{"type":"subscribe","channel":"c","epoch":"e","offset":false}', "offset: expected int | null, got bool"),
        ('{"type":"subscribe","channel":"c","epoch":"e","offset":1e3}', "offset: expected int | null, got float"),
        ('{"type":"subscribe","channel":"c","epoch":"e","offset":"1"}', "offset: expected int | null, got str"),
        ('{"type":"subscribe","channel":"c","epoch":"e","offset":9223372036854775808}', "offset: expected int <= "),
        ('{"type":"subscribe","channel":"c","epoch":"e","offset":' + "9" * 5000 + "}", "not JSON"),
        ('{"type":"auth"}', "object missing required field token"),
        ('{"type":"ping","id":true}', "id: expected a string or a number"),
        ('{"type":"ping","id":[1]}', "id: expected a string or a number"),
        ('{"type":"ping","id":1e999}', "id: expected a string or a number"),
        ('{"type":"ping","id":"\\ud800"}', "id: expected a string or a number"),
        ("[" * 60_000, "nested too deep"),
        ('{"type":' * 900 + "1" + "}" * 900, "type: expected one of"),
    ],
)
def test_every_bad_frame_gets_its_reason(text: str, reason: str) -> None:
    """Whatever a client sends is refused with a reason that names the key, and with no other exception."""
    found = refused(text)
    assert reason in found
    assert found.isascii()


def test_deep_nesting_below_the_limit_does_no_harm() -> None:
    """A filter nested deep, though not too deep for the parser, is a request like any other."""
    request = wire.decode('{"type":"subscribe","channel":"c","where":' + "[" * 500 + "]" * 500 + "}")
    assert isinstance(request, wire.Subscribe)
    assert request.where is not None


def test_a_bad_frame_keeps_its_id() -> None:
    """A refusal can repeat the request's id, as long as the frame is an object with a usable one."""
    with pytest.raises(wire.BadFrame) as caught:
        wire.decode('{"type":"subscribe","id":"seven"}')
    assert caught.value.id == "seven"


def test_a_long_name_is_cut_in_a_reason() -> None:
    """A reason repeats at most the beginning of what a client sent, in harmless ASCII."""
    assert wire.quoted("é" * 10_000).isascii()
    assert len(wire.quoted("\x00" * 10_000)) < 400


def test_a_cursor_needs_both_halves() -> None:
    """Only epoch and offset together are a cursor."""
    assert wire.Subscribe(channel="c", epoch="e", offset=4).cursor == Cursor("e", 4)
    assert wire.Subscribe(channel="c", offset=0).cursor is None


def test_messages_go_out_as_they_are() -> None:
    """The message's bytes stand in the frame unchanged: spaces, key order and number forms."""
    message = '{ "b":1.10, "a":12345678901234567890, "é": [ ] }'.encode()
    text = wire.event_text(Event("cctv_updates", 1042, INSERT, message, 0.0))
    assert text == b'{"channel":"cctv_updates","offset":1042,"message":' + message + b"}"


def test_op_is_named_unless_it_is_an_insert() -> None:
    """An event that is not an insert says what it is."""
    text = wire.event_text(Event("c", 3, READ, b'{"id":1}', 0.0))
    assert json.loads(text) == {"channel": "c", "offset": 3, "op": "read", "message": {"id": 1}}


def test_an_update_says_what_was_before() -> None:
    """The old values stand before the row, exactly as the journal holds both; a delete has none."""
    text = wire.event_text(Event("c", 4, UPDATE, b'{"id": 1,"n":2.50}', 0.0, b'{"n": 1.10}'))
    assert text == b'{"channel":"c","offset":4,"op":"update","old":{"n": 1.10},"message":{"id": 1,"n":2.50}}'
    text = wire.event_text(Event("c", 5, DELETE, b'{"id":1}', 0.0))
    assert text == b'{"channel":"c","offset":5,"op":"delete","message":{"id":1}}'


def test_a_channel_name_is_escaped() -> None:
    """A channel's name may hold any character."""
    name = 'a"b\\c\ud83d\ude00'.encode("utf-16", "surrogatepass").decode("utf-16")
    assert json.loads(wire.event_text(Event(name, 1, INSERT, b"{}", 0.0)))["channel"] == name


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
    frame = json.loads(wire.event_text(Event("c", 42, GAP, message, 0.0)))
    assert frame == {"type": "gap", "subscription": "c", "after": 41, "before": 43, "reason": reason}


def test_a_gap_frame_says_where() -> None:
    """The place in the source's log stands behind the cause."""
    message = b'{"reason":"unreadable","detail":"by statement","position":"0-1-7"}'
    assert json.loads(wire.event_text(Event("c", 1, GAP, message, 0.0)))["detail"] == "by statement, at 0-1-7"


def test_no_control_frame_has_a_channel() -> None:
    """The rule of the protocol: data has a channel, control has a type, nothing has both."""
    for control in wire.CONTROLS:
        fields = {field.encode_name for field in msgspec.structs.fields(control)}
        assert "channel" not in fields
        assert control.__struct_config__.tag_field == "type"
    assert "type" not in {field.encode_name for field in msgspec.structs.fields(wire.Data)}
