from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc.errors import MalformedEvent
from cdc.framing import PacketCutter

MIB16 = 0xFFFFFF  # the largest piece


def framed(payloads: Sequence[bytes], sequence: int = 1) -> bytes:
    """The payloads as a server sends them."""
    stream = bytearray()
    for payload in payloads:
        pieces = [payload[at : at + MIB16] for at in range(0, len(payload) + 1, MIB16)]
        for piece in pieces:
            stream += len(piece).to_bytes(3, "little") + bytes([sequence & 0xFF]) + piece
            sequence += 1
    return bytes(stream)


def chunks(stream: bytes, sizes: Sequence[int]) -> Iterator[bytes]:
    """The stream cut into chunks of these sizes, over and over."""
    at = turn = 0
    while at < len(stream):
        size = sizes[turn % len(sizes)]
        yield stream[at : at + size]
        at += size
        turn += 1


@given(st.lists(st.binary(min_size=1, max_size=60), max_size=300), st.lists(st.integers(1, 90), min_size=1))
def test_packets_come_out_whole_however_they_arrive(payloads: list[bytes], sizes: list[int]) -> None:
    """Any cutting of the stream gives the same payloads in the same order; sequence numbers wrap at 256."""
    cutter = PacketCutter(1)
    assert [p for chunk in chunks(framed(payloads), sizes) for p in cutter.feed(chunk)] == payloads


@pytest.mark.parametrize(
    ("size", "chunk"),
    [(MIB16 - 1, 1 << 30), (MIB16, 256 * 1024), (MIB16, 1 << 30), (MIB16 + 1, 7_000_003), (2 * MIB16, 256 * 1024)],
)
def test_a_payload_of_16_mib_and_more_is_joined(size: int, chunk: int) -> None:
    """Pieces are joined, also when the last of them is empty, and what follows is not lost."""
    large = bytes([1, 2, 3]) * (size // 3) + b"x" * (size % 3)
    cutter = PacketCutter(250)
    stream = framed([b"before", large, b"after"], 250)
    assert [p for part in chunks(stream, [chunk]) for p in cutter.feed(part)] == [b"before", large, b"after"]


def test_nothing_comes_of_half_a_packet() -> None:
    """A payload is given when its last byte is there, not before."""
    stream = framed([b"abc"])
    cutter = PacketCutter(1)
    assert [cutter.feed(stream[i : i + 1]) for i in range(len(stream))] == [[]] * (len(stream) - 1) + [[b"abc"]]


def test_a_view_of_a_buffer_that_is_used_again_is_enough() -> None:
    """What was cut stays as it was when the buffer it came in is overwritten."""
    buffer = bytearray(framed([b"abc"]) + framed([b"defg"], 2)[:5])
    cutter = PacketCutter(1)
    packets = cutter.feed(memoryview(buffer))
    buffer[:] = bytes(len(buffer))
    assert packets == [b"abc"]
    assert {type(packet) for packet in packets} == {bytes}, "table maps are looked up by their bytes"
    assert cutter.feed(b"efg") == [b"defg"]


def test_a_missing_packet_is_an_error() -> None:
    """A sequence number out of turn means that something between was lost."""
    cutter = PacketCutter(1)
    cutter.feed(framed([b"a"], 1))
    with pytest.raises(MalformedEvent, match="packet 3 came where 2 was due"):
        cutter.feed(framed([b"c"], 3))


def test_the_servers_good_bye_begins_at_zero() -> None:
    """A packet numbered 0 in mid-stream is the server's last word, and is let through."""
    cutter = PacketCutter(1)
    assert cutter.feed(framed([b"a", b"b"], 1) + framed([b"\xff\x14\x04killed"], 0))[-1] == b"\xff\x14\x04killed"
