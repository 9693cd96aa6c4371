"""Cuts the server's byte stream into packets, many of them per read."""

from __future__ import annotations

from cdc.errors import MalformedEvent

_LARGEST = 0xFFFFFF  # a payload of this size is continued in the next packet


class PacketCutter:
    """Bytes in, whole packet payloads out: a 3-byte length and a sequence number before each.

    Payloads of 16 MiB and more arrive in pieces and leave joined. Pure: it knows no socket.
    """

    def __init__(self, sequence: int) -> None:
        self._buffer = bytearray()
        self._sequence = sequence
        self._pieces: list[bytes] = []

    def feed(self, data: bytes | memoryview) -> list[bytes]:
        """The payloads that ``data`` completes, in order; raises MalformedEvent when one is missing."""
        buffer = self._buffer
        buffer += data
        packets: list[bytes] = []
        at, have = 0, len(buffer)
        while have - at >= 4:
            size = buffer[at] | buffer[at + 1] << 8 | buffer[at + 2] << 16
            end = at + 4 + size
            if end > have:
                break
            self._check(buffer[at + 3])
            payload = bytes(memoryview(buffer)[at + 4 : end])
            at = end
            if size == _LARGEST:
                self._pieces.append(payload)
            elif self._pieces:
                packets.append(b"".join([*self._pieces, payload]))
                self._pieces.clear()
            else:
                packets.append(payload)
        del buffer[:at]
        return packets

    def _check(self, sequence: int) -> None:
        # The server starts again at 0 when it says good-bye in the middle of the stream.
        if sequence not in (self._sequence, 0):
            raise MalformedEvent(f"packet {sequence} came where {self._sequence} was due")
        self._sequence = (sequence + 1) & 0xFF
