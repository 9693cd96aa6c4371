from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cdc import tablemap, temporal
from tests.cdc.images import column, value

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
digits = st.integers(0, 6)


@given(st.integers(0, 9999), st.integers(0, 15), st.integers(0, 31))
def test_every_date_is_its_parts(year: int, month: int, day: int) -> None:
    """Whether or not the calendar knows it."""
    assert temporal.date(year << 9 | month << 5 | day) == f"{year:04d}-{month:02d}-{day:02d}"


@given(st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31)), digits)  # noqa: DTZ001 - DATETIME has no zone
def test_every_datetime_is_its_parts(moment: dt.datetime, fsp: int) -> None:
    """With exactly the digits of the column."""
    unit = 10 ** (6 - fsp)
    moment = moment.replace(microsecond=moment.microsecond // unit * unit)
    days = (moment.year * 13 + moment.month) << 5 | moment.day
    packed = 0x8000000000 | days << 17 | moment.hour << 12 | moment.minute << 6 | moment.second
    expected = moment.isoformat(timespec="microseconds")[: 19 + (fsp + 1 if fsp else 0)]
    assert (
        value(column(tablemap.DATETIME2, bytes([fsp])), packed.to_bytes(5, "big") + tail(moment.microsecond, fsp))
        == expected
    )


@given(st.integers(1, 2**32 - 1), st.integers(0, 999999), digits)
def test_every_timestamp_is_in_utc(seconds: int, micro: int, fsp: int) -> None:
    """Up to 2106, where newer MariaDB servers end."""
    unit = 10 ** (6 - fsp)
    moment = EPOCH + dt.timedelta(seconds=seconds, microseconds=micro // unit * unit)
    expected = moment.isoformat(timespec="microseconds")[: 19 + (fsp + 1 if fsp else 0)] + "Z"
    assert (
        value(column(tablemap.TIMESTAMP2, bytes([fsp])), seconds.to_bytes(4, "big") + tail(moment.microsecond, fsp))
        == expected
    )


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
    assert value(column(tablemap.TIME2, bytes([fsp])), raw) == ("-" if negative else "") + expected


def tail(micro: int, fsp: int) -> bytes:
    """The bytes of a fraction: hundredths, ten-thousandths or millionths."""
    size = (fsp + 1) // 2
    return (micro // 10 ** (6 - 2 * size)).to_bytes(size, "big") if size else b""


@pytest.mark.parametrize(
    ("fsp", "text"), [(0, "0000-00-00T00:00:00Z"), (3, "0000-00-00T00:00:00.000Z"), (6, "0000-00-00T00:00:00.000000Z")]
)
def test_the_zero_timestamp_is_not_1970(fsp: int, text: str) -> None:
    """Zero seconds are the zero date, with the digits of the column."""
    assert value(column(tablemap.TIMESTAMP2, bytes([fsp])), bytes(4 + (fsp + 1) // 2)) == text


def test_texts_are_made_once_and_not_kept_for_ever() -> None:
    """A text that was asked for is kept, and however many are asked for, memory stays bounded."""
    made = []
    texts = temporal.Texts(lambda raw: made.append(raw) or raw * 2)  # type: ignore[func-returns-value]
    assert (texts[b"a"], texts[b"a"], made) == (b"aa", b"aa", [b"a"])
    for i in range(3 * temporal._KEPT):
        assert texts[b"%d" % i] == b"%d%d" % (i, i)
        assert len(texts) <= temporal._KEPT
