"""What ``where`` means, written down a second time in the plainest way: the judge of every filtered delivery."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from journal.types import INSERT, UPDATE, Event

Row = dict[str, Any]
Where = Mapping[str, Any]


def passes(row: Row, where: Where) -> bool:
    """Whether a row passes: every condition, one after the other."""
    return all(_holds(_value(row, name.split(".")), wanted) for name, wanted in where.items())


OLD = "was"  # the key under which a row of these strategies holds what an update found


def concerned(row: Row, where: Where) -> bool:
    """Whether a filtered client is sent it: an update also if the row passed before."""
    return passes(row, where) or passes({**row, **row.get(OLD, {})}, where)


def event(offset: int, row: Row) -> Event:
    """The event of a row, an update if it says what it was."""
    old = row.get(OLD)
    text = b"" if old is None else message(old)
    return Event("c", offset, INSERT if old is None else UPDATE, message(row), 0.0, text)


def _value(value: Any, names: list[str]) -> Any:
    for name in names:
        if isinstance(value, list):
            value = value[int(name)] if name.isdigit() and int(name) < len(value) else None
        else:
            value = value.get(name) if isinstance(value, dict) else None
    return value


def _holds(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, list):
        return any(_same(value, each) for each in wanted)
    if isinstance(wanted, dict):
        return all(_operator(value, name, each) for name, each in wanted.items())
    return _same(value, wanted)


def _operator(value: Any, name: str, wanted: Any) -> bool:
    if name == "in":
        return _holds(value, wanted)
    if name in {"eq", "ne"}:
        return _same(value, wanted) is (name == "eq")
    if name == "like":
        pattern = "".join({"%": ".*", "_": "."}.get(each, re.escape(each)) for each in wanted)
        return isinstance(value, str) and re.fullmatch(pattern, value, re.DOTALL) is not None
    if isinstance(value, bool) or isinstance(value, str) is not isinstance(wanted, str):
        return False
    if not isinstance(value, str | int | float):
        return False
    return bool({"gt": value > wanted, "gte": value >= wanted, "lt": value < wanted, "lte": value <= wanted}[name])


def _same(value: Any, wanted: Any) -> bool:
    return isinstance(value, bool) is isinstance(wanted, bool) and bool(value == wanted)


# Few values, so that rows and filters meet.
scalars = st.sampled_from(
    [None, True, False, 0, 1, 2, 1.0, 1.5, 2**53 + 1, "", "1", "person", "car", "a%b", "é", "a\nb"]
)
values = st.one_of(scalars, st.lists(scalars, max_size=2), st.dictionaries(st.sampled_from("ab"), scalars, max_size=2))
_rows = st.dictionaries(st.sampled_from(["id", "cctv_id", "data", 'a"b']), values, max_size=4)
rows: st.SearchStrategy[Row] = st.one_of(_rows, _rows, st.builds(lambda row, old: {**row, OLD: old}, _rows, _rows))
_ordered = st.sampled_from([0, 1, 1.5, 2, "1", "car", "x"])
_patterns = st.text(alphabet="%_apcernosb1é\n", max_size=6)
_operators = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("eq", "ne"), scalars),
        **dict.fromkeys(("gt", "gte", "lt", "lte"), _ordered),
        "in": st.lists(scalars, min_size=1, max_size=3),
        "like": _patterns,
    },
).filter(bool)
wheres: st.SearchStrategy[Where] = st.dictionaries(
    st.sampled_from(["id", "cctv_id", "data", "data.a", "data.b", "data.0", 'a"b', "none", "data.a.b"]),
    st.one_of(scalars, st.lists(scalars, min_size=1, max_size=3), _operators),
    max_size=2,
)


def message(row: Row) -> bytes:
    """A row as the journal holds it."""
    return json.dumps(row, ensure_ascii=False).encode()
