"""What the reader's account may do, and whether the captured tables are fit to be captured."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pymysql
from pymysql.cursors import DictCursor

from cdc.findings import Finding

# the right's names: MySQL's first, then those MariaDB prints for it or that contain it
_RIGHTS = {
    "REPLICATION SLAVE": ("REPLICATION SLAVE",),
    "REPLICATION CLIENT": ("REPLICATION CLIENT", "BINLOG MONITOR"),
}
_WHY = {
    "REPLICATION SLAVE": "the account may not follow the log",
    "REPLICATION CLIENT": "the account may not ask for the log's position",
}


_UNREADABLE = frozenset({1044, 1049, 1142, 1146})  # denied, no such database, no such table
_CASCADE = re.compile(r"CONSTRAINT (`.+?`) FOREIGN KEY .*?((?: ON (?:DELETE|UPDATE) (?:CASCADE|SET NULL))+)")


def access(cursor: DictCursor) -> Iterator[Finding]:
    """The rights that hold for the whole server."""
    account = _account(cursor)
    cursor.execute("SHOW GRANTS")
    grants = [str(next(iter(row.values()))) for row in cursor.fetchall()]
    everywhere = " ".join(line for line in grants if " ON *.* TO " in line)
    roles = any(line.startswith("GRANT ") and " ON " not in line for line in grants)
    for right, names in _RIGHTS.items():
        if any(name in everywhere for name in ("ALL PRIVILEGES", *names)):
            yield Finding("ok", f"grant {right}", "given")
            continue
        text = f"{_WHY[right]}, unless by a role of its own" if roles else _WHY[right]
        yield Finding("warn" if roles else "fail", f"grant {right}", text, f"GRANT {right} ON *.* TO {account};")


def tables_fit(
    cursor: DictCursor,
    tables: Iterable[tuple[str, str]],
    columns: Mapping[tuple[str, str], Sequence[str]],
) -> Iterator[Finding]:
    """Each captured table exists, can be read, and has a key by which a gap can be repaired."""
    for schema, table in dict.fromkeys(tables):
        subject = f"table {schema}.{table}"
        finding = _readable(cursor, subject, schema, table)
        if finding is None:
            shape = _shape(cursor, schema, table)
            missing = [name for name in columns.get((schema, table), ()) if name not in shape["columns"]]
            finding = _unfit(subject, _quoted(schema, table), shape, missing)
        yield finding or Finding("ok", subject, "can be captured")


def cascades(cursor: DictCursor, tables: Iterable[tuple[str, str]]) -> Iterator[Finding]:
    """Foreign keys that change or delete a table's rows inside the storage engine, where no log sees it."""
    for schema, table in dict.fromkeys(tables):
        # not information_schema, which MariaDB shows to those only who may write the table
        try:
            cursor.execute(f"SHOW CREATE TABLE {_quoted(schema, table)}")
        except pymysql.MySQLError as error:
            if error.args[0] not in _UNREADABLE:
                raise
            continue  # ``tables_fit`` says so
        definition = str((cursor.fetchone() or {}).get("Create Table", ""))
        for name, rule in _CASCADE.findall(definition):
            yield Finding(
                "warn",
                f"table {schema}.{table}",
                f"foreign key {name} ({rule.strip()}) changes rows that this server does not log",
                "make it RESTRICT, and change the rows that refer by statements of their own",
            )


def _readable(cursor: DictCursor, subject: str, schema: str, table: str) -> Finding | None:
    name = _quoted(schema, table)
    try:
        cursor.execute(f"SELECT 1 FROM {name} LIMIT 0")  # noqa: S608 - a name from the settings
    except pymysql.MySQLError as error:
        number, text = error.args[0], str(error.args[-1])
        if number in {1049, 1146}:
            return Finding("fail", subject, "does not exist", "create it, or mend the channel's `table`")
        if number not in {1044, 1142}:
            raise
        return Finding("fail", subject, text, f"GRANT SELECT ON {name} TO {_account(cursor)};")
    return None


def _shape(cursor: DictCursor, schema: str, table: str) -> dict[str, Any]:
    where = "table_schema = %s AND table_name = %s"
    cursor.execute(
        f"SELECT table_type AS kind, engine AS engine FROM information_schema.tables WHERE {where}",  # noqa: S608
        (schema, table),
    )
    shape: dict[str, Any] = cursor.fetchone() or {"kind": "", "engine": ""}
    cursor.execute(
        f"SELECT column_name AS name, column_key AS k FROM information_schema.columns WHERE {where}",  # noqa: S608
        (schema, table),
    )
    rows = cursor.fetchall()
    return shape | {"columns": [row["name"] for row in rows], "key": any(row["k"] == "PRI" for row in rows)}


def _unfit(subject: str, name: str, shape: Mapping[str, Any], missing: Sequence[str]) -> Finding | None:
    if shape["kind"] == "VIEW":
        return Finding("fail", subject, "is a view: the log knows only tables", "name the table beneath it")
    if missing:
        text = f"has no column {', '.join(missing)}"
        return Finding("fail", subject, text, "mend the channel's `columns`")
    if not shape["key"]:
        text = "has no primary key: a gap in it cannot be repaired from the table"
        mend = f"ALTER TABLE {name} ADD COLUMN id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY FIRST;"
        return Finding("warn", subject, text, mend)
    if shape["engine"] != "InnoDB":
        text = f"is {shape['engine']}: its rows are logged even when the transaction is rolled back"
        return Finding("warn", subject, text, f"ALTER TABLE {name} ENGINE = InnoDB;")
    return None


def _account(cursor: DictCursor) -> str:
    cursor.execute("SELECT CURRENT_USER() AS account")
    user, _, host = str((cursor.fetchone() or {})["account"]).rpartition("@")
    return f"'{user}'@'{host}'"


def _quoted(schema: str, table: str) -> str:
    return ".".join("`" + name.replace("`", "``") + "`" for name in (schema, table))
