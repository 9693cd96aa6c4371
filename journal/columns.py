"""A run of events as its filters see it: each message is parsed once, and only for the columns that are asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
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
_INDEX = re.compile("[0-9]{1,9}")
_UNREADABLE = (msgspec.DecodeError, RecursionError)
_OTHER = object()  # an array or an object: equal to nothing, and in no order

Places = dict[Any, list[int]]
Reader = Callable[[bytes], Any]


class Columns:
    """Values by path, and where each stands. ``always`` are the places that pass every filter: gaps.

    So does a row that cannot be parsed: nothing may be withheld because we could not read it.
    """

    __slots__ = ("_events", "_places", "_values", "always")

    def __init__(self, events: Sequence[Event]) -> None:
        self._events = events
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
        for path in missing:
            found = [*map(getters[columns.index(path[0])], rows)]
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
            return self.narrow(range(len(self._events)), wanted.rest)
        places = self.places(wanted.anchor.path)
        found = [places[value] for value in wanted.anchor.values or () if value in places]
        return self.narrow(found[0] if len(found) == 1 else sorted(chain.from_iterable(found)), wanted.rest)

    def narrow(self, places: Sequence[int], conditions: Iterable[Condition]) -> Sequence[int]:
        """Those of ``places`` where all conditions hold, on paths that are loaded; and what passes every filter."""
        for condition in conditions:
            values, test = self._values[condition.path], condition.test
            places = [place for place in places if test(values[place])]
        return sorted({*places, *self.always}) if self.always else places


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
    return msgspec.json.Decoder(dict[str, Any]).decode, [methodcaller("get", column) for column in columns]
