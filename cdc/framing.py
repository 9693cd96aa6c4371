"""Cuts the server's byte stream into packets, many of them per read, and finds the event in each."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from typing import NamedTuple

from cdc.errors import MalformedEvent

_LARGEST = 0xFFFFFF  # a payload of this size is continued in the next packet
_HEAD = struct.Struct("<I").unpack_from  # three bytes of size and the sequence number
_OK = 0  # the first byte of a payload that is an event; any other begins the server's last word
_LOOK = struct.Struct("<IB4xB")  # the same with the two bytes that tell what the payload is
_SEQUENCE = 24  # where the sequence number stands in the four bytes
_STEP, _SEQUENCES = 1 << _SEQUENCE, 0xFF << _SEQUENCE
_KIND = 5  # where an event's type stands in such a payload, behind that byte and the timestamp


class Packets(NamedTuple):
    """Events of one read, where they lie: the event ``i`` is ``data[begins[i]:ends[i]]``, of the type ``kinds[i]``.

    ``farewell`` is the payload of the packet that came behind them and is no event; None when there was none.
    """

    data: bytes
    begins: list[int]
    ends: list[int]
    kinds: bytes
    farewell: bytes | None = None

    def events(self, kinds: Collection[int] | None = None) -> Iterator[bytes]:
        """Each event by itself; of these types only."""
        for begin, end, kind in zip(self.begins, self.ends, self.kinds, strict=True):
            if kinds is None or kind in kinds:
                yield self.data[begin:end]


class PacketCutter:
    """Bytes in, whole packets out: a 3-byte length and a sequence number before each.

    Payloads of 16 MiB and more arrive in pieces and leave joined. Pure: it knows no socket.
    """

    def __init__(self, sequence: int) -> None:
        self._held: list[bytes] = []  # the beginning of a packet that is not whole yet
        self._missing = 0  # at least so many bytes
        self._sequence = sequence
        self._pieces: list[bytes] = []

    def feed(self, data: bytes | memoryview) -> list[Packets]:
        """The packets that ``data`` completes, in order; raises MalformedEvent when one is missing."""
        if len(data) < self._missing:
            self._held.append(bytes(data))
            self._missing -= len(data)
            return []
        buffer = b"".join([*self._held, data])
        begins, ends, kinds = self._usual(buffer)
        farewell: bytes | None = None
        have, due = len(buffer), self._sequence
        at = ends[-1] if ends else 0
        end = at + 4
        while end <= have:
            (head,) = _HEAD(buffer, at)
            size, sequence = head & _LARGEST, head >> 24
            end = at + 4 + size
            if end > have:
                break
            # The server starts again at 0 when it says good-bye in the middle of the stream.
            if sequence != due and sequence:
                raise MalformedEvent(f"packet {sequence} came where {due} was due")
            due = sequence + 1 & 0xFF
            if size == _LARGEST or self._pieces:
                self._held, self._missing, self._sequence = [], 0, due
                joined = self._join(buffer[at + 4 : end])
                return [
                    *_some(Packets(buffer, begins, ends, bytes(kinds))),
                    *joined,
                    *self.feed(memoryview(buffer)[end:]),
                ]
            if size <= _KIND or buffer[at + 4] != _OK:
                farewell = buffer[at + 4 : end]
                break
            begins.append(at + 5)
            ends.append(end)
            kinds.append(buffer[at + 4 + _KIND])
            at = end
            end = at + 4
        self._held, self._sequence = [buffer[at:]], due
        self._missing = end - have
        return _some(Packets(buffer, begins, ends, bytes(kinds), farewell))

    def _usual(self, buffer: bytes) -> tuple[list[int], list[int], list[int]]:
        """Begin, end and type of each event up to the first packet that is not due, not one event, or not all there."""
        ends: list[int] = []
        kinds: list[int] = []
        at, have, due = 0, len(buffer), self._sequence << _SEQUENCE
        last = -1 if self._pieces else have - _LOOK.size
        look = _LOOK.unpack_from
        while at <= last:
            head, first, kind = look(buffer, at)
            size = head - due  # impossible when another packet was due
            if first or not _KIND < size < _LARGEST:
                break
            at += 4 + size
            ends.append(at)
            kinds.append(kind)
            due = due + _STEP & _SEQUENCES
        if at > have:
            ends.pop()
            kinds.pop()
            due = due - _STEP & _SEQUENCES
        self._sequence = due >> _SEQUENCE
        return [5, *[end + 5 for end in ends[:-1]]] if ends else [], ends, kinds

    def _join(self, piece: bytes) -> list[Packets]:
        """Hold a piece of a large payload until its last one, the first that is not full, is there."""
        self._pieces.append(piece)
        if len(piece) == _LARGEST:
            return []
        payload = b"".join(self._pieces)
        self._pieces.clear()
        if payload[0] != _OK:
            return [Packets(payload, [], [], b"", payload)]
        return [Packets(payload, [1], [len(payload)], payload[_KIND : _KIND + 1])]


def _some(packets: Packets) -> list[Packets]:
    return [packets] if packets.begins or packets.farewell is not None else []
