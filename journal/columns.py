"""A run of events as its filters see it: each message is parsed once, and only for the columns that are asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from operator import attrgetter, methodcaller
from typing import Any

import msgspec

from journal.filter import Condition, Filter, Path
from journal.types import GAP, Event

_MOST_PATHS = 16  # remembered for one run of events
_MOST_FIELDS = 32  # of a parser made to measure
_CONTAINERS = (dict, list)
_object = msgspec.json.Decoder(dict[str, Any]).decode
_INDEX = re.compile("[0-9]{1,9}")
_UNREADABLE = (msgspec.DecodeError, RecursionError)
_OTHER = object()  # an array or an object: equal to nothing, and in no order

Places = dict[Any, list[int]]
Reader = Callable[[bytes], Any]


class Columns:
    """Values by path, and the places where each stands: a place for each event, then one more for each update.

    There stands the row as it was before: an update passes a filter if the row passes now or did. ``always`` are the
    places that pass every filter: gaps, and rows that cannot be parsed, for nothing may be withheld because of that.
    """

    __slots__ = ("_before", "_events", "_places", "_values", "always")

    def __init__(self, events: Sequence[Event]) -> None:
        self._events = events
        self._before: list[tuple[int, dict[str, Any]]] | None = None  # an update's place, and its old values
        self._values: dict[Path, list[Any]] = {}
        self._places: dict[Path, Places] = {}
        self.always = [place for place, event in enumerate(events) if event.op == GAP]

    def load(self, paths: Collection[Path]) -> None:
        """Parse the messages for those paths that were not asked for before."""
        missing = [path for path in paths if path not in self._values]
        if not missing:
            return
        if len(self._values) + len(missing) > _MOST_PATHS:
            self._values.clear()
            self._places.clear()
            missing = list(paths)
        columns = tuple(sorted({path[0] for path in missing}))
        read, getters = _reader(columns)
        rows = self._rows(read)
        if self._before is None:
            self._before = list(self._updates())
        for path in missing:
            found = [*map(getters[columns.index(path[0])], rows)]
            found += [old.get(path[0], found[place]) for place, old in self._before or ()]
            if path[1:]:
                found = [_followed(value, path[1:]) for value in found]
            self._values[path] = [_OTHER if type(value) in _CONTAINERS else value for value in found]

    def _rows(self, read: Reader) -> list[Any]:
        if not self.always:
            try:
                return [read(event.message) for event in self._events]
            except _UNREADABLE:
                pass
        nothing, rows = read(b"{}"), []
        for place, event in enumerate(self._events):
            try:
                rows.append(nothing if event.op == GAP else read(event.message))
            except _UNREADABLE:
                rows.append(nothing)
                self.always = sorted({*self.always, place})
        return rows

    def _updates(self) -> Iterator[tuple[int, dict[str, Any]]]:
        for place, event in enumerate(self._events):
            if event.old:
                try:
                    yield place, _object(event.old)
                except _UNREADABLE:
                    self.always = sorted({*self.always, place})

    def places(self, path: Path) -> Places:
        """Where each value at a loaded path stands, in order."""
        found = self._places.get(path)
        if found is None:
            found = self._places[path] = {}
            for place, value in enumerate(self._values[path]):
                found.setdefault((value,) if type(value) is bool else value, []).append(place)  # ``token``, at speed
        return found

    def select(self, wanted: Filter) -> Sequence[int]:
        """The places of the events that pass a filter, in order."""
        self.load(wanted.paths)
        if wanted.anchor is None:
            return self.narrow(None, wanted.rest)
        places = self.places(wanted.anchor.path)
        found = [places[value] for value in wanted.anchor.values or () if value in places]
        return self.narrow(found[0] if len(found) == 1 else sorted(chain.from_iterable(found)), wanted.rest)

    def narrow(self, places: Sequence[int] | None, conditions: Iterable[Condition]) -> Sequence[int]:
        """The events at those of ``places`` (``None``: all) where all conditions hold, on paths that are loaded.

        With what passes every filter.
        """
        if places is None:
            places = range(len(self._events) + len(self._before or ()))
        for condition in conditions:
            values, test = self._values[condition.path], condition.test
            places = [place for place in places if test(values[place])]
        if not self._before and not self.always:
            return places
        count = len(self._events)
        events = [place if place < count or not self._before else self._before[place - count][0] for place in places]
        return sorted({*events, *self.always})


def _followed(value: Any, rest: Path) -> Any:
    """What stands at the end of a path, ``None`` when there is nothing."""
    for name in rest:
        if isinstance(value, dict):
            value = value.get(name)
        elif isinstance(value, list) and _INDEX.fullmatch(name) and int(name) < len(value):
            value = value[int(name)]
        else:
            return None
    return value


@lru_cache(maxsize=256)
def _reader(columns: tuple[str, ...]) -> tuple[Reader, list[Callable[[Any], Any]]]:
    """A parser of messages, and for each column a function from what it has parsed to the value, ``None`` for none."""
    names = {f"c{index}": column for index, column in enumerate(columns)}
    if len(columns) <= _MOST_FIELDS:
        try:
            # Only what is asked for is built, the rest of the message is skipped: twice as fast as a dictionary.
            row = msgspec.defstruct("Row", [(name, Any, None) for name in names], rename=names, gc=False)
            return msgspec.json.Decoder(row).decode, [attrgetter(name) for name in names]
        except ValueError:  # quotes and the like cannot be renamed to
            pass
    return _object, [methodcaller("get", column) for column in columns]
