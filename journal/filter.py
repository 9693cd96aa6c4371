"""Filters on a channel's rows: what ``where`` means, the same for every way of reading (docs/protocol.md).

A filter is a list of conditions that must all hold. Two filters that mean the same have the same ``key``, and are
compiled once. Rows are compared as they stand in an event's message: a number with numbers, text with text.
"""

from __future__ import annotations

import json
import math
import operator
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple
from weakref import WeakValueDictionary, finalize

MAX_CONDITIONS = 16
MAX_VALUES = 256  # in one list
MAX_DEPTH = 8  # names in one path
MAX_SIZE = 8192  # bytes of a whole filter in its shortest form
MAX_SCANNED = 1000  # conditions without equality, and paths, of all filters together
MAX_LIKE = 100  # characters of a pattern: looking for it may take a step for each, at each character of a text

Path = tuple[str, ...]
Test = Callable[[Any], bool]

_SINGLE = ("eq", "ne", "gt", "gte", "lt", "lte", "in", "like")
_ORDER = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}


class BadFilter(Exception):
    """A ``where`` that cannot be used; the text names the place and what was expected there."""


class TooMany(Exception):
    """A ``where`` that is right, and one more than all clients together may have."""


class Condition(NamedTuple):
    """``test`` of the value at ``path``. ``values``: for equality the only values that pass, by their ``token``."""

    path: Path
    name: str
    test: Test
    values: tuple[object, ...] | None


class Filter:
    """Conditions that must all hold: ``anchor``, one on equality by which rows can be looked up, if any, and ``rest``.

    ``exact``: there is nothing but an anchor of one value.
    """

    __slots__ = ("__weakref__", "anchor", "exact", "key", "paths", "rest")

    def __init__(self, key: str, conditions: Iterable[Condition]) -> None:
        self.key = key
        self.rest = list(conditions)
        self.paths = frozenset(condition.path for condition in self.rest)
        exact = [condition for condition in self.rest if condition.values is not None]
        self.anchor = min(exact, key=lambda condition: len(condition.values or ()), default=None)
        if self.anchor is not None:
            self.rest.remove(self.anchor)
        self.exact = self.anchor is not None and len(self.anchor.values or ()) == 1 and not self.rest


class Filters:
    """The filters in use. ``columns`` names a channel's columns, or nothing where they are not known."""

    def __init__(self, columns: Callable[[str], Collection[str] | None] = lambda _: None) -> None:
        self._columns = columns
        self._kept: WeakValueDictionary[str, Filter] = WeakValueDictionary()
        self._paths: Counter[Path] = Counter()  # of those kept
        self._scanned = 0  # their conditions that no equality narrows down

    def get(self, channel: str, where: object) -> Filter | None:
        """The one filter of this meaning; ``None`` when it lets everything pass. Raises ``BadFilter``, ``TooMany``."""
        if where is None:
            return None
        conditions = parse(where, self._columns(channel))
        key = json.dumps(conditions)
        if len(key) > MAX_SIZE:
            raise BadFilter(f"where: longer than {MAX_SIZE} bytes")
        if not conditions:
            return None
        found = self._kept.get(key)
        if found is None:
            found = self._kept[key] = self._admitted(Filter(key, (_compiled(*condition) for condition in conditions)))
        return found

    def _admitted(self, new: Filter) -> Filter:
        """Each path and each condition without an anchor costs something for every event: there is a most of both."""
        scanned = 0 if new.anchor else len(new.rest)
        if self._scanned + scanned > MAX_SCANNED or len(self._paths.keys() | new.paths) > MAX_SCANNED:
            raise TooMany(f"no more than {MAX_SCANNED} different conditions without equality, or columns, in all")
        self._paths.update(new.paths)
        self._scanned += scanned
        finalize(new, self._forget, new.paths, scanned).atexit = False
        return new

    def _forget(self, paths: Collection[Path], scanned: int) -> None:
        self._paths -= Counter(paths)
        self._scanned -= scanned


Parsed = tuple[Path, str, Any]  # path, operator, value


def parse(where: object, columns: Collection[str] | None = None) -> list[Parsed]:
    """The conditions of ``where`` in one order, whatever order and short forms they were written in."""
    if not isinstance(where, dict):
        raise BadFilter("where: expected an object of columns")
    conditions = []
    for name, wanted in where.items():
        path, place = _path(name, columns), f"where.{_shown(name)}"
        conditions += [(path, *each) for each in _conditions(place, wanted)]
    if len(conditions) > MAX_CONDITIONS:
        raise BadFilter(f"where: more than {MAX_CONDITIONS} conditions")
    return sorted(conditions, key=lambda condition: (condition[:2], json.dumps(condition[2])))


def _path(name: str, columns: Collection[str] | None) -> Path:
    path = tuple(name.split("."))
    place = f"where.{_shown(name)}"
    if not all(path):
        raise BadFilter(f"{place}: expected names with dots between them")
    if len(path) > MAX_DEPTH:
        raise BadFilter(f"{place}: more than {MAX_DEPTH} names deep")
    if columns is not None and path[0] not in columns:
        raise BadFilter(f"{place}: no column {_shown(path[0])}")
    return path


def _conditions(place: str, wanted: object) -> Iterator[tuple[str, Any]]:
    if not isinstance(wanted, dict):
        yield _listed(place, wanted) if isinstance(wanted, list) else ("eq", _scalar(place, wanted))
        return
    if not wanted:
        raise BadFilter(f"{place}: expected one of {', '.join(_SINGLE)}")
    for name, value in wanted.items():
        yield _operation(f"{place}.{_shown(name)}", name, value)


def _operation(place: str, name: str, value: object) -> tuple[str, Any]:
    if name not in _SINGLE:
        raise BadFilter(f"{place}: no such operator, expected one of {', '.join(_SINGLE)}")
    if name == "in":
        if not isinstance(value, list):
            raise BadFilter(f"{place}: expected a list")
        return _listed(place, value)
    scalar = _scalar(place, value)
    if name == "like" and not isinstance(scalar, str):
        raise BadFilter(f"{place}: expected text")
    if name == "like" and len(str(scalar)) > MAX_LIKE:
        raise BadFilter(f"{place}: longer than {MAX_LIKE} characters")
    if name in _ORDER and (scalar is None or isinstance(scalar, bool)):
        raise BadFilter(f"{place}: expected a number or text")
    return name, scalar


def _listed(place: str, values: list[object]) -> tuple[str, Any]:
    if not values:
        raise BadFilter(f"{place}: expected at least one value")
    if len(values) > MAX_VALUES:
        raise BadFilter(f"{place}: more than {MAX_VALUES} values")
    scalars = [_scalar(f"{place}[{index}]", value) for index, value in enumerate(values)]
    distinct = sorted({token(value): value for value in scalars}.values(), key=json.dumps)
    return ("in", distinct) if len(distinct) > 1 else ("eq", distinct[0])


def _scalar(place: str, value: object) -> bool | int | float | str | None:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise BadFilter(f"{place}: number out of range")
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if value is None or isinstance(value, bool | int | str):
        return value
    raise BadFilter(f"{place}: expected text, a number, true, false or null")


def _shown(name: str) -> str:
    """A client's name as short, harmless ASCII."""
    if re.fullmatch(r"[\w.]{1,64}", name, re.ASCII):
        return name
    return json.dumps(name if len(name) <= 64 else f"{name[:60]}...")


# What the conditions mean


def token(value: Any) -> Any:
    """A value as a dictionary's key: in Python ``True`` equals 1, in JSON it does not."""
    return (value,) if type(value) is bool else value


def _compiled(path: Path, name: str, value: Any) -> Condition:
    if name == "eq":
        return Condition(path, name, _equal(value), (token(value),))
    if name == "in":
        values = tuple(map(token, value))
        return Condition(path, name, partial(_among, frozenset(values)), values)
    if name == "ne":
        equal = _equal(value)
        return Condition(path, name, lambda found: not equal(found), None)
    if name == "like":
        return Condition(path, name, _like(value), None)
    return Condition(path, name, _ordered(_ORDER[name], value), None)


def _equal(wanted: Any) -> Test:
    if wanted is None or isinstance(wanted, bool):
        return lambda found: found is wanted
    return lambda found: bool(found == wanted) and type(found) is not bool


def _among(wanted: frozenset[object], found: Any) -> bool:
    return token(found) in wanted


def _ordered(compare: Callable[[Any, Any], bool], wanted: Any) -> Test:
    kinds = (str,) if isinstance(wanted, str) else (int, float)
    return lambda found: type(found) in kinds and compare(found, wanted)


def _like(pattern: str) -> Test:
    """SQL's LIKE. Each part between two ``%`` has a fixed length, and is looked for once.

    With ``_`` in it, that may take its length at each character of the text, which is why ``MAX_LIKE`` bounds it.
    """
    first, *parts = (re.compile(part, re.DOTALL) for part in _parts(pattern))
    if not parts:
        return lambda found: type(found) is str and first.fullmatch(found) is not None
    *middle, last = parts
    tail = _length(last.pattern)

    def test(found: Any) -> bool:
        if type(found) is not str:
            return False
        at = first.match(found)
        for part in middle:
            at = at and part.search(found, at.end())
        start = len(found) - tail
        return at is not None and start >= at.end() and last.fullmatch(found, start) is not None

    return test


def _parts(pattern: str) -> list[str]:
    """Regular expressions for what stands between the ``%``; ``_`` is any character, a backslash quotes the next."""
    parts = [""]
    for piece in re.findall(r"\\.|.", pattern, re.DOTALL):
        if piece == "%":
            parts.append("")
        else:
            parts[-1] += "." if piece == "_" else re.escape(piece[-1])
    return parts


def _length(part: str) -> int:
    return len(re.sub(r"\\(.)", r"\1", part, flags=re.DOTALL))
