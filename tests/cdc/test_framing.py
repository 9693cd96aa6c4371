from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc.errors import MalformedEvent
from cdc.framing import PacketCutter
from tests.cdc.forge import chunks, framed

MIB16 = 0xFFFFFF  # the largest piece


def event(filler: bytes) -> bytes:
    """The payload of a packet with an event of no meaning: an OK byte, a timestamp, a type, anything."""
    return b"\0time\2" + filler


def found(cutter: PacketCutter, *parts: bytes | memoryview) -> list[bytes]:
    """The payloads that these parts of a stream complete, with the OK byte that was cut off."""
    return [b"\0" + event for part in parts for packets in cutter.feed(part) for event in packets.events()]


@given(st.lists(st.binary(max_size=60).map(event), max_size=300), st.lists(st.integers(1, 90), min_size=1))
def test_packets_come_out_whole_however_they_arrive(payloads: list[bytes], sizes: list[int]) -> None:
    """Any cutting of the stream gives the same payloads in the same order; sequence numbers wrap at 256."""
    cutter = PacketCutter(1)
    assert found(cutter, *chunks(framed(payloads), sizes)) == payloads


@pytest.mark.parametrize(
    ("size", "chunk"),
    [(MIB16 - 1, 1 << 30), (MIB16, 256 * 1024), (MIB16, 1 << 30), (MIB16 + 1, 7_000_003), (2 * MIB16, 256 * 1024)],
)
def test_a_payload_of_16_mib_and_more_is_joined(size: int, chunk: int) -> None:
    """Pieces are joined, also when the last of them is empty, and what follows is not lost."""
    large = (event(b"") + bytes([1, 2, 3]) * (size // 3 + 1))[:size]
    payloads = [event(b"before"), large, event(b"after")]
    assert found(PacketCutter(250), *chunks(framed(payloads, 250), [chunk])) == payloads


def test_nothing_comes_of_half_a_packet() -> None:
    """A payload is given when its last byte is there, not before."""
    stream = framed([event(b"abc")])
    cutter = PacketCutter(1)
    came = [found(cutter, stream[i : i + 1]) for i in range(len(stream))]
    assert came == [[]] * (len(stream) - 1) + [[event(b"abc")]]


def test_a_view_of_a_buffer_that_is_used_again_is_enough() -> None:
    """What was cut stays as it was when the buffer it came in is overwritten."""
    first, second = event(b"abc"), event(b"defg")
    buffer = bytearray(framed([first]) + framed([second], 2)[:5])
    cutter = PacketCutter(1)
    (packets,) = cutter.feed(memoryview(buffer))
    buffer[:] = bytes(len(buffer))
    assert list(packets.events()) == [first[1:]]
    assert type(packets.data) is bytes, "table maps are looked up by their bytes"
    assert found(cutter, second[1:]) == [second]


def test_a_missing_packet_is_an_error() -> None:
    """A sequence number out of turn means that something between was lost."""
    cutter = PacketCutter(1)
    cutter.feed(framed([event(b"a")], 1))
    with pytest.raises(MalformedEvent, match="packet 3 came where 2 was due"):
        cutter.feed(framed([event(b"c")], 3))


def test_the_servers_good_bye_begins_at_zero() -> None:
    """A packet numbered 0 in mid-stream is the server's last word, and is let through."""
    last = b"\xff\x14\x04killed"
    (packets,) = PacketCutter(1).feed(framed([event(b"a"), event(b"b")], 1) + framed([last], 0))
    assert (len(packets.begins), packets.farewell) == (2, last)


def test_a_type_is_told_with_each_event() -> None:
    """It stands behind the timestamp; also in an event that was sent in pieces."""
    large = event(bytes(MIB16))
    kinds = [kind for packets in PacketCutter(1).feed(framed([b"\0time\7", large])) for kind in packets.kinds]
    assert kinds == [7, 2]


@pytest.mark.parametrize("last", [b"\xfe", b"\xff\x14\x04killed", b"\0few", b"", b"\xfe" + bytes(MIB16)])
def test_what_is_no_event_is_the_last_word(last: bytes) -> None:
    """Whatever begins otherwise, or has no room for a type; the events before it are told."""
    first = event(b"a")
    found = PacketCutter(1).feed(framed([first, last]))
    assert [one for packets in found for one in packets.events()] == [first[1:]]
    assert found[-1].farewell == last
