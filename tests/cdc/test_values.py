from __future__ import annotations

import datetime as dt
import json
import struct
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cdc import values

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
GROUP_BYTES = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)
digits = st.integers(0, 6)


def test_every_character_set_has_a_codec() -> None:
    """Each name in the table is one that Python knows, and latin1 is decodable without one."""
    for charset in values.CODECS:
        assert values.decode(b"", charset) == ""
    assert values.decodable("latin1")
    assert not values.decodable("keybcs2")


def test_bytes_that_are_not_valid_do_not_raise() -> None:
    """They become U+FFFD, and the row arrives."""
    assert values.text(b"a\xffb", "utf8mb4") == '"a\ufffdb"'.encode()
    assert json.loads(values.text(b"\xd8\x00", "utf16")) == "\ufffd"


def test_latin1_is_windows_1252_without_holes() -> None:
    """The five bytes that Windows leaves unassigned are control characters; no byte raises."""
    text = values.decode(bytes(range(256)), "latin1")
    assert [ord(text[byte]) for byte in (0x81, 0x8D, 0x8F, 0x90, 0x9D)] == [0x81, 0x8D, 0x8F, 0x90, 0x9D]
    assert (text[0x80], text[0xE9], len(text)) == ("€", "é", 256)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_every_float_reads_back_the_same(number: float) -> None:
    """With the fewest digits that do."""
    raw = struct.pack("<f", number)
    text = values.float32(raw)
    assert struct.pack("<f", float(text)) == raw
    fewer = len(text.split(b"e")[0].replace(b".", b"").strip(b"-0")) - 1
    if fewer > 0:
        try:
            assert struct.pack("<f", float(f"{number:.{fewer}g}")) != raw
        except OverflowError:
            return


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_double_reads_back_the_same(number: float) -> None:
    """Negative zero and the smallest included."""
    raw = struct.pack("<d", number)
    assert struct.pack("<d", float(values.float64(raw))) == raw


def packed_decimal(digits: str, precision: int, scale: int, *, negative: bool) -> bytes:
    """The server's format: groups of nine digits, big-endian, the sign bit flipped, all inverted when negative."""
    whole, fraction = digits[: precision - scale], digits[precision - scale :]
    first, last = len(whole) % 9, len(fraction) % 9
    groups = [whole[:first], *[whole[i : i + 9] for i in range(first, len(whole), 9)]]
    groups += [fraction[i : i + 9] for i in range(0, len(fraction) - last, 9)] + [fraction[len(fraction) - last :]]
    data = bytearray(b"".join(int(g).to_bytes(GROUP_BYTES[len(g)], "big") for g in groups if g))
    if negative:
        data = bytearray(byte ^ 0xFF for byte in data)
    data[0] ^= 0x80
    return bytes(data)


@given(st.data())
def test_every_decimal_is_exact(data: st.DataObject) -> None:
    """In every precision and scale that the servers allow."""
    precision = data.draw(st.integers(1, 65))
    scale = data.draw(st.integers(0, min(30, precision)))
    number = data.draw(st.integers(0, 10**precision - 1))
    negative = data.draw(st.booleans())
    assume(number or not negative)
    raw = packed_decimal(str(number).zfill(precision), precision, scale, negative=negative)
    assert values.decimal_size(precision, scale) == len(raw)
    text = json.loads(values.decimal(raw, precision, scale))
    assert Decimal(text) == Decimal((negative, tuple(map(int, str(number))), -scale))
    assert len(text.partition(".")[2]) == scale
    assert not text.lstrip("-").startswith("00")


@given(st.integers(0, 9999), st.integers(0, 15), st.integers(0, 31))
def test_every_date_is_its_parts(year: int, month: int, day: int) -> None:
    """Whether or not the calendar knows it."""
    assert values.date(year << 9 | month << 5 | day) == f"{year:04d}-{month:02d}-{day:02d}"


@given(st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31)), digits)  # noqa: DTZ001 - DATETIME has no zone
def test_every_datetime_is_its_parts(moment: dt.datetime, fsp: int) -> None:
    """With exactly the digits of the column."""
    unit = 10 ** (6 - fsp)
    moment = moment.replace(microsecond=moment.microsecond // unit * unit)
    days = (moment.year * 13 + moment.month) << 5 | moment.day
    packed = 0x8000000000 | days << 17 | moment.hour << 12 | moment.minute << 6 | moment.second
    expected = moment.isoformat(timespec="microseconds")[: 19 + (fsp + 1 if fsp else 0)]
    assert json.loads(values.datetime2(packed.to_bytes(5, "big") + tail(moment.microsecond, fsp), fsp)) == expected


@given(st.integers(1, 2**32 - 1), st.integers(0, 999999), digits)
def test_every_timestamp_is_in_utc(seconds: int, micro: int, fsp: int) -> None:
    """Up to 2106, where newer MariaDB servers end."""
    unit = 10 ** (6 - fsp)
    moment = EPOCH + dt.timedelta(seconds=seconds, microseconds=micro // unit * unit)
    expected = moment.isoformat(timespec="microseconds")[: 19 + (fsp + 1 if fsp else 0)] + "Z"
    assert json.loads(values.timestamp2(seconds.to_bytes(4, "big") + tail(moment.microsecond, fsp), fsp)) == expected


@given(st.integers(0, 838), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999999), digits, st.booleans())
def test_every_time_borrows_from_one_number(  # noqa: PLR0917 - the parts of a time
    hour: int, minute: int, second: int, micro: int, fsp: int, negative: bool
) -> None:
    """A negative time with a fraction is stored as one negative number, not as a negative part and a positive one."""
    unit = 10 ** (6 - fsp)
    micro = micro // unit * unit
    assume(not negative or hour or minute or second or micro)
    size = (fsp + 1) // 2
    number = (hour << 12 | minute << 6 | second) << 8 * size | int.from_bytes(tail(micro, fsp), "big")
    raw = ((-number if negative else number) + (0x800000 << 8 * size)).to_bytes(3 + size, "big")
    expected = f"{hour:02d}:{minute:02d}:{second:02d}" + (f".{micro:06d}"[: fsp + 1] if fsp else "")
    assert json.loads(values.time2(raw, fsp)) == ("-" if negative else "") + expected


def tail(micro: int, fsp: int) -> bytes:
    """The bytes of a fraction: hundredths, ten-thousandths or millionths."""
    size = (fsp + 1) // 2
    return (micro // 10 ** (6 - 2 * size)).to_bytes(size, "big") if size else b""


@pytest.mark.parametrize(
    ("fsp", "text"), [(0, "0000-00-00T00:00:00Z"), (3, "0000-00-00T00:00:00.000Z"), (6, "0000-00-00T00:00:00.000000Z")]
)
def test_the_zero_timestamp_is_not_1970(fsp: int, text: str) -> None:
    """Zero seconds are the zero date, with the digits of the column."""
    assert json.loads(values.timestamp2(bytes(4 + (fsp + 1) // 2), fsp)) == text
