"""The filters of one channel's live subscriptions: who gets which of the events just published. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from gateway.group import Group
from journal.columns import Columns
from journal.filter import Condition, Filter, Path

Groups = tuple[Group, ...]  # of one filter: with compression, without, or both
Hits = Iterator[tuple[Groups, Sequence[int]]]


class FilterIndex:
    """Filters on equality lie in dictionaries by path and value, the others in one that is gone through.

    Where equality is all that a filter asks for, the dictionary leads straight to its groups: with thousands of
    filters, each object on the way is memory that is cold.
    """

    __slots__ = ("_exact", "_groups", "_partly", "_paths")

    def __init__(self) -> None:
        self._paths: Counter[Path] = Counter()
        self._exact: dict[Path, dict[Any, Groups]] = {}
        self._partly: dict[Path, dict[Any, set[Filter]]] = {}
        self._groups: dict[Filter, Groups] = {}  # of those that are not exact

    def __bool__(self) -> bool:
        return bool(self._paths)

    def add(self, where: Filter, group: Group) -> None:
        """Have a group take part in every match from now on."""
        self._paths.update(where.paths)
        anchor = where.anchor
        if anchor is not None and where.exact:
            by_value = self._exact.setdefault(anchor.path, {})
            (value,) = anchor.values or ()
            by_value[value] = (*by_value.get(value, ()), group)
            return
        if anchor is not None and where not in self._groups:
            filters = self._partly.setdefault(anchor.path, {})
            for value in anchor.values or ():
                filters.setdefault(value, set()).add(where)
        self._groups[where] = (*self._groups.get(where, ()), group)

    def remove(self, where: Filter, group: Group) -> None:
        """Forget a group that was added."""
        for path in where.paths:
            self._paths[path] -= 1
            if not self._paths[path]:
                del self._paths[path]
        anchor = where.anchor
        if anchor is not None and where.exact:
            by_value = self._exact[anchor.path]
            (value,) = anchor.values or ()
            by_value[value] = _without(by_value[value], group)
            if not by_value[value]:
                del by_value[value]
            if not by_value:
                del self._exact[anchor.path]
            return
        self._groups[where] = _without(self._groups[where], group)
        if not self._groups[where]:
            del self._groups[where]
            if anchor is not None:
                self._remove_partly(where, anchor)

    def _remove_partly(self, where: Filter, anchor: Condition) -> None:
        filters = self._partly[anchor.path]
        for value in anchor.values or ():
            filters[value].discard(where)
            if not filters[value]:
                del filters[value]
        if not filters:
            del self._partly[anchor.path]

    def match(self, columns: Columns) -> Hits:
        """The groups of each filter that lets some of these events pass, with their places in order.

        Costs one look-up for each distinct value in the events, however many filters there are on it.
        """
        columns.load(self._paths)
        if columns.always:
            yield from self._match_all(columns)
            return
        for path, by_value in list(self._exact.items()):
            for value, places in columns.places(path).items():
                if groups := by_value.get(value):
                    yield groups, columns.narrow(places, ())
        for where, passing in self._narrowed(columns).items():
            if groups := self._groups.get(where):
                yield groups, passing

    def _narrowed(self, columns: Columns) -> dict[Filter, Sequence[int]]:
        """What passes the filters that are not exact."""
        found: dict[Filter, list[int]] = {}
        for path, filters in self._partly.items():
            places = columns.places(path)
            for value in places.keys() & filters.keys():
                for where in filters[value]:
                    found.setdefault(where, []).extend(places[value])
        passing = {where: columns.narrow(sorted(places), where.rest) for where, places in found.items()}
        passing |= {where: columns.narrow(None, where.rest) for where in self._groups if where.anchor is None}
        return {where: some for where, some in passing.items() if some}

    def _match_all(self, columns: Columns) -> Hits:
        """With a gap among the events, everybody gets something."""
        for path, by_value in list(self._exact.items()):
            places = columns.places(path)
            for value, groups in list(by_value.items()):
                yield groups, columns.narrow(places.get(value, ()), ())
        for where, groups in list(self._groups.items()):
            yield groups, columns.select(where)


def _without(groups: Groups, left: Group) -> Groups:
    return tuple(group for group in groups if group is not left)
