from __future__ import annotations

import json

import pytest
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from gateway.frames import control_frame, runs, text_header
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


def test_runs_hold_every_event_once_in_order() -> None:
    """However small the runs, together they are the events, and each says what is in it."""
    batch = events(100)
    for size in (1, 200, 1000, 1 << 20):
        pieces = list(runs(batch, size))
        frames = received(b"".join(run.whole() for run in pieces))
        assert [json.loads(bytes(frame.data))["offset"] for frame in frames] == list(range(100, 200))
        assert [len(run.events) for run in pieces] == [run.last - run.first + 1 for run in pieces]
        assert sum(len(run.events) for run in pieces) == 100


def test_runs_keep_to_their_size() -> None:
    """A run is larger than asked only when one event alone is."""
    assert max(len(run.whole()) for run in runs(events(50, size=1000), 4096)) < 4096
    (alone, _) = runs(events(2, size=10_000), 4096)
    assert len(alone.events) == 1


def test_no_events_no_runs() -> None:
    """Nothing makes nothing."""
    assert list(runs([])) == []


def test_some_frames_of_a_run() -> None:
    """Any selection of a run is the frames of those events; all of them is the same bytes as the whole."""
    (run,) = runs(events(10))
    for places in ([], [3], [0, 2, 9], [2, 3, 4]):
        frames = received(run.some(places))
        assert [json.loads(bytes(frame.data))["offset"] for frame in frames] == [100 + place for place in places]
    assert run.some(range(10)) is run.whole() is run.whole(deflate=True)  # too small to be compressed
    (large,) = runs(events(3, size=5000))
    assert large.whole() is not large.whole(deflate=True) is large.some(range(3), deflate=True)
