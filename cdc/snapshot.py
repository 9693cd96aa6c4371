"""Reads rows of the captured tables as they were at one place in the log, without locks.

MariaDB tells the place of a consistent snapshot (``binlog_snapshot_position``). MySQL does not: there its executed
GTIDs before and the log's end after bound it (``cdc/backfill.py`` tells what for).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from cdc.backfill import Bounds, Key
from cdc.committed import Committed
from cdc.control import Control
from cdc.errors import StreamLost
from cdc.position import GtidState, Position, log_order
from cdc.rendering import SelectedColumn, expression, renderer
from cdc.schema import normal, text

_LOG_AHEAD = 1.0  # seconds
_PATIENCE, _TURN = 10.0, 0.01  # seconds that tables may lag behind their log, and between two looks


class TableShape(NamedTuple):
    """A table as it is now: its columns in order, and those of its primary key (none: empty).

    ``described`` is what its rows look like (``cdc.schema``).
    """

    schema: str
    name: str
    columns: Sequence[SelectedColumn]
    key: Sequence[str]
    described: bytes


def shape(control: Control, schema: str, table: str, columns: Sequence[str] | None) -> TableShape:
    """The table's present shape, narrowed to ``columns`` when given; no columns when there is no such table."""
    json = control.json_columns(schema, table)
    found = control.rows(
        "SELECT COLUMN_NAME AS name, DATA_TYPE AS type, COLUMN_TYPE AS whole, IS_NULLABLE AS nullable,"
        " COLUMN_KEY AS k FROM information_schema.COLUMNS"
        " WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s ORDER BY ORDINAL_POSITION",
        (schema, table),
    )
    wanted = [row for row in found if columns is None or row["name"] in columns]
    selected = [
        SelectedColumn(str(row["name"]), str(row["type"]).lower(), row["name"] in json or row["type"] == "json")
        for row in wanted
    ]
    key = control.rows(
        "SELECT COLUMN_NAME AS name FROM information_schema.KEY_COLUMN_USAGE WHERE TABLE_SCHEMA = %s"
        " AND TABLE_NAME = %s AND CONSTRAINT_NAME = 'PRIMARY' ORDER BY ORDINAL_POSITION",
        (schema, table),
    )
    types = ["json" if column.json else normal(str(row["whole"])) for row, column in zip(wanted, selected, strict=True)]
    described = text(
        (column.name, kind, row["nullable"] == "YES", row["k"] == "PRI")
        for row, column, kind in zip(wanted, selected, types, strict=True)
    )
    return TableShape(schema, table, selected, [str(row["name"]) for row in key], described)


def begin(control: Control, least: Position) -> Bounds:
    """Open a consistent snapshot on this connection, which holds at least what the log held at ``least``.

    Tells between what places of the log it lies.
    """
    control.rows("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    control.rows("SET SESSION time_zone = '+00:00'")
    _reach(control, least)
    if control.flavour == "mariadb":
        at = _mariadb_snapshot(control)
        return Bounds(lambda committed: _not_after(committed.end, at), at)
    before = _committed(control)
    control.rows("START TRANSACTION WITH CONSISTENT SNAPSHOT")
    return Bounds(before, control.end(gtids=True))


def _mariadb_snapshot(control: Control) -> Position:
    control.rows("START TRANSACTION WITH CONSISTENT SNAPSHOT")
    place = {row["Variable_name"]: row["Value"] for row in control.rows("SHOW STATUS LIKE 'binlog_snapshot_%'")}
    return control.mariadb_position(str(place["Binlog_snapshot_file"]), int(place["Binlog_snapshot_position"]))


def _reach(control: Control, least: Position) -> None:
    """Wait until the tables hold what the log held at ``least``: a server writes to its log first.

    What its log does not hold will not come; whoever follows the log finds that out. Raises StreamLost when the tables
    stay behind. Without GTIDs there is nothing to compare; ``_committed`` waits instead.
    """
    if not least.gtid:
        return
    logged = GtidState.parse(control.flavour, least.gtid)
    deadline = time.monotonic() + _PATIENCE
    while lacking := logged.beyond(GtidState.parse(control.flavour, _in_tables(control))):
        if logged.beyond(GtidState.parse(control.flavour, control.end(gtids=True).gtid or "")):
            return
        if time.monotonic() > deadline:
            raise StreamLost(f"the log holds {lacking}, and after {_PATIENCE:g} s the tables still do not")
        time.sleep(_TURN)


def _in_tables(control: Control) -> str:
    """The GTIDs whose rows a snapshot would hold."""
    if control.flavour == "mysql":
        return str(control.rows("SELECT @@GLOBAL.gtid_executed AS gtids")[0]["gtids"])
    gtids = _mariadb_snapshot(control).gtid
    control.rows("ROLLBACK")
    return gtids or ""


def _committed(control: Control) -> Callable[[Committed], bool]:
    """Which transactions MySQL had committed in its tables by now, whatever snapshot is taken next.

    Its log runs ahead of its tables, its executed GTIDs do not. A server without GTIDs gets a second to bring its
    tables up to where its log is.
    """
    gtids = GtidState.parse("mysql", _in_tables(control))
    if control.server().gtids:
        return lambda committed: _gtid(committed) is not None and gtids.holds(str(_gtid(committed)))
    end = control.end(gtids=False)
    time.sleep(_LOG_AHEAD)
    return lambda committed: _not_after(committed.end, end)


def _gtid(committed: Committed) -> str | None:
    return None if committed.fingerprint is None else committed.fingerprint.gtid


def newest(control: Control, table: TableShape, limit: int, *, bigint_strings: bool) -> list[bytes]:
    """The ``limit`` newest rows by primary key, oldest first, as messages."""
    order = ", ".join(f"{_quote(column)} DESC" for column in table.key)
    rows = control.raw_rows(f"{_select(table)} ORDER BY {order} LIMIT {int(limit)}")
    render = renderer(table.columns, bigint_strings=bigint_strings)
    return [render(row) for row in reversed(rows)]


def since(control: Control, table: TableShape, key: Key, *, bigint_strings: bool) -> list[bytes]:
    """Every row whose primary key is ``key`` or greater, in key order, as messages."""
    columns = ", ".join(map(_quote, table.key))
    marks = ", ".join(["%s"] * len(key))
    where = f"({columns}) >= ({marks})" if len(key) > 1 else f"{columns} >= {marks}"
    rows = control.raw_rows(f"{_select(table)} WHERE {where} ORDER BY {columns}", key)
    render = renderer(table.columns, bigint_strings=bigint_strings)
    return [render(row) for row in rows]


def _select(table: TableShape) -> str:
    chosen = ", ".join(expression(column) for column in table.columns)
    return f"SELECT {chosen} FROM {_quote(table.schema)}.{_quote(table.name)}"  # noqa: S608 - quoted names


def _quote(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _not_after(place: Position, other: Position) -> bool:
    return log_order(place.file, place.offset) <= log_order(other.file, other.offset)
