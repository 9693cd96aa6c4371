from __future__ import annotations

import msgspec
import pytest

from gateway import wire
from journal.opening import Start
from journal.strict import quoted
from journal.texts import Data
from journal.types import Cursor


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
    assert quoted("é" * 10_000).isascii()
    assert len(quoted("\x00" * 10_000)) < 400


def test_where_a_subscribe_begins() -> None:
    """Only epoch and offset together are a cursor; each other form is a beginning of its own."""
    assert wire.Subscribe(channel="c", epoch="e", offset=4).start == Start(Cursor("e", 4))
    assert wire.Subscribe(channel="c", offset=0).start == Start(everything=True)
    assert wire.Subscribe(channel="c", last=3).start == Start(last=3)
    assert wire.Subscribe(channel="c").start == Start()


def test_no_control_frame_has_a_channel() -> None:
    """The rule of the protocol: data has a channel, control has a type, nothing has both."""
    for control in wire.CONTROLS:
        fields = {field.encode_name for field in msgspec.structs.fields(control)}
        assert "channel" not in fields
        assert control.__struct_config__.tag_field == "type"
    assert "type" not in {field.encode_name for field in msgspec.structs.fields(Data)}
