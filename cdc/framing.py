"""Cuts the server's byte stream into packets, many of them per read."""

from __future__ import annotations

import struct

from cdc.errors import MalformedEvent

_LARGEST = 0xFFFFFF  # a payload of this size is continued in the next packet
_HEAD = struct.Struct("<I").unpack_from  # three bytes of size and the sequence number


class PacketCutter:
    """Bytes in, whole packet payloads out: a 3-byte length and a sequence number before each.

    Payloads of 16 MiB and more arrive in pieces and leave joined. Pure: it knows no socket.
    """

    def __init__(self, sequence: int) -> None:
        self._held: list[bytes] = []  # the beginning of a packet that is not whole yet
        self._missing = 0  # at least so many bytes
        self._sequence = sequence
        self._pieces: list[bytes] = []

    def feed(self, data: bytes | memoryview) -> list[bytes]:
        """The payloads that ``data`` completes, in order; raises MalformedEvent when one is missing."""
        if len(data) < self._missing:
            self._held.append(bytes(data))
            self._missing -= len(data)
            return []
        buffer = b"".join([*self._held, data])
        packets: list[bytes] = []
        at, have, due = 0, len(buffer), self._sequence
        end = 4
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
                self._join(buffer[at + 4 : end], packets)
            else:
                packets.append(buffer[at + 4 : end])
            at = end
            end = at + 4
        self._held, self._sequence = [buffer[at:]], due
        self._missing = end - have
        return packets

    def _join(self, piece: bytes, packets: list[bytes]) -> None:
        """Hold a piece of a large payload until its last one, the first that is not full, is there."""
        self._pieces.append(piece)
        if len(piece) < _LARGEST:
            packets.append(b"".join(self._pieces))
            self._pieces.clear()
