"""Numbers, labels, documents and bytes: from their bytes in a row image to JSON text. Pure functions.

Formats: MySQL's ``decimal.cc`` (packed decimals), MariaDB's ``field.cc`` (compressed columns).
"""

from __future__ import annotations

import functools
import json
import re
import struct
import zlib
from binascii import b2a_base64
from collections.abc import Sequence

import msgspec

from cdc import charsets
from cdc.errors import MalformedEvent

encode = msgspec.json.Encoder().encode
"""A string or DOUBLE as JSON; of a number the shortest decimal that reads back as the same."""

check_json = msgspec.json.Decoder(msgspec.Raw).decode
"""Raises one of ``UNUSUAL`` when bytes are no JSON; whether they are UTF-8 is not looked at inside strings."""

UNUSUAL = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
"""What a value raises that is no strict JSON or no UTF-8."""

_SMALLEST_NORMAL = 2.0**-126  # below it a 32-bit float loses digits


def float32(raw: bytes) -> bytes:
    """FLOAT: the shortest decimal that reads back as the same 32-bit float."""
    (value,) = struct.unpack("<f", raw)
    for digits in range(6 if abs(value) >= _SMALLEST_NORMAL else 1, 10):  # six digits are never too many for the others
        shortest = f"{value:.{digits}g}"
        if struct.pack("<f", float(shortest)) == raw:
            break
    return shortest.encode()


def pack_float(value: float) -> bytes:
    """A FLOAT column's four bytes."""
    return struct.pack("<f", value)


_DIGIT_BYTES = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)


@functools.cache
def _decimal_groups(precision: int, scale: int) -> tuple[tuple[int, int], ...]:
    """Bytes and digits of each group of DECIMAL(precision, scale), from the front: nine digits are four bytes."""
    whole, first = divmod(precision - scale, 9)
    fraction, last = divmod(scale, 9)
    digits = [first, *[9] * (whole + fraction), last]
    return tuple((_DIGIT_BYTES[count], count) for count in digits if count)


def decimal_size(precision: int, scale: int) -> int:
    """Bytes that DECIMAL(precision, scale) takes."""
    return sum(size for size, _ in _decimal_groups(precision, scale))


def decimal(raw: bytes, precision: int, scale: int) -> bytes:
    """DECIMAL: exact, with its scale. Stored big-endian, sign bit flipped, negatives inverted."""
    bits = 8 * len(raw)
    packed = int.from_bytes(raw, "big") ^ 1 << bits - 1
    negative = packed >> bits - 1
    if negative:
        packed ^= (1 << bits) - 1
    number = 0
    for size, digits in _decimal_groups(precision, scale):
        bits -= 8 * size
        number = number * 10**digits + (packed >> bits)
        packed &= (1 << bits) - 1
    text = b"%0*d" % (scale + 1, number)
    sign = b"-" if negative else b""
    return b"%b%b.%b" % (sign, text[:-scale], text[-scale:]) if scale else sign + text


def label_set(bits: int, labels: Sequence[bytes]) -> bytes:
    """SET: its labels in the order of definition."""
    return b"[" + b",".join([label for i, label in enumerate(labels) if bits >> i & 1]) + b"]"


def base64(raw: bytes) -> bytes:
    """BINARY, VARBINARY and BLOB: what stands between the quotes."""
    return b2a_base64(raw, newline=False)


def json_text(raw: bytes) -> bytes:
    """A text column with ``json_valid``, as it stands; what is no strict JSON after all arrives as a string."""
    try:
        check_json(raw)
        if not raw.isascii():
            raw.decode()  # the parser skips over strings without a look at their bytes
    except UNUSUAL:
        return _lenient_json(raw)
    return raw.strip()


def _lenient_json(raw: bytes) -> bytes:
    """Lone surrogates, which the strict parser refuses, are still JSON to a browser."""
    try:
        json.loads(raw, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return charsets.text(raw, "utf8mb4")
    return raw.strip()


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def geometry(raw: bytes) -> bytes:
    """GEOMETRY: the number of its reference system in four bytes, then the WKB."""
    if len(raw) < 4:
        raise MalformedEvent("a geometry is shorter than its SRID")
    return b'{"srid":%d,"wkb":"%b"}' % (int.from_bytes(raw[:4], "little"), base64(raw[4:]))


def vector(raw: bytes) -> bytes:
    """VECTOR: 32-bit floats."""
    if len(raw) % 4:
        raise MalformedEvent(f"a vector has {len(raw)} bytes, which are no 32-bit floats")
    return b"[" + b",".join([float32(raw[at : at + 4]) for at in range(0, len(raw), 4)]) + b"]"


def uuid(raw: bytes) -> bytes:
    """MariaDB's UUID: 16 bytes in the order of its text; the log strips zeros from the end."""
    digits = raw.ljust(16, b"\0").hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}".encode()


def inet4(raw: bytes) -> bytes:
    """MariaDB's INET4: four bytes; the log strips zeros from the end."""
    return b"%d.%d.%d.%d" % tuple(raw.ljust(4, b"\0"))


def inet6(raw: bytes) -> bytes:
    """MariaDB's INET6, as the server prints it: the longest zeros left out, even if it is one group, and IPv4 inside.

    Sixteen bytes; the log strips zeros from the end.
    """
    raw = raw.ljust(16, b"\0")
    if raw.startswith(_MAPPED):
        return b"::ffff:" + inet4(raw[12:])
    if raw.startswith(bytes(12)) and not raw.startswith(bytes(14)):
        return b"::" + inet4(raw[12:])
    groups = struct.unpack(">8H", raw)
    zeros = bytes(group == 0 for group in groups)
    longest = max(_ZEROS.findall(zeros), key=len, default=b"")
    texts = [b"%x" % group for group in groups]
    if not longest:
        return b":".join(texts)
    gap = zeros.index(longest)
    return b"%b::%b" % (b":".join(texts[:gap]), b":".join(texts[gap + len(longest) :]))


_MAPPED = bytes(10) + b"\xff\xff"
_ZEROS = re.compile(b"\1+")


def inflated(raw: bytes) -> bytes:
    """What a COMPRESSED column of MariaDB holds.

    An empty value is empty; else a byte tells: 0, the rest as it is; 0x80 | 8 for a stream without zlib's header |
    the bytes of the length, then the big-endian length, then the deflated value. Raises MalformedEvent when it is
    not what it says.
    """
    if not raw:
        return raw
    if raw[0] == 0:
        return raw[1:]
    start = 1 + (raw[0] & 7)
    size = int.from_bytes(raw[1:start], "big")
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS if raw[0] & 8 else zlib.MAX_WBITS)
    try:
        unpacked = unpacker.decompress(memoryview(raw)[start:], size + 1) if raw[0] & 0xF0 == 0x80 else b""
    except zlib.error as error:
        raise MalformedEvent(f"a compressed column cannot be unpacked: {error}") from error
    if len(unpacked) != size or not unpacker.eof:
        raise MalformedEvent(f"a compressed column says that it holds {size} bytes, which it does not")
    return unpacked
