from __future__ import annotations

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from gateway.deflate import inflation, packed
from gateway.intake import PING, TEXT, Whole, whole_frames
from gateway.server import Gateway
from tests.gateway.clients import RawClient, masked

MOST = 300

KINDS = {Opcode.TEXT: TEXT, Opcode.PING: PING, Opcode.PONG: 0x8A}
PAYLOADS = st.one_of(
    st.binary(max_size=140),
    st.integers(MOST - 2, MOST + 2).map(bytes),
    st.sampled_from([b'{"type":"ping"}', packed(b'{"type":"ping"}'), packed(b""), b"\xff\xff", b"\x03\x00"]),
    st.integers(MOST - 2, MOST + 2).map(lambda size: packed(b" " * size)),
    st.just(zlib.compress(b" " * 100_000)[2:-4]),
)
FIRST = st.one_of(st.sampled_from([0x81, 0xC1, 0x89, 0x8A]), st.integers(0, 255))


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """A frame, with any first byte, a length told in any way, and mostly masked."""
    payload, mask = draw(PAYLOADS), draw(st.binary(min_size=4, max_size=4))
    bit = 0 if draw(st.integers(0, 9)) == 0 else 0x80
    size = len(payload)
    told = draw(st.sampled_from([way for way, most in ((size, 125), (126, 1 << 16), (127, 1 << 62)) if size <= most]))
    length = size.to_bytes({126: 2, 127: 8}[told]) if told in (126, 127) else b""
    hidden = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload)) if bit else payload
    return bytes([draw(FIRST), bit | told]) + length + (mask if bit else b"") + hidden


def library(deflate: bool) -> ServerProtocol:
    protocol = ServerProtocol(state=State.OPEN, max_size=MOST)
    if deflate:
        protocol.extensions = [inflation()]
    return protocol


@settings(max_examples=500, deadline=None)
@given(st.lists(frames(), max_size=4), st.integers(0, 20), st.booleans())
def test_what_is_read_by_ourselves_the_library_reads_in_the_same_way(
    parts: list[bytes], cut: int, deflate: bool
) -> None:
    """The same frames and answers, and behind them it is where it was at first."""
    data = b"".join(parts)
    data = data[: max(0, len(data) - cut)]
    ours = list(whole_frames(data, MOST, deflate))
    theirs = library(deflate)
    theirs.receive_data(data[: ours[-1].end] if ours else b"")
    events = theirs.events_received()
    assert [(frame.kind, frame.payload) for frame in ours] == [
        (KINDS[event.opcode], bytes(event.data)) for event in events if isinstance(event, Frame)
    ]
    pongs = [Frame(Opcode.PONG, frame.payload).serialize(mask=False) for frame in ours if frame.kind == PING]
    assert (theirs.data_to_send(), theirs.state, len(events)) == (pongs, State.OPEN, len(ours))
    theirs.receive_data(masked(b"next"))
    assert [bytes(event.data) for event in theirs.events_received() if isinstance(event, Frame)] == [b"next"]


@pytest.mark.parametrize("size", [0, 1, 125, 126, MOST])
def test_ordinary_frames_need_no_library(size: int) -> None:
    """Texts of any size that is allowed, one behind the other, and compressed ones where that was agreed on."""
    text = b"x" * size
    frame = masked(text)
    assert list(whole_frames(frame * 2, MOST, deflate=False)) == [
        Whole(TEXT, text, len(frame)),
        Whole(TEXT, text, 2 * len(frame)),
    ]
    small = bytes([0xC1]) + masked(packed(b"x" * 200))[1:]
    assert [each.payload for each in whole_frames(small, MOST, deflate=True)] == [b"x" * 200]
    assert list(whole_frames(small, MOST, deflate=False)) == []


async def test_an_ordinary_conversation_makes_no_parser(gateway: Gateway) -> None:
    """A client that sends whole texts and answers pings costs no memory for anything else."""
    raw = await RawClient.open(gateway)
    await raw.say(type="ping", id=1)
    await raw.send(masked(b"", Opcode.PONG) + masked(b"are you there", Opcode.PING))
    await raw.say(type="ping", id=2)
    assert await raw.take() == {"type": "pong", "id": 1}
    pong = await raw.frame()
    assert pong is not None
    assert (pong.opcode, bytes(pong.data)) == (Opcode.PONG, b"are you there")
    assert await raw.take() == {"type": "pong", "id": 2}
    (connection,) = gateway._shared.connections
    assert connection._protocol is None
    raw.close()


async def test_the_library_goes_on_where_a_frame_is_not_ordinary(gateway: Gateway) -> None:
    """A text, one in two fragments of which the second comes in two reads, and another text: all are answered."""
    raw = await RawClient.open(gateway)
    first, rest = masked(b'{"type":"pi', fin=False), masked(b'ng","id":2}', Opcode.CONT)
    await raw.send(masked(b'{"type":"ping","id":1}') + first + rest[:3])
    assert await raw.take() == {"type": "pong", "id": 1}
    await raw.send(rest[3:] + masked(b'{"type":"ping","id":3}'))
    assert [(await raw.take())["id"] for _ in range(2)] == [2, 3]
    raw.close()


async def test_a_text_behind_one_that_is_not_utf_8_is_not_answered(gateway: Gateway) -> None:
    """After what ends the conversation, what stands in the same read is thrown away."""
    raw = await RawClient.open(gateway)
    await raw.send(masked(b"\xff") + masked(b'{"type":"ping"}'))
    assert await raw.close_code() == 1007
    assert gateway.stats.requests == 0
    raw.close()
