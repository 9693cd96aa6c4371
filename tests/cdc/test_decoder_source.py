from __future__ import annotations

import ast
import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc import tablemap as t
from cdc import values
from cdc.errors import UndecodableRow
from cdc.rows import Shape, compile_decoder
from cdc.tablemap import Column
from tests.cdc.images import column, decoder, rows, value


def required(name: str, kind: int = t.LONG) -> Column:
    return Column(name, kind, b"", nullable=False)


ID, PRICE = required("id"), column(t.LONG, name="price")
NAME = column(t.VARCHAR, b"\x40\0", name="name", collation=45)


def image(nulls: int, *parts: bytes) -> bytes:
    return bytes([nulls]) + b"".join(parts)


def number(value: int) -> bytes:
    return struct.pack("<i", value)


def test_rows_with_and_without_null_stand_side_by_side() -> None:
    """In one event: no NULL, one in the middle, one at the end, both."""
    decode = decoder(ID, PRICE, NAME)
    body = b"head" + image(0xF8, number(1), number(10), b"\3one") + image(0xFA, number(2), b"\3two")
    body += image(0xFC, number(3), number(30)) + image(0xFE, number(4))
    assert [json.loads(message) for message in decode(body, rows(3, start=4), len(body))] == [
        {"id": 1, "price": 10, "name": "one"},
        {"id": 2, "price": None, "name": "two"},
        {"id": 3, "price": 30, "name": None},
        {"id": 4, "price": None, "name": None},
    ]


def test_neighbours_of_fixed_width_are_read_together() -> None:
    """The source is straight-line: one look at a row's fixed part, however many columns it has."""
    source = decoder(*[required(f"c{i}") for i in range(5)]).source
    assert source.count("(body, at)") == 3  # once in decode, with the NULLs skipped over, once in texts, and its head
    assert 'Struct("<xiiiii")' in source
    assert 'Struct("<iiiii")' in source


def test_columns_that_nobody_wants_are_skipped_unread() -> None:
    """Of a fixed width or not, NULL or not; a table of which nothing is wanted gives empty objects."""
    body = image(0xF8, number(1), number(10), b"\2\xff\xfe") + image(0xFE, number(2))
    wishes: dict[tuple[str, ...], list[Any]] = {
        ("id",): [{"id": 1}, {"id": 2}],
        ("price",): [{"price": 10}, {"price": None}],
        (): [{}, {}],
    }
    for wish, expected in wishes.items():
        decode = decoder(ID, PRICE, NAME, columns=wish)
        assert [json.loads(message) for message in decode(body, rows(3), len(body))] == expected
        assert "decode(" not in decode.source.replace("def decode(", "")


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=20), min_size=1, max_size=4, unique=True))
def test_a_name_is_only_a_name(names: list[str]) -> None:
    """Quotes, percent signs, line ends and Python's own words in names are no part of the program."""
    columns = [column(t.LONG, name=name) for name in names]
    decode = decoder(*columns)
    ast.parse(decode.source)
    body = image(0xF0, *map(number, range(len(names))))
    (message,) = decode(body, rows(len(names)), len(body))
    assert json.loads(message) == {name: i for i, name in enumerate(names)}


@pytest.mark.parametrize("table", ["x\nraise SystemExit", '"""', "# %d {}"])
def test_a_table_name_is_only_a_comment(table: str) -> None:
    """Whatever a table is called, the source begins with one line that says so."""
    one = t.TableMap("shop", table, (ID,), named=True)
    made = compile_decoder(one, Shape(None, {}, bigint_strings=False, charsets={}))
    assert ast.get_docstring(ast.parse(made.source)) is None
    assert made(image(0xFE, number(7)), rows(1), 5) == [b'{"id":7}']


PIECES = [
    b"",
    b"\0",
    b"\x1f",
    b"\x7f",
    b'"',
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"\xed\xa0\x80",
    b"\xff",
    b"\xc3",
    b"\xa9",
    "é".encode(),
]
PIECES += [
    "😀".encode(),
    b" ",
    b"\n",
    b"1",
    b"-0",
    b"1e400",
    b"[",
    b"]",
    b",",
    b"{",
    b"}",
    b'"a":',
    b"null",
    b"NaN",
    b"x" * 255,
]
raws = st.lists(st.sampled_from(PIECES), max_size=6).map(b"".join) | st.binary(max_size=300)
jsons = raws | st.lists(raws.map(lambda raw: b'"%b"' % raw), max_size=3).map(lambda some: b" [%b]\n" % b",".join(some))


@given(st.lists(st.tuples(jsons, raws, st.booleans()), min_size=1, max_size=5), st.booleans())
def test_the_short_way_tells_the_same(values_: list[tuple[bytes, bytes, bool]], required_: bool) -> None:
    """Usual and unusual values in one event, as by the functions that take any."""
    data = Column("data", t.BLOB, b"\2", nullable=False, collation=45)
    name = Column("%b", t.VARCHAR, b"\0\4", nullable=not required_, collation=45)
    decode = decoder(data, name, hidden={"data": "json"})
    body, expected = b"", []
    for raw, text, present in values_:
        there = present or required_
        body += bytes([0xFC | (0 if there else 2)]) + struct.pack("<H", len(raw)) + raw
        body += struct.pack("<H", len(text)) + text if there else b""
        rendered = values.encode(text.decode("utf-8", "replace")) if there else b"null"
        expected.append(b'{"data":%b,"%%b":%b}' % (values.json_text(raw), rendered))
    assert decode(body, rows(2), len(body)) == expected


def test_wide_tables_have_wide_bitmaps() -> None:
    """Nine columns and more: the NULLs of a row are one number."""
    columns = [column(t.TINY, name=f"c{i}") for i in range(300)]
    decode = decoder(*columns)
    holes = {0, 7, 8, 63, 64, 299}
    nulls = sum(1 << i for i in holes).to_bytes(38, "little")
    body = nulls + bytes(i % 100 for i in range(300) if i not in holes)
    (message,) = decode(body, rows(300), len(body))
    assert json.loads(message) == {f"c{i}": None if i in holes else i % 100 for i in range(300)}


@pytest.mark.parametrize("cut", [1, 3, 6, 8, 9])
def test_an_image_that_ends_early_is_undecodable(cut: int) -> None:
    """Nothing is read from beyond the event."""
    body = image(0xF8, number(1), number(10), b"\3one")[:-cut]
    decode = decoder(ID, PRICE, NAME)
    with pytest.raises(UndecodableRow, match=r"shop\.goods"):
        decode(body, rows(3), len(body))
    with pytest.raises(UndecodableRow, match=r"shop\.goods"):
        decode.texts(body, 0, 3, b"\7")


def test_null_in_a_required_column_is_undecodable() -> None:
    """The log contradicts its own table map: the rest of the row would be read from the wrong place."""
    for columns in [(ID,), (ID, PRICE)]:
        with pytest.raises(UndecodableRow, match="NOT NULL"):
            decoder(*columns)(b"\xff" * 9, rows(len(columns)), 9)


@pytest.mark.parametrize("present", [b"\1", b"\2", b"\0"])
def test_an_image_without_all_columns_is_undecodable(present: bytes) -> None:
    """As a server logs them that was told binlog_row_image=MINIMAL."""
    decode = decoder(ID, PRICE)
    with pytest.raises(UndecodableRow, match="binlog_row_image"):
        decode(image(0xFC, number(1), number(2)), rows(2)._replace(present=present), 9)
    with pytest.raises(UndecodableRow, match="binlog_row_image"):
        decode.texts(image(0xFC, number(1), number(2)), 0, 2, present)
    with pytest.raises(UndecodableRow, match="binlog_row_image"):
        decode(image(0xFC, number(1), number(2)), rows(3), 9)


def test_an_image_column_by_column() -> None:
    """For images that are compared: each column's JSON text, and where the next image begins."""
    decode = decoder(ID, PRICE, NAME, columns=("id", "name"))
    body = image(0xF8, number(1), number(10), b'\3o"e') + image(0xFC, number(1), number(20))
    assert decode.columns == ["id", "name"]
    texts, at = decode.texts(body, 0, 3, b"\7")
    assert (texts, at) == ([b"1", b'"o\\"e"'], 13)
    assert decode.texts(body, at, 3, b"\7") == ([b"1", b"null"], len(body))


NUMBERS: list[tuple[Column, bytes, Any]] = [
    (column(t.INT24), b"\xff\xff\xff", -1),
    (column(t.INT24, unsigned=True), b"\xff\xff\xff", 0xFFFFFF),
    (column(t.YEAR), b"\0", 0),
    (column(t.YEAR), b"\x7e", 2026),
    (column(t.BIT, b"\1\0"), b"\1", 1),
    (column(t.BIT, b"\1\1"), b"\1\xff", 511),
    (column(t.DATE), b"\0\0\0", "0000-00-00"),
    (column(t.SET, b"\xf8\3", collation=45, labels=tuple(b"%d" % i for i in range(20))), b"\1\0\x08", ["0", "19"]),
    (column(t.ENUM, b"\xf7\1", collation=45, labels=(b'"',)), b"\0", ""),
    (column(t.ENUM, b"\xf7\1", collation=45, labels=(b'"',)), b"\1", '"'),
]


@pytest.mark.parametrize(("one", "raw", "expected"), NUMBERS)
def test_odd_widths(one: Column, raw: bytes, expected: Any) -> None:
    """Values whose width is none that a machine has, and labels by number."""
    assert value(one, raw) == expected
