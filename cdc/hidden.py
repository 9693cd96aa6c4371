"""What the log does not tell of a column's type, learnt from information_schema and kept by table map.

MariaDB logs JSON as text, and UUID and INET columns like BINARY. The table is asked as it is today, while the rows may
be from before an ALTER: what was learnt for a shape stays with that shape, and of a shape that was never met before it
is taken only where the column can have been of that type then.
"""

from __future__ import annotations

from collections.abc import Mapping

from cdc import tablemap as t
from cdc.control import ConnectArgs, Control
from cdc.tablemap import Column, TableMap

_KEPT = 1024
_TEXTS = frozenset({t.VARCHAR, t.VAR_STRING, t.STRING, t.TINY_BLOB, t.BLOB, t.MEDIUM_BLOB, t.LONG_BLOB,
                    t.VARCHAR_COMPRESSED, t.BLOB_COMPRESSED})  # fmt: skip


class HiddenTypes:
    """The answers of a server, asked once for each table map that has a column to ask about."""

    def __init__(self) -> None:
        self._known: dict[TableMap, Mapping[str, str]] = {}

    def of(self, table: TableMap, connect: ConnectArgs) -> Mapping[str, str]:
        """The types behind the types of the table's columns, by name; raises SourceError when it cannot be asked."""
        if not any(_may_hide(column) for column in table.columns):
            return {}
        found = self._known.get(table)
        if found is None:
            with Control(connect) as control:
                found = control.hidden_types(table.schema, table.table)
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[table] = found
        return found


def _may_hide(column: Column) -> bool:
    return column.type in _TEXTS and column.collation is not None
