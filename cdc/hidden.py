"""What the log does not tell of a column's type, learnt from information_schema and kept by table map.

MariaDB logs JSON as text, and UUID and INET columns like BINARY. The table is asked as it is today, while the rows may
be from before an ALTER. So an answer counts only where the log shows that it was true when the rows were written: from
the place it was asked for, or from the last statement behind that which altered the table, until the next one. Where
that cannot be known, the rows are not read at all: a gap, and then the table itself, tell them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from cdc import excerpt, statements
from cdc import tablemap as t
from cdc.control import ConnectArgs, Control
from cdc.errors import StreamLost, UndecodableRow
from cdc.position import Position, Written, log_order
from cdc.tablemap import Column, TableMap

_KEPT = 1024
_TRIES = 5
_TEXTS = frozenset({t.VARCHAR, t.VAR_STRING, t.STRING, t.TINY_BLOB, t.BLOB, t.MEDIUM_BLOB, t.LONG_BLOB,
                    t.VARCHAR_COMPRESSED, t.BLOB_COMPRESSED})  # fmt: skip
_OF_WIDTH = {4: "INET4", 16: "UUID or INET6"}
# Seconds: a table that was defined so long before its rows was not altered behind them; by one clock, and by two.
_OLDER, _OLDER_BY_ANOTHER = 5, 3600


class _Answer(NamedTuple):
    """Columns by their hidden types, of rows between two places in the log; ``end`` is None until it is known."""

    begin: tuple[int, int]
    end: tuple[int, int] | None
    types: Mapping[str, str]

    def covers(self, place: tuple[int, int]) -> bool:
        return self.begin <= place and (self.end is None or place < self.end)


class HiddenTypes:
    """The answers of one server, for each table map that has a column to ask about."""

    def __init__(self) -> None:
        self._answers: dict[TableMap, list[_Answer]] = {}
        self._server = ""

    def follow(self, server: str) -> None:
        """Begin anew when it is another server's log: the places in it mean something else."""
        if server != self._server:
            self._answers = {}  # whoever still asks about the other log answers into what was kept of that
            self._server = server

    def altered(self, schema: str, table: str, place: tuple[int, int]) -> None:
        """A statement passed that may have given the table another shape: no answer counts behind it."""
        for shape, answers in self._answers.items():
            if (shape.schema.lower(), shape.table.lower()) == (schema.lower(), table.lower()):
                answers[:] = [one if one.end else one._replace(end=place) for one in answers]

    def of(self, table: TableMap, written: Written, connect: ConnectArgs) -> Mapping[str, str]:
        """The types behind the types of the table's columns, by name, as they were when its rows were written.

        Raises UndecodableRow when that cannot be known, SourceError when the server cannot be asked.
        """
        if not any(map(_may_hide, table.columns)):
            return {}
        kept = self._answers
        found = next((one for one in reversed(kept.get(table, ())) if one.covers(written.place)), None)
        if found is None:
            found = _Answer(written.place, None, _learn(table, written, connect))
            if len(kept) >= _KEPT:
                kept.clear()
            kept.setdefault(table, []).append(found)
        return found.types


def _may_hide(column: Column) -> bool:
    """Whether the log shows more than one type like this."""
    if column.collation is None or column.type not in _TEXTS:
        return False
    return column.collation != t.BINARY_COLLATION or (column.type == t.STRING and t.width(column.meta) in _OF_WIDTH)


def _learn(table: TableMap, written: Written, connect: ConnectArgs) -> Mapping[str, str]:
    with Control(connect) as control:
        if control.flavour == "mysql":
            return {}  # its log hides nothing
        for _ in range(_TRIES):
            before = control.end(gtids=False)
            types = control.hidden_types(table.schema, table.table)
            if not _is_doubtful(table, types) or _is_older(control.defined(table.schema, table.table), written):
                return types  # the table's age was asked after its types: it vouches for them
            start = Position(written.file, written.offset)
            after = control.end(gtids=False)
            altered = excerpt.alterations(connect, start, after, table.schema, table.table)
            if all(place <= log_order(before.file, before.offset) for place, _ in altered):
                return _believed(table, types, [sql for _, sql in altered])
    raise StreamLost(f"{table.schema}.{table.table} was altered again and again while it was asked about")


def _is_doubtful(table: TableMap, types: Mapping[str, str]) -> bool:
    """Whether an ALTER could make a difference: text that is no JSON today and no LONGTEXT is read as text anyway."""
    return any(_may_hide(column) and (_hides(column) or column.name in types) for column in table.columns)


def _hides(column: Column) -> bool:
    """Whether one of the types that the log shows like this is not in its words: LONGTEXT, or BINARY of a width."""
    return column.collation == t.BINARY_COLLATION or column.meta == b"\4"


def _is_older(defined: tuple[int, int] | None, written: Written) -> bool:
    if defined is None:
        return False
    when, by = defined
    return when + (_OLDER if by == written.server_id else _OLDER_BY_ANOTHER) < written.timestamp


def _believed(table: TableMap, types: Mapping[str, str], altered: Sequence[str]) -> Mapping[str, str]:
    """What today's ``types`` tell of rows that these statements came after.

    JSON is LONGTEXT, unless somebody put its check on another type: such a column that was altered is read as text.
    """
    believed = dict(types)
    for column in filter(_may_hide, table.columns):
        if not any(statements.may_retype(sql, column.name) for sql in altered):
            continue
        believed.pop(column.name, None)
        if _hides(column):
            other = _OF_WIDTH[t.width(column.meta)] if column.collation == t.BINARY_COLLATION else "JSON"
            raise UndecodableRow(
                f"{table.schema}.{table.table}: column {column.name} was altered before its rows were read,"
                f" and the log does not tell whether it was {other} when they were written"
            )
    return believed
