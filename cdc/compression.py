"""What servers pack into their log: MariaDB single events (``log_bin_compress``), MySQL whole transactions.

Formats: MariaDB's ``log_event.cc`` (``binlog_buf_uncompress``), MySQL's ``Transaction_payload_event``. Nothing unpacks
to more than it says beforehand, and a transaction is unpacked one event at a time.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from typing import Protocol

import zstandard

from cdc.errors import MalformedEvent
from cdc.events import HEADER_SIZE, read_length

_END, _PAYLOAD_SIZE, _ALGORITHM, _UNPACKED_SIZE = range(4)  # the fields of a payload event's header
_ZSTD, _NONE = 0, 255
_PIECE = 1 << 20  # memory grows with what is really there, not with what a length says


def inflated(body: bytes, start: int) -> bytes:
    """The body of MariaDB's compressed event as it was before: what lies behind ``start`` is packed.

    Its form: 0x80 | algorithm << 4 | bytes of length, the big-endian length, a zlib stream. Raises MalformedEvent
    when it is not what it says.
    """
    return body[:start] + _inflate(body[start:])


def _inflate(data: bytes) -> bytes:
    size_bytes = data[0] & 0x07
    if data[0] & 0xF8 != 0x80 or not 1 <= size_bytes <= 4:
        raise MalformedEvent(f"packed data begins with {data[0]:#04x}, which is not zlib")
    size = int.from_bytes(data[1 : 1 + size_bytes], "big")
    unpacker = zlib.decompressobj()
    try:
        unpacked = unpacker.decompress(memoryview(data)[1 + size_bytes :], size + 1)  # one more tells of too many
    except zlib.error as error:
        raise MalformedEvent(f"packed data cannot be unpacked: {error}") from error
    if len(unpacked) != size or not unpacker.eof:
        raise MalformedEvent(f"packed data says that it holds {size} bytes, which it does not")
    return unpacked


def unpack(body: bytes) -> Iterator[bytes]:
    """The events in MySQL's transaction payload event, one at a time: without checksums, their end offsets 0.

    Raises MalformedEvent when the payload is not what it says, after the events before that place.
    """
    fields, at = _fields(body)
    size = fields.get(_PAYLOAD_SIZE, len(body) - at)
    data = memoryview(body)[at : at + size]
    algorithm = fields.get(_ALGORITHM, _NONE)
    if algorithm == _NONE:
        yield from _events(io.BytesIO(data), size)
    elif algorithm == _ZSTD:
        reader = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True)
        yield from _events(reader, fields.get(_UNPACKED_SIZE, 0))
    else:
        raise MalformedEvent(f"a transaction is packed by the unknown algorithm {algorithm}")


def _fields(body: bytes) -> tuple[dict[int, int], int]:
    """The numbers before the payload by their type, and where the payload begins. Unknown fields are skipped."""
    fields: dict[int, int] = {}
    at = 0
    while True:
        kind, at = read_length(body, at)
        if kind == _END:
            return fields, at
        size, at = read_length(body, at)
        fields[kind], _ = read_length(body, at)
        at += size


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


def _events(stream: _Stream, size: int) -> Iterator[bytes]:
    left = size
    while left:
        header = _take(stream, HEADER_SIZE)
        length = int.from_bytes(header[9:13], "little")
        if not HEADER_SIZE <= length <= left:
            raise MalformedEvent(f"a packed event says that it has {length} bytes where {left} are left")
        yield header + _take(stream, length - HEADER_SIZE)
        left -= length
    if _piece(stream, 1):
        raise MalformedEvent(f"a packed transaction holds more than the {size} bytes that it says")


def _take(stream: _Stream, size: int) -> bytes:
    pieces = []
    while size:
        piece = _piece(stream, min(size, _PIECE))
        if not piece:
            raise MalformedEvent("a packed transaction ends early")
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _piece(stream: _Stream, size: int) -> bytes:
    try:
        return stream.read(size)
    except zstandard.ZstdError as error:
        raise MalformedEvent(f"a packed transaction cannot be unpacked: {error}") from error
