"""Column values: from their bytes in a row image to JSON text. Pure functions; one for each storage format.

Formats: MySQL's ``my_time.cc`` (packed temporal types), ``decimal.cc`` (packed decimals).
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping
from types import MappingProxyType

import msgspec

_encode = msgspec.json.Encoder().encode

CODECS: Mapping[str, str] = MappingProxyType(
    {
        "ascii": "ascii", "big5": "cp950", "cp1250": "cp1250", "cp1251": "cp1251", "cp1256": "cp1256",
        "cp1257": "cp1257", "cp850": "cp850", "cp852": "cp852", "cp866": "cp866", "cp932": "cp932",
        "eucjpms": "euc_jp", "euckr": "cp949", "gb18030": "gb18030", "gb2312": "gb2312", "gbk": "gbk",
        "greek": "iso8859-7", "hebrew": "iso8859-8", "hp8": "hp-roman8", "koi8r": "koi8-r", "koi8u": "koi8-u",
        "latin2": "iso8859-2", "latin5": "iso8859-9", "latin7": "iso8859-13", "macce": "mac-latin2",
        "macroman": "mac-roman", "sjis": "shift_jis", "tis620": "tis-620",
        "ucs2": "utf-16-be", "ujis": "euc_jp", "utf16": "utf-16-be", "utf16le": "utf-16-le", "utf32": "utf-32-be",
        "utf8": "utf-8", "utf8mb3": "utf-8", "utf8mb4": "utf-8",
    }
)  # fmt: skip
"""The servers' character sets that Python decodes, by the servers' names. ``latin1`` is not ISO 8859-1: see below."""

# ruff: noqa: RUF001 - characters that look alike are the subject here
# Where the servers' tables differ from Python's: (Python's characters, theirs), found by comparing every code.
_THEIRS = {
    "big5": ("‧﹑¯～⊕⊙∕﹨￥￠￡", "•､‾∼♁☉／＼¥¢£"),
    "cp866": ("№¤", "ⁿ²"),
    "eucjpms": ("〜‖−¢£¬", "～∥－￠￡￢"),
    "gb18030": ("\ue7c7ḿ", "ḿ\ue7c7"),
    "greek": ("‘’", "ʽʼ"),
    "hebrew": ("¯", "‾"),
    "koi8u": ("∙", "•"),
    "sjis": ("＼", "\\"),
    "ujis": ("＼", "\\"),
}
_TRANSLATIONS = {charset: str.maketrans(*characters) for charset, characters in _THEIRS.items()}

# The servers' latin1 is Windows-1252 with its five unassigned bytes standing for the control characters they are in
# ISO 8859-1, where Python's cp1252 would raise.
_LATIN1 = "".join(
    chr(byte) if byte in (0x81, 0x8D, 0x8F, 0x90, 0x9D) else bytes([byte]).decode("cp1252") for byte in range(256)
)


def decodable(charset: str) -> bool:
    """Whether ``decode`` knows the character set."""
    return charset in CODECS or charset == "latin1"


def decode(raw: bytes, charset: str) -> str:
    """Bytes of a server character set as text. Bytes that are not valid in it become U+FFFD."""
    if charset == "latin1":
        return "".join([_LATIN1[byte] for byte in raw])
    decoded = raw.decode(CODECS[charset], "replace")
    translation = _TRANSLATIONS.get(charset)
    return decoded.translate(translation) if translation else decoded


def text(raw: bytes, charset: str) -> bytes:
    """A string column."""
    return _encode(decode(raw, charset))


def binary(raw: bytes) -> bytes:
    """A BINARY, VARBINARY or BLOB column: base64."""
    return b'"' + base64.b64encode(raw) + b'"'


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


def float64(raw: bytes) -> bytes:
    """DOUBLE: the shortest decimal that reads back as the same."""
    return repr(struct.unpack("<d", raw)[0]).encode()


_DIGIT_BYTES = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)


def decimal_size(precision: int, scale: int) -> int:
    """Bytes that DECIMAL(precision, scale) takes: four for each nine digits, fewer for the rest."""
    whole, rest = divmod(precision - scale, 9)
    fraction, tail = divmod(scale, 9)
    return 4 * (whole + fraction) + _DIGIT_BYTES[rest] + _DIGIT_BYTES[tail]


def decimal(raw: bytes, precision: int, scale: int) -> bytes:
    """DECIMAL: exact, with its scale. Stored big-endian, sign bit flipped, negatives inverted."""
    negative = not raw[0] & 0x80
    data = bytes([raw[0] ^ 0x80, *raw[1:]])
    if negative:
        data = bytes(byte ^ 0xFF for byte in data)
    rest, tail = (precision - scale) % 9, scale % 9
    at, digits = 0, ""
    for count in [rest, *[9] * ((precision - scale) // 9), *[9] * (scale // 9), tail]:
        size = _DIGIT_BYTES[count]
        if count:
            digits += str(int.from_bytes(data[at : at + size], "big")).zfill(count)
        at += size
    whole = digits[: precision - scale].lstrip("0") or "0"
    fraction = "." + digits[precision - scale :] if scale else ""
    return f'"{"-" if negative else ""}{whole}{fraction}"'.encode()


def date(packed: int) -> str:
    """DATE, as the server prints it, zero parts included."""
    return f"{packed >> 9:04d}-{packed >> 5 & 15:02d}-{packed & 31:02d}"


def fraction(raw: bytes, digits: int) -> str:
    """The fractional seconds of a temporal column, exactly ``digits`` of them; stored in (digits + 1) // 2 bytes."""
    if not digits:
        return ""
    hundredths = int.from_bytes(raw, "big") * 10 ** (6 - 2 * len(raw))
    return f".{hundredths:06d}"[: digits + 1]


def datetime2(raw: bytes, digits: int) -> bytes:
    """DATETIME(f): 5 bytes big-endian (sign, year·13 + month, day, hour, minute, second), then the fraction."""
    packed = int.from_bytes(raw[:5], "big") - 0x8000000000
    months, day = packed >> 22, packed >> 17 & 31
    clock = f"{packed >> 12 & 31:02d}:{packed >> 6 & 63:02d}:{packed & 63:02d}"
    return f'"{months // 13:04d}-{months % 13:02d}-{day:02d}T{clock}{fraction(raw[5:], digits)}"'.encode()


def timestamp2(raw: bytes, digits: int) -> bytes:
    """TIMESTAMP(f): Unix seconds, big-endian, then the fraction; 0 is the zero date."""
    seconds = int.from_bytes(raw[:4], "big")
    tail = fraction(raw[4:], digits)
    if not seconds:
        return f'"0000-00-00T00:00:00{tail}Z"'.encode()
    days, clock = divmod(seconds, 86400)
    year, month, day = _civil(days)
    time = f"{clock // 3600:02d}:{clock // 60 % 60:02d}:{clock % 60:02d}{tail}"
    return f'"{year:04d}-{month:02d}-{day:02d}T{time}Z"'.encode()


def _civil(days: int) -> tuple[int, int, int]:
    """Year, month and day of a count of days since 1970-01-01, in the proleptic Gregorian calendar."""
    era, day_of_era = divmod(days + 719468, 146097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    return year_of_era + era * 400 + (month <= 2), month, day_of_year - (153 * shifted + 2) // 5 + 1


def time2(raw: bytes, digits: int) -> bytes:
    """TIME(f): 3 bytes and the fraction as one offset number, so that a negative time borrows from its seconds."""
    size = 3 + (digits + 1) // 2
    packed = int.from_bytes(raw[:size], "big") - (0x800000 << 8 * (size - 3))
    sign = "-" if packed < 0 else ""
    magnitude = abs(packed)
    seconds = magnitude >> 8 * (size - 3)
    tail = fraction((magnitude & ((1 << 8 * (size - 3)) - 1)).to_bytes(size - 3, "big"), digits)
    return f'"{sign}{seconds >> 12 & 1023:02d}:{seconds >> 6 & 63:02d}:{seconds & 63:02d}{tail}"'.encode()
