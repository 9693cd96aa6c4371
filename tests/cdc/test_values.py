from __future__ import annotations

import struct
from decimal import Decimal

from hypothesis import assume, given
from hypothesis import strategies as st

from cdc import values

GROUP_BYTES = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)


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
    assert struct.pack("<d", float(values.encode(struct.unpack("<d", raw)[0]))) == raw


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
    text = values.decimal(raw, precision, scale).decode()
    assert Decimal(text) == Decimal((negative, tuple(map(int, str(number))), -scale))
    assert len(text.partition(".")[2]) == scale
    assert not text.lstrip("-").startswith("00")
