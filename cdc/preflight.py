"""Looks at a database server before its log is followed: would every row of the captured tables arrive.

Variables can be changed at any time and per session, so this does not replace watching the stream.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pymysql
from pymysql.connections import Connection
from pymysql.cursors import DictCursor

from cdc.access import access, cascades, tables_fit
from cdc.findings import Finding, Level
from cdc.position import Flavour

_OLDEST: Mapping[Flavour, tuple[int, int]] = {"mariadb": (10, 6), "mysql": (8, 0)}
_DAY = 86400
_NO_XA_RIGHT = 1401  # XAER_RMERR is what MySQL says to who lacks XA_RECOVER_ADMIN


class Rule(NamedTuple):
    """A server variable and the value it must have. ``live`` when SET GLOBAL can change it without a restart."""

    name: str
    wanted: str
    level: Level
    why: str
    live: bool = True
    only: Flavour | None = None
    line: str = ""  # for my.cnf, where it is not "name = wanted"


_LOST = "a crash of the server may lose rows that browsers have seen"
RULES = [
    Rule("log_bin", "ON", "fail", "there is no log to follow", live=False, line="log_bin = binlog"),
    Rule("binlog_format", "ROW", "fail", "statements are logged instead of rows"),
    Rule("binlog_row_image", "FULL", "fail", "rows are logged without some of their columns"),
    Rule("binlog_row_metadata", "FULL", "fail", "names, signs, labels and character sets are not logged"),
    Rule("gtid_mode", "ON", "warn", "a fail-over cannot be followed", live=False, only="mysql",
         line="gtid_mode = ON\nenforce_gtid_consistency = ON"),
    Rule("gtid_strict_mode", "ON", "warn", "after a fail-over one GTID may name two transactions", only="mariadb"),
    Rule("sync_binlog", "1", "warn", _LOST),
    Rule("innodb_flush_log_at_trx_commit", "1", "warn", _LOST),
]  # fmt: skip
# these only where a channel carries updates
UPDATE_RULES = [
    Rule("binlog_row_value_options", "", "fail", "updates are logged with parts of their JSON documents only",
         only="mysql"),
]  # fmt: skip
_OTHERS = ["server_id", "binlog_expire_logs_seconds", "expire_logs_days", "log_slave_updates", "gtid_slave_pos",
           "log_replica_updates"]  # fmt: skip


def preflight(
    connection: Connection[Any],
    tables: Iterable[tuple[str, str]],
    columns: Mapping[tuple[str, str], Sequence[str]] | None = None,
    server_id: int | None = None,
    *,
    changing: Collection[tuple[str, str]] = (),
) -> list[Finding]:
    """Every finding about the server, the account of ``connection`` and the captured ``(schema, table)``s.

    ``columns`` names those a table must have; ``server_id`` is the one we are going to use; ``changing`` are the
    tables whose updates or deletes are wanted. Raises ``pymysql.Error`` only when the connection itself fails.
    """
    rules = [*RULES, *(UPDATE_RULES if changing else ())]
    with connection.cursor(DictCursor) as cursor:
        cursor.execute("SELECT VERSION() AS version")
        version = str(_row(cursor)["version"])
        flavour: Flavour = "mariadb" if "MariaDB" in version else "mysql"
        names = [*(rule.name for rule in rules), *_OTHERS]
        cursor.execute("SHOW GLOBAL VARIABLES WHERE Variable_name IN %s", (names,))
        values = {row["Variable_name"].lower(): str(row["Value"]) for row in cursor.fetchall()}
        return [
            _version(flavour, version),
            *_variables(flavour, values, rules),
            *_filters(cursor),
            *_expiry(values),
            *_relay(flavour, values),
            *_server_id(cursor, values, server_id),
            _prepared(cursor, flavour),
            *access(cursor),
            *tables_fit(cursor, tables, columns or {}),
            *(cascades(cursor, changing) if not _logs_cascades(flavour, version) else ()),
        ]


def _version(flavour: Flavour, version: str) -> Finding:
    name = "MariaDB" if flavour == "mariadb" else "MySQL"
    number = version.partition("-")[0]
    if _number(version) < _OLDEST[flavour]:
        oldest = ".".join(map(str, _OLDEST[flavour]))
        return Finding("warn", "server", f"{name} {number} is older than {oldest}, the oldest that was tried")
    return Finding("ok", "server", f"{name} {number}")


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.partition("-")[0].split(".")[:2])


def _logs_cascades(flavour: Flavour, version: str) -> bool:
    """MySQL 9.6 and newer log what a foreign key does to the rows of the table that refers."""
    return flavour == "mysql" and _number(version) >= (9, 6)


def _variables(flavour: Flavour, values: Mapping[str, str], rules: Iterable[Rule]) -> Iterator[Finding]:
    for rule in rules:
        if rule.only not in {None, flavour}:
            continue
        value = values.get(rule.name)
        if value is None and rule.name == "binlog_row_metadata":
            text = "is unknown to this server: it is too old"
            yield Finding("fail", rule.name, text, "needs MariaDB 10.5 or MySQL 8.0.1 at least")
        elif value is None or value.upper() == rule.wanted:
            yield Finding("ok", rule.name, "not known here" if value is None else rule.wanted or "none")
        else:
            yield Finding(rule.level, rule.name, f"is {value}: {rule.why}", _mend(flavour, rule))


def _mend(flavour: Flavour, rule: Rule) -> str:
    wanted = rule.wanted or "''"
    line = f"[mysqld]\n{rule.line or f'{rule.name} = {wanted}'}"
    if not rule.live:
        return f"{line}\n# in my.cnf, then restart the server"
    if flavour == "mysql":
        return f"SET PERSIST {rule.name} = {wanted};  -- open sessions keep the old value"
    live = f"SET GLOBAL {rule.name} = {wanted};  -- open sessions keep the old value"
    return f"{live}\n{line}\n# in my.cnf, to stay"


def _filters(cursor: DictCursor) -> Iterator[Finding]:
    """Filtered databases leave no trace in the log, so nothing in the stream could tell of them."""
    status = _first_that_works(cursor, "SHOW BINARY LOG STATUS", "SHOW MASTER STATUS")
    if status is None:
        return  # the finding about grants says why
    filters = {
        f"binlog-{word}-db": value
        for word in ("do", "ignore")
        for row in status
        if (value := row.get(f"Binlog_{word.capitalize()}_DB"))
    }
    if not filters:
        yield Finding("ok", "binlog filters", "none")
    for option, value in filters.items():
        text = f"{option} = {value}: rows it leaves out of the log are lost without a trace"
        yield Finding("fail", "binlog filters", text, f"remove {option} from my.cnf, then restart the server")


def _expiry(values: Mapping[str, str]) -> Iterator[Finding]:
    seconds = float(values.get("binlog_expire_logs_seconds") or 0)
    seconds = seconds or float(values.get("expire_logs_days") or 0) * _DAY
    if not seconds:
        yield Finding("ok", "binlog expiry", "never")
    elif seconds < _DAY:
        text = f"the log is kept for {seconds / 3600:g} h: after a longer stop of ours there is a gap"
        mend = "SET GLOBAL binlog_expire_logs_seconds = 604800;\n[mysqld]\nbinlog_expire_logs_seconds = 604800"
        yield Finding("warn", "binlog expiry", text, f"{mend}\n# in my.cnf, to stay")
    else:
        yield Finding("ok", "binlog expiry", f"after {seconds / _DAY:g} days")


def _relay(flavour: Flavour, values: Mapping[str, str]) -> Iterator[Finding]:
    """A replica that does not log what it applies: those rows are in its tables and not in its log."""
    name = "log_replica_updates" if "log_replica_updates" in values else "log_slave_updates"
    if values.get(name, "ON").upper() == "ON":
        return
    mend = f"[mysqld]\n{name} = ON\n# in my.cnf, then restart the server"
    if values.get("gtid_slave_pos"):
        text = "is OFF on a replica: rows that come from its source are not in its log"
        yield Finding("fail", name, text, mend)
    elif flavour == "mysql":
        yield Finding("warn", name, "is OFF: were it a replica, its log would lack rows", mend)


def _server_id(cursor: DictCursor, values: Mapping[str, str], ours: int | None) -> Iterator[Finding]:
    theirs = int(values.get("server_id", 0))
    if theirs == 0:
        mend = "[mysqld]\nserver_id = 1\n# in my.cnf, then restart the server"
        yield Finding("fail", "server_id", "the server has none, and so serves no log", mend)
    elif theirs == ours:
        mend = "set mysql.server_id to a number of its own"
        yield Finding("warn", "server_id", f"{ours} is the server's own number too", mend)
    elif ours is not None and ours in _replicas(cursor):
        text = f"a reader with {ours} is connected: if it is not this Rowcast, one throws the other out"
        yield Finding("warn", "server_id", text, "give each its own mysql.server_id")
    else:
        yield Finding("ok", "server_id", f"server {theirs}" + (f", we {ours}" if ours else ""))


def _replicas(cursor: DictCursor) -> set[int]:
    rows = _first_that_works(cursor, "SHOW REPLICAS", "SHOW SLAVE HOSTS") or []
    return {int(row.get("Server_Id") or row.get("Server_id") or 0) for row in rows}


def _prepared(cursor: DictCursor, flavour: Flavour) -> Finding:
    """XA transactions that wait for their end. Neither server says for how long they have waited."""
    subject = "XA transactions"
    try:
        cursor.execute("XA RECOVER FORMAT='SQL'" if flavour == "mariadb" else "XA RECOVER CONVERT XID")
    except pymysql.OperationalError as error:
        if error.args[0] not in {_NO_XA_RIGHT, 1227}:
            raise
        return Finding("ok", subject, "not looked at: that needs the right XA_RECOVER_ADMIN")
    xids = [_xid(row) for row in cursor.fetchall()]
    if not xids:
        return Finding("ok", subject, "none is prepared")
    text = f"{len(xids)} prepared: unless somebody is about to end them, each restart of ours reads the log since then"
    return Finding("warn", subject, text, "\n".join(f"XA ROLLBACK {xid};  -- or XA COMMIT" for xid in xids))


def _xid(row: Mapping[str, Any]) -> str:
    """A row of XA RECOVER as XA COMMIT and XA ROLLBACK take it: MariaDB writes it so, MySQL as one hexadecimal text."""
    data = str(row["data"])
    if not data.startswith("0x"):
        return data
    size = 2 * int(row["gtrid_length"])
    return f"X'{data[2:][:size]}',X'{data[2:][size:]}',{row['formatID']}"


def _first_that_works(cursor: DictCursor, *statements: str) -> Sequence[dict[str, Any]] | None:
    """Rows of the first statement that this server knows and this account may ask; None when there is none."""
    for statement in statements:
        try:
            cursor.execute(statement)
        except (pymysql.ProgrammingError, pymysql.OperationalError) as error:
            if error.args[0] not in {1064, 1227}:  # other words, no right
                raise
        else:
            return list(cursor.fetchall())
    return None


def _row(cursor: DictCursor) -> dict[str, Any]:
    row = cursor.fetchone()
    assert row is not None
    return row
