"""Dates and times: from their bytes in a row image to the text inside the JSON quotes. Pure.

Format: MySQL's ``my_time.cc`` (packed temporal types). Rows that follow each other have mostly the same seconds, so the
text of a second is kept for the next row; how many are kept is bounded.
"""

from __future__ import annotations

from collections.abc import Callable

_KEPT = 4096


class Texts(dict[bytes, bytes]):
    """Texts by the bytes that they are made from, at most ``kept``: ``texts[raw]`` makes one once in a while."""

    def __init__(self, make: Callable[[bytes], bytes], kept: int = _KEPT) -> None:
        super().__init__()
        self._make = make
        self._most = kept

    def __missing__(self, raw: bytes) -> bytes:
        if len(self) >= self._most:
            self.clear()
        text = self[raw] = self._make(raw)
        return text


def date(packed: int) -> str:
    """DATE, as the server prints it, zero parts included."""
    return f"{packed >> 9:04d}-{packed >> 5 & 15:02d}-{packed & 31:02d}"


def _datetime(raw: bytes) -> bytes:
    """Sign, year·13 + month, day, hour, minute, second, big-endian."""
    packed = int.from_bytes(raw, "big") - 0x8000000000
    months, day = packed >> 22, packed >> 17 & 31
    clock = f"{packed >> 12 & 31:02d}:{packed >> 6 & 63:02d}:{packed & 63:02d}"
    return f"{months // 13:04d}-{months % 13:02d}-{day:02d}T{clock}".encode()


def _timestamp(raw: bytes) -> bytes:
    """Unix seconds, big-endian; 0 is the zero date."""
    seconds = int.from_bytes(raw, "big")
    if not seconds:
        return b"0000-00-00T00:00:00"
    days, clock = divmod(seconds, 86400)
    year, month, day = _civil(days)
    return f"{year:04d}-{month:02d}-{day:02d}T{clock // 3600:02d}:{clock // 60 % 60:02d}:{clock % 60:02d}".encode()


def _civil(days: int) -> tuple[int, int, int]:
    """Year, month and day of a count of days since 1970-01-01, in the proleptic Gregorian calendar."""
    era, day_of_era = divmod(days + 719468, 146097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    return year_of_era + era * 400 + (month <= 2), month, day_of_year - (153 * shifted + 2) // 5 + 1


DATES = Texts(lambda raw: date(int.from_bytes(raw, "little")).encode())
"""DATE: the text of its 3 bytes."""

DATETIMES = Texts(_datetime)
"""DATETIME: the text of its first 5 bytes, to the second."""

TIMESTAMPS = Texts(_timestamp)
"""TIMESTAMP: the text of its first 4 bytes, to the second, in UTC."""

TENTHS = Texts(lambda raw: b"%d" % (raw[0] // 10))
"""The text of a fraction of a second with one digit, which is stored in hundredths."""

HUNDREDTHS = Texts(lambda raw: b"%02d" % raw[0])
"""The text of one with two digits, by its byte."""

THOUSANDTHS = Texts(lambda raw: b"%03d" % (int.from_bytes(raw, "big") // 10))
"""The text of one with three digits, which is stored in ten-thousandths."""

TEN_THOUSANDTHS = Texts(lambda raw: b"%04d" % int.from_bytes(raw, "big"), 10_000)
"""The text of one with four digits, by its two bytes."""


def time(raw: bytes, digits: int) -> bytes:
    """TIME(f): 3 bytes and the fraction as one offset number, so that a negative time borrows from its seconds."""
    tail = 8 * (len(raw) - 3)
    packed = int.from_bytes(raw, "big") - (0x800000 << tail)
    seconds, fraction = divmod(abs(packed), 1 << tail)
    text = b"%02d:%02d:%02d" % (seconds >> 12 & 1023, seconds >> 6 & 63, seconds & 63)
    if digits:
        text += b".%0*d" % (digits, fraction // 10 if digits & 1 else fraction)
    return b"-" + text if packed < 0 else text
