from __future__ import annotations

import json

import pytest
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from gateway.frames import control_frame, slices, text_header
from gateway.wire import Pong
from journal.types import INSERT, Event


def received(data: bytes) -> list[Frame]:
    """What a client of the websockets library makes of these bytes."""
    protocol = ClientProtocol(parse_uri("ws://localhost/"), state=State.OPEN, max_size=None)
    protocol.receive_data(data)
    return [event for event in protocol.events_received() if isinstance(event, Frame)]


def events(count: int, size: int = 10) -> list[Event]:
    return [Event("c", 100 + n, INSERT, b'{"x":"%b"}' % (b"x" * size), 0.0) for n in range(count)]


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65535, 65536, 70000])
def test_headers_of_every_length_are_understood(length: int) -> None:
    """The three forms of the length field meet at the right places."""
    (frame,) = received(text_header(length) + b"x" * length)
    assert frame.opcode is Opcode.TEXT
    assert frame.fin
    assert frame.data == b"x" * length


def test_a_control_frame_is_whole() -> None:
    """A control message comes with its header."""
    (frame,) = received(control_frame(Pong(id=3)))
    assert frame.data == b'{"type":"pong","id":3}'


def test_slices_hold_every_event_once_in_order() -> None:
    """However small the slices, together they are the events, and each says what is in it."""
    batch = events(100)
    for size in (1, 200, 1000, 1 << 20):
        pieces = list(slices(batch, size))
        frames = received(b"".join(piece.data for piece in pieces))
        assert [json.loads(bytes(frame.data))["offset"] for frame in frames] == list(range(100, 200))
        assert [piece.events for piece in pieces] == [piece.last - piece.first + 1 for piece in pieces]
        assert sum(piece.events for piece in pieces) == 100


def test_slices_keep_to_their_size() -> None:
    """A slice is larger than asked only by headers, or when one event alone is."""
    sizes = [len(piece.data) for piece in slices(events(50, size=1000), 4096)]
    assert max(sizes) < 4096 + 20
    (alone, _) = slices(events(2, size=10_000), 4096)
    assert alone.events == 1


def test_no_events_no_slices() -> None:
    """An empty batch is nothing to write."""
    assert list(slices([])) == []
