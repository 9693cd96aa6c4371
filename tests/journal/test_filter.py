from __future__ import annotations

import gc
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal import columns as columns_module
from journal.columns import Columns
from journal.filter import MAX_CONDITIONS, MAX_DEPTH, MAX_SCANNED, MAX_VALUES, BadFilter, Filter, Filters, TooMany
from journal.types import DELETE, GAP, INSERT, UPDATE, Event
from tests.journal.selecting import Row, Where, concerned, event, rows, wheres


def events(rows: list[Row]) -> list[Event]:
    return [event(offset, row) for offset, row in enumerate(rows, 1)]


def compiled(where: object) -> Filter:
    found = Filters().get("c", where)
    assert found is not None
    return found


def selected(where: object, *rows: Row) -> list[int]:
    return list(Columns(events(list(rows))).select(compiled(where)))


@given(st.lists(rows, max_size=12), st.lists(wheres, min_size=1, max_size=4))
def test_a_filter_means_what_the_plain_predicate_means(rows: list[Row], wheres: list[Where]) -> None:
    """Whatever the rows, updates and filters: those that pass are those that pass one by one."""
    batch = Columns(events(rows))
    for where in wheres:
        wanted = Filters().get("c", where)
        found = range(len(rows)) if wanted is None else batch.select(wanted)
        assert list(found) == [place for place, row in enumerate(rows) if concerned(row, where)]


@given(wheres)
def test_filters_of_one_meaning_are_one(where: Where) -> None:
    """Written in another order, with `in` for lists or `eq` for values, it is the same filter, compiled once."""
    filters = Filters()
    longer: dict[str, Any] = {}
    for name, wanted in reversed(where.items()):
        if isinstance(wanted, list):
            longer[name] = {"in": [*reversed(wanted), wanted[0]]}
        else:
            longer[name] = dict(reversed(wanted.items())) if isinstance(wanted, dict) else {"eq": wanted}
    first = filters.get("c", where)
    assert filters.get("c", longer) is first


def test_a_filter_that_nobody_uses_is_forgotten() -> None:
    """Filters that come and go leave nothing behind."""
    filters = Filters()
    kept = filters.get("c", {"id": 1})
    for value in range(2, 50):
        filters.get("c", {"id": value})
    gc.collect()
    assert list(filters._kept.values()) == [kept]


@pytest.mark.parametrize("test", ["ne", "eq"])
def test_filters_that_cost_each_event_something_are_bounded(test: str) -> None:
    """So many conditions without equality, or paths, and no more; what nobody uses any more makes room."""
    filters = Filters()
    kept = [filters.get("c", {f"data.k{number}": {test: 1}}) for number in range(MAX_SCANNED)]
    with pytest.raises(TooMany):
        filters.get("c", {"another": {test: 1}})
    assert filters.get("c", {"data.k0": {test: 1}}) is kept[0]
    kept.pop()
    assert filters.get("c", {"another": {test: 1}})


def test_numbers_that_are_equal_are_one_filter() -> None:
    """1.0 is 1, and true is neither."""
    filters = Filters()
    assert filters.get("c", {"id": 1.0}) is filters.get("c", {"id": 1})
    assert filters.get("c", {"id": True}) is not filters.get("c", {"id": 1})


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("per%", ["person", "per"], ["a person", "PERSON", ""]),
        ("%on", ["person", "on"], ["ont", "n"]),
        ("%a%b%", ["ab", "xaxbx"], ["ba", "a"]),
        ("ab%ab", ["abab", "ab ab"], ["ab", "aba"]),
        ("a_c", ["abc", "a\nc", "aéc"], ["ac", "abbc"]),
        ("%_%_%", ["ab"], ["a", ""]),
        (r"50\%", ["50%"], ["50", "500"]),
        (r"\_%", ["_x"], ["ax"]),
        (r"a\\%", ["a\\b"], ["ab"]),
        ("a\\", ["a\\"], ["a"]),
        ("", [""], ["a"]),
        ("%", ["", "anything"], []),
        ("%.+%", ["a.+b"], ["abc"]),
    ],
)
def test_like(pattern: str, yes: list[str], no: list[str]) -> None:
    """`%` is any text, `_` any character, a backslash takes the next as it is; upper and lower case differ."""
    found = selected({"x": {"like": pattern}}, *({"x": value} for value in (*yes, *no, 5, None, ["per"])))
    assert found == list(range(len(yes)))


def test_no_pattern_takes_long() -> None:
    """A pattern that would make a back-tracking search go on for ever is decided at once."""
    where = {"x": {"like": "%a" * 49 + "b"}}
    assert selected(where, {"x": "a" * 100_000}, {"x": "a" * 100_000 + "b"}) == [1]


DEEP = ".".join("a" * (MAX_DEPTH + 1))


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ([], "where: expected an object of columns"),
        ("cctv_id = 3", "where: expected an object of columns"),
        ({"nope": 3}, "where.nope: no column nope"),
        ({"nope.id": 3}, "where.nope.id: no column nope"),
        ({"a'\n": 3}, 'where."a\'\\n": no column "a\'\\n"'),
        ({"": 3}, 'where."": expected names with dots between them'),
        ({"data..a": 3}, "where.data..a: expected names with dots between them"),
        ({f"data.{DEEP}": 3}, f"where.data.{DEEP}: more than 8 names deep"),
        ({"id": []}, "where.id: expected at least one value"),
        ({"id": {"in": []}}, "where.id.in: expected at least one value"),
        ({"id": {"in": 3}}, "where.id.in: expected a list"),
        ({"id": [1, [2]]}, "where.id[1]: expected text, a number, true, false or null"),
        ({"id": {"in": [1, {}]}}, "where.id.in[1]: expected text, a number, true, false or null"),
        ({"id": list(range(MAX_VALUES + 1))}, "where.id: more than 256 values"),
        ({"id": {}}, "where.id: expected one of eq, ne, gt, gte, lt, lte, in, like"),
        ({"id": {"is": 3}}, "where.id.is: no such operator, expected one of eq, ne, gt, gte, lt, lte, in, like"),
        ({"id": {"eq": [3]}}, "where.id.eq: expected text, a number, true, false or null"),
        ({"id": {"gt": None}}, "where.id.gt: expected a number or text"),
        ({"id": {"lte": True}}, "where.id.lte: expected a number or text"),
        ({"data.label": {"like": 3}}, "where.data.label.like: expected text"),
        ({"data.label": {"like": "%" + "_" * 100}}, "where.data.label.like: longer than 100 characters"),
        ({"id": float("inf")}, "where.id: number out of range"),
        ({f"data.{n}": 1 for n in range(MAX_CONDITIONS + 1)}, "where: more than 16 conditions"),
        ({"id": ["x" * 5000, "y" * 5000]}, "where: longer than 8192 bytes"),
    ],
)
def test_bad_filters_are_refused_with_their_place(where: object, reason: str) -> None:
    """What cannot be used is refused, naming the place and what was expected there."""
    with pytest.raises(BadFilter) as refused:
        Filters(lambda _: ["id", "data"]).get("c", where)
    assert str(refused.value) == reason


@pytest.mark.parametrize("where", [None, {}])
def test_no_conditions_are_no_filter(where: object) -> None:
    """An empty filter lets everything pass, like none."""
    assert Filters().get("c", where) is None


def test_gaps_and_unreadable_rows_pass_every_filter() -> None:
    """Nothing is withheld because it could not be looked into: a gap, no JSON, no object, nested without end."""
    odd = [b"{", b"[1]", b'{"id":%b}' % (b"[" * 5000 + b"]" * 5000), b'{"id":2}']
    batch = [Event("c", n, INSERT, text, 0.0) for n, text in enumerate([b'{"id":1}', *odd], 1)]
    batch.insert(2, Event("c", 9, GAP, b'{"reason":"purged"}', 0.0))
    for where in ({"id": 1}, {"id": [1, 7]}, {"id": {"lt": 2}}, {"id": {"eq": 1, "gt": 0}}):
        assert Columns(batch).select(compiled(where)) == [0, 1, 2, 3, 4]


def test_an_update_passes_by_what_it_was_too() -> None:
    """Who watches a row must learn that it has gone: what it was before counts, null and all."""
    batch = [
        Event("c", 1, UPDATE, b'{"id":1,"state":"paid"}', 0.0, b'{"state":null}'),
        Event("c", 2, UPDATE, b'{"id":2,"state":"open"}', 0.0, b'{"state":"paid"}'),
        Event("c", 3, UPDATE, b'{"id":3,"state":"open"}', 0.0, b'{"total":7}'),
        Event("c", 4, DELETE, b'{"id":4,"state":"paid"}', 0.0),
        Event("c", 5, UPDATE, b'{"id":5}', 0.0, b"{"),
    ]
    expected: dict[str, list[int]] = {"paid": [0, 1, 3, 4], "open": [1, 2, 4]}
    for state, places in expected.items():
        for wanted in (state, {"like": state}, [state, "nothing"]):
            assert Columns(batch).select(compiled({"state": wanted})) == places
    assert Columns(batch).select(compiled({"state": None})) == [0, 4]
    assert Columns(batch).select(compiled({"id": {"gte": 1}})) == [0, 1, 2, 3, 4]


def test_a_message_is_parsed_once_for_all_filters_loaded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Filters on other columns, loaded in one go, look at what one parse has found; later ones find it there."""
    reader, parsed = columns_module._reader, []

    def counting(columns: tuple[str, ...]) -> Any:
        read, getters = reader(columns)
        return lambda text: parsed.append(text) or read(text), getters  # type: ignore[func-returns-value]

    monkeypatch.setattr(columns_module, "_reader", counting)
    batch = Columns(events([{"id": n, "cctv_id": n % 2, "data": {"a": n}} for n in range(10)]))
    wanted = [compiled(where) for where in ({"id": 1}, {"cctv_id": 0}, {"data.a": {"gt": 7}}, {"id": {"ne": 3}})]
    batch.load({path for each in wanted for path in each.paths})
    assert [len(batch.select(each)) for each in wanted] == [1, 5, 2, 9]
    assert len(parsed) == 10


def test_paths_remembered_for_a_run_are_bounded() -> None:
    """However many columns are asked for one after the other, little is kept, and the answers stay right."""
    row: Mapping[str, int] = {f"c{n}": n for n in range(100)}
    batch = Columns(events([dict(row)]))
    for n in range(100):
        assert batch.select(compiled({f"c{n}": {"gte": n}, f"c{99 - n}": 99 - n})) == [0]
        assert len(batch._values) <= 16
    assert batch.select(compiled({f"c{n}": n for n in range(16)})) == [0]


def test_a_wide_filter_reads_all_its_columns() -> None:
    """More columns than a parser made to measure takes are read all the same."""
    batch = Columns(events([{f"c{n}": n for n in range(60)}]))
    batch.load([(f"c{n}",) for n in range(60)])
    assert [batch.places((f"c{n}",)) for n in range(60)] == [{n: [0]} for n in range(60)]
