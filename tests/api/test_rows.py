from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors import InvalidBody, NotJson
from api.rows import MAX_DEPTH, MAX_ITEM_ERRORS, read_many, read_one

LIMITS = {"account": 255, "url": 2048}
TEMPLATE = '{"account":"shop","data":%s,"url":"https://example.org"}'

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def body(**fields):
    return json.dumps({"account": "shop", "data": 1, "url": "u", **fields}).encode()


def failure_of(text, limits=LIMITS):
    with pytest.raises((NotJson, InvalidBody)) as caught:
        read_one(text.encode() if isinstance(text, str) else text, limits)
    return caught.value.failure


@pytest.mark.parametrize(
    "data",
    [
        "null",
        "false",
        '"text"',
        "18446744073709551616123456789",
        "1" + "0" * 6000,
        "1.10",
        "1e999",
        '{"b":1,"a":2,"b":3}',
        '[1, 2 ,\t{"x" : []}]',
        r'"\u0000\ud83d\ude00\/"',
        '"é😀"',
    ],
)
def test_data_stays_as_the_client_wrote_it(data):
    """Digits, key order, inner spaces and escapes of ``data`` are not touched."""
    assert read_one((TEMPLATE % data).encode(), LIMITS).data == data


@given(json_values)
def test_any_json_value_is_taken(value):
    """Whatever a JSON library writes is read, and means the same."""
    for ascii_only in (True, False):
        try:
            text = (TEMPLATE % json.dumps(value, ensure_ascii=ascii_only)).encode()
        except UnicodeEncodeError:  # an unpaired surrogate has no UTF-8
            continue
        assert json.loads(read_one(text, LIMITS).data) == value


@given(st.binary(max_size=200) | st.text(alphabet='{}[]",:\\ud8cnatrl0.eE+-\0 "account"', max_size=100).map(str.encode))
def test_whatever_comes_is_read_or_refused(junk):
    """No bytes at all lead to another error than the two that are answered."""
    for text in (junk, (TEMPLATE % "0").encode().replace(b"0", junk)):
        with contextlib.suppress(NotJson, InvalidBody):
            assert json.loads(read_one(text, LIMITS).data, parse_int=str) is not ...


@pytest.mark.parametrize(
    ("text", "position", "line", "column"),
    [
        ('{"account" 1}', 11, 1, 12),
        ('{\n "account": nul}', 14, 2, 13),
        ("", 0, 1, 1),
        ('{"account":', 11, 1, 12),
        ('{"account":"é", é}', 17, 1, 17),
        (TEMPLATE % "NaN", 25, 1, 26),
        (TEMPLATE % "-Infinity", 26, 1, 27),
        (TEMPLATE % "01", 26, 1, 27),
        (TEMPLATE % '"a\nb"', 27, 1, 28),
        (TEMPLATE % "1" + " x", 56, 1, 57),
        (TEMPLATE % r'"\ud800"', 26, 1, 27),
        (TEMPLATE % r'"\\\udc00 "', 28, 1, 29),
        (b'{"account":"\xff"}', 12, 1, 13),
        (b'{"a":"\xed\xa0\x80"}', 6, 1, 7),
        (b"\xef\xbb\xbf{}", 0, 1, 1),
    ],
)
def test_what_is_not_json_is_placed(text, position, line, column):
    """The answer says where the text stops being JSON: in bytes, and as a line and column of characters."""
    failure = failure_of(text)
    assert (failure.position, failure.line, failure.column) == (position, line, column)
    assert f"line {line}, column {column}" in failure.error


def test_an_unpaired_surrogate_is_named():
    """The message says which escape has no partner, where msgspec alone would say something else."""
    assert r"unpaired surrogate \ud800" in failure_of(TEMPLATE % r'"\\ \ud83d\ude00 \ud800"').error


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("[]", "$"),
        ("7", "$"),
        ('{"account":1,"data":1,"url":"u"}', "$.account"),
        ('{"account":null,"data":1,"url":"u"}', "$.account"),
        ('{"account":"a","data":1,"url":["u"]}', "$.url"),
        ('{"account":"a","url":"u"}', "$.data"),
        ('{"account":"a","data":1}', "$.url"),
        ("{}", "$.account"),
        ('{"account":"a","data":1,"url":"u","acount":1}', "$.acount"),
        ('{"account":"a","account":"b","data":1,"url":"u"}', "$.account"),
        ('{"account":"a","data":1,"url":"u","data":' + json.dumps("x" * 400) + "}", "$.data"),
        ('{"account":"a","data":' + json.dumps({"url": "x" * 400}) + ',"url":"u","url":"v"}', "$.url"),
        (r'{"account":"a\u0000","data":1,"url":"u"}', "$.account"),
        (r'{"account":"a","data":1,"url":"\u0000"}', "$.url"),
        (TEMPLATE % ("[" * 100_000 + "]" * 100_000), "$"),
        (TEMPLATE % ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)), "$.data"),
        (TEMPLATE % ('{"a":' * (MAX_DEPTH + 1) + "1" + "}" * (MAX_DEPTH + 1)), "$.data"),
        (body(timestamp=12).decode(), "$.timestamp"),
        (body(timestamp="yesterday").decode(), "$.timestamp"),
        (body(timestamp="2026-11-23T08:19:33").decode(), "$.timestamp"),
        (body(timestamp="2026-11-23").decode(), "$.timestamp"),
        (body(timestamp="2026-02-30T00:00:00Z").decode(), "$.timestamp"),
        (body(timestamp="0999-12-31T23:59:59Z").decode(), "$.timestamp"),
        (body(timestamp="0001-01-01T00:00:00+14:00").decode(), "$.timestamp"),
        (body(timestamp="9999-12-31T23:59:59-01:00").decode(), "$.timestamp"),
    ],
)
def test_what_is_not_a_result_is_refused_with_its_path(text, path):
    """A wrong, missing, unknown, repeated or impossible field is named by its path."""
    failure = failure_of(text)
    assert failure.path == path
    assert path in failure.error


def test_a_timestamp_without_a_zone_is_told_what_it_lacks():
    """The most likely mistake with a timestamp is explained."""
    assert "timezone" in failure_of(body(timestamp="2026-11-23T08:19:33")).error


def test_a_text_longer_than_its_column_is_refused_with_both_lengths():
    """Characters are counted, not bytes; the answer has the limit and the length."""
    assert read_one(body(account="é" * 255), LIMITS).account == "é" * 255
    failure = failure_of(body(account="é" * 256))
    assert (failure.path, failure.limit, failure.length) == ("$.account", 255, 256)
    assert read_one(body(account="é" * 256), {}).account == "é" * 256


def test_the_deepest_allowed_value_is_taken():
    """Nesting counts real brackets only: those in strings nest nothing."""
    deepest = "[" * MAX_DEPTH + json.dumps('["\\' + "[" * 100) + "]" * MAX_DEPTH
    assert read_one((TEMPLATE % deepest).encode(), LIMITS).data == deepest
    wide = "[" + ",".join(["[[]]"] * 1000) + "]"
    assert read_one((TEMPLATE % wide).encode(), LIMITS).data == wide


def test_data_may_use_the_names_of_the_fields():
    """A name counts as given twice in the result itself, not in its data."""
    data = '{"url":"a","account":{"data":1,"timestamp":2},"long":"' + "x" * 300 + '"}'
    for text in (data, '{"url":1}', '"url"', '"account"'):
        assert read_one((TEMPLATE % text).encode(), LIMITS).data == text


@pytest.mark.parametrize(
    ("given_text", "stored"),
    [
        ("2026-11-23T08:19:33.999Z", "2026-11-23 08:19:33.999"),
        ("2026-11-23T08:19:33.9999Z", "2026-11-23 08:19:33.999"),
        ("2026-11-23t08:19:33z", "2026-11-23 08:19:33.000"),
        ("2026-11-23T08:19:33+05:30", "2026-11-23 02:49:33.000"),
        ("2026-11-23T00:00:00.001-12:00", "2026-11-23 12:00:00.001"),
        ("1000-01-01T00:00:00Z", "1000-01-01 00:00:00.000"),
        ("9999-12-31T23:59:59.999Z", "9999-12-31 23:59:59.999"),
    ],
)
def test_a_timestamp_becomes_utc_with_milliseconds(given_text, stored):
    """Zones are converted, digits beyond milliseconds are cut, and the whole range of DATETIME is taken."""
    assert read_one(body(timestamp=given_text), LIMITS).timestamp == stored


def test_now_is_told_to_the_millisecond(monkeypatch):
    """Moments follow each other, also from one second to the next."""
    told = []
    for moment in (1_700_000_000_001_999_999, 1_700_000_000_999_000_000, 1_700_000_001_000_000_000):
        monkeypatch.setattr("api.rows.time.time_ns", lambda moment=moment: moment)
        told.append(read_one(body(), LIMITS).timestamp)
    assert told == ["2023-11-14 22:13:20.001", "2023-11-14 22:13:20.999", "2023-11-14 22:13:21.000"]


@pytest.mark.parametrize("text", [body(), body(timestamp=None)])
def test_without_a_timestamp_it_is_now(text):
    """A missing timestamp, or null, is the moment of the request in UTC."""
    moment = datetime.fromisoformat(read_one(text, LIMITS).timestamp).replace(tzinfo=UTC)
    assert abs(datetime.now(UTC) - moment) < timedelta(seconds=10)


def test_an_array_becomes_rows_in_order():
    """The items of a batch stay in order, each with its data as written."""
    rows = read_many(b"[" + body(account="a") + b" ," + body(account="b", data=[1]) + b"]", LIMITS, lines=False)
    assert [(row.account, row.data) for row in rows] == [("a", "1"), ("b", "[1]")]


def test_lines_become_rows_in_order():
    """Lines end with LF or CRLF; empty ones, as at the end, are passed over."""
    text = body(account="a") + b"\r\n\n" + body(account="b") + b"\n"
    assert [row.account for row in read_many(text, LIMITS, lines=True)] == ["a", "b"]


@pytest.mark.parametrize("lines", [True, False])
def test_each_bad_item_is_named_with_its_index(lines):
    """One bad item refuses the batch, and every bad one is listed with its index and path."""
    items = [body(), body(account=1), body(), body(timestamp="x")]
    text = b"\n".join(items) if lines else b"[" + b",".join(items) + b"]"
    with pytest.raises(InvalidBody) as caught:
        read_many(text, LIMITS, lines=lines)
    assert [(item.index, item.path) for item in caught.value.failure.errors] == [(1, "$.account"), (3, "$.timestamp")]


def test_a_broken_line_is_an_item_error():
    """A line that is not JSON does not hide what is wrong with the others."""
    with pytest.raises(InvalidBody) as caught:
        read_many(b'{"acc\n' + body(url=1), LIMITS, lines=True)
    assert [item.index for item in caught.value.failure.errors] == [0, 1]


@pytest.mark.parametrize(
    ("text", "lines", "kind"),
    [
        (b"[]", False, InvalidBody),
        (b"\n\n", True, InvalidBody),
        (body(), False, InvalidBody),
        (b"[1,", False, NotJson),
        (b"[" * 100_000, False, InvalidBody),
        (b"\xff", True, NotJson),
    ],
)
def test_what_is_not_a_batch_is_refused(text, lines, kind):
    """An empty batch, one result alone, half an array and what is not text get an answer of their own."""
    with pytest.raises(kind):
        read_many(text, LIMITS, lines=lines)


def test_the_list_of_bad_items_is_bounded():
    """A batch of nothing but mistakes is not answered with a list as long as itself."""
    with pytest.raises(InvalidBody) as caught:
        read_many(b"[" + b",".join([b"1"] * 1000) + b"]", LIMITS, lines=False)
    assert len(caught.value.failure.errors) == MAX_ITEM_ERRORS
