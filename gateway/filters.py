"""The filters of one channel's live subscriptions: who gets which of the events just published. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from journal.columns import Columns
from journal.filter import Filter, Path

Hits = Iterator[tuple[Filter, Sequence[int]]]


class FilterIndex:
    """Filters on equality lie in a dictionary by path and value, the others in a list that is gone through."""

    __slots__ = ("_by_value", "_paths", "_scanned")

    def __init__(self) -> None:
        self._paths: Counter[Path] = Counter()
        self._by_value: dict[Path, dict[Any, set[Filter]]] = {}
        self._scanned: set[Filter] = set()

    def __bool__(self) -> bool:
        return bool(self._paths)

    def add(self, new: Filter) -> None:
        """Take part in every match from now on; to be called once for each filter."""
        self._paths.update(new.paths)
        if new.anchor is None:
            self._scanned.add(new)
            return
        by_value = self._by_value.setdefault(new.anchor.path, {})
        for value in new.anchor.values or ():
            by_value.setdefault(value, set()).add(new)

    def remove(self, old: Filter) -> None:
        """Forget a filter that was added."""
        for path in old.paths:
            self._paths[path] -= 1
            if not self._paths[path]:
                del self._paths[path]
        if old.anchor is None:
            self._scanned.discard(old)
            return
        by_value = self._by_value[old.anchor.path]
        for value in old.anchor.values or ():
            by_value[value].discard(old)
            if not by_value[value]:
                del by_value[value]
        if not by_value:
            del self._by_value[old.anchor.path]

    def match(self, columns: Columns) -> Hits:
        """Each filter that lets some of these events pass, with their places in order.

        Costs one look-up for each distinct value in the events, however many filters there are on it.
        """
        columns.load(self._paths)
        if columns.always:
            yield from self._match_all(columns)
            return
        hits: dict[Filter, Sequence[int]] = {}
        for path, by_value in list(self._by_value.items()):
            places = columns.places(path)
            for value in places.keys() & by_value.keys():
                for found in list(by_value[value]):
                    if found.exact:
                        yield found, columns.narrow(places[value], ())
                    else:
                        hits[found] = [*hits.get(found, ()), *places[value]]
        for found, places_found in hits.items():
            if passing := columns.narrow(sorted(places_found), found.rest):
                yield found, passing
        for scanned in list(self._scanned):
            if passing := columns.narrow(None, scanned.rest):
                yield scanned, passing

    def _match_all(self, columns: Columns) -> Hits:
        """With a gap among the events, everybody gets something."""
        looked_up = {each for by_value in self._by_value.values() for those in by_value.values() for each in those}
        for wanted in (*looked_up, *self._scanned):
            yield wanted, columns.select(wanted)
