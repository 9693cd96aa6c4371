"""Questions to the source by SQL: who it is, where its log ends, what the log does not say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pymysql
from pymysql.cursors import DictCursor

from cdc.errors import SourceError, SourceRefused, StreamLost
from cdc.position import Flavour, Position, from_server, is_tagged

ConnectArgs = Mapping[str, Any]
"""Keyword arguments of ``pymysql.connect``: host, port, user, password, database, and TLS options."""

CONNECT_TIMEOUT = 5.0  # seconds
_QUERY_TIMEOUT = 10.0
_REFUSALS = frozenset({1044, 1045, 1049, 1142, 1227, 1698, 3118, 3955})
_PARSE_ERROR, _UNKNOWN_COLUMN = 1064, 1054


class Server(NamedTuple):
    """What a reader must know about a server before it starts.

    ``identity`` is its UUID (MySQL) or UID (MariaDB); ``gtids`` whether it numbers its transactions; ``charsets``
    maps collation numbers to character set names.
    """

    flavour: Flavour
    version: str
    identity: str
    gtids: bool
    charsets: Mapping[int, str]


class Control:
    """A connection for questions; a context manager.

    Raises StreamLost when the server is away, SourceRefused when it turns us down.
    """

    def __init__(self, connect: ConnectArgs) -> None:
        options = {
            "connect_timeout": CONNECT_TIMEOUT,
            "read_timeout": _QUERY_TIMEOUT,
            "write_timeout": _QUERY_TIMEOUT,
            "init_command": "SET SESSION wait_timeout = 31536000",  # there may be nothing to ask for long
        }
        try:
            self._connection = pymysql.connect(**{**options, **connect, "cursorclass": DictCursor, "autocommit": True})
        except pymysql.MySQLError as error:
            raise translate(error) from None
        self.flavour: Flavour = "mariadb" if "MariaDB" in _version(self._connection) else "mysql"

    def __enter__(self) -> Control:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def rows(self, sql: str, args: Sequence[object] = ()) -> list[dict[str, Any]]:
        """The result of one statement."""
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(sql, args or None)
                return list(cursor.fetchall())
        except pymysql.MySQLError as error:
            raise translate(error) from None

    def server(self) -> Server:
        """Who is there."""
        mariadb = self.flavour == "mariadb"
        identity = "server_uid" if mariadb else "server_uuid"
        variables = self._variables(identity, "gtid_mode", "log_bin", "version")
        if variables.get("log_bin", "").upper() not in ("ON", "1"):
            raise SourceRefused("the server keeps no binary log", "add log_bin to its my.cnf and restart it")
        gtids = mariadb or variables.get("gtid_mode", "").upper() == "ON"
        return Server(self.flavour, variables["version"], variables.get(identity, ""), gtids, self._charsets())

    def _variables(self, *names: str) -> dict[str, str]:
        marks = ", ".join(["%s"] * len(names))
        found = self.rows(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({marks})", names)
        return {str(row["Variable_name"]): str(row["Value"]) for row in found}

    def _charsets(self) -> dict[int, str]:
        """MariaDB's newer collations have a number only together with a character set."""
        table = "COLLATION_CHARACTER_SET_APPLICABILITY" if self.flavour == "mariadb" else "COLLATIONS"
        found = self.rows(f"SELECT ID AS id, CHARACTER_SET_NAME AS name FROM information_schema.{table}")  # noqa: S608
        return {int(row["id"]): str(row["name"]) for row in found if row["id"] is not None}

    def end(self, *, gtids: bool) -> Position:
        """Where the log ends now."""
        if self.flavour == "mariadb":
            position = from_server(self.rows("SHOW MASTER STATUS")[0])
            found = self.rows("SELECT BINLOG_GTID_POS(%s, %s) AS gtid", (position.file, position.offset))
            return Position(position.file, position.offset, str(found[0]["gtid"] or ""))
        try:
            found = self.rows("SHOW BINARY LOG STATUS")
        except SourceError:  # the words of MySQL before 8.4
            found = self.rows("SHOW MASTER STATUS")
        position = from_server(found[0])
        if gtids and not is_tagged(position.gtid or ""):
            return position
        return Position(position.file, position.offset)

    def oldest(self) -> Position:
        """Where the log begins: the first event of the oldest file that was not purged."""
        return Position(str(self.rows("SHOW BINARY LOGS")[0]["Log_name"]), 4)

    def json_columns(self, schema: str, table: str) -> frozenset[str]:
        """MariaDB: the columns of a text type that a ``json_valid`` constraint makes JSON. MySQL logs JSON as such."""
        if self.flavour != "mariadb":
            return frozenset()
        found = self.rows(
            "SELECT c.COLUMN_NAME AS name FROM information_schema.COLUMNS c"
            " JOIN information_schema.CHECK_CONSTRAINTS k"
            "   ON k.CONSTRAINT_SCHEMA = c.TABLE_SCHEMA AND k.TABLE_NAME = c.TABLE_NAME"
            " WHERE c.TABLE_SCHEMA = %s AND c.TABLE_NAME = %s"
            "   AND LOWER(REPLACE(k.CHECK_CLAUSE, ' ', ''))"
            "     = LOWER(CONCAT('json_valid(`', REPLACE(REPLACE(c.COLUMN_NAME, '`', '``'), ' ', ''), '`)'))",
            (schema, table),
        )
        return frozenset(str(row["name"]) for row in found)


def translate(error: pymysql.MySQLError) -> SourceError:
    """A driver's error as one of ours, by its code. Its text names user and host, never a password."""
    code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    text = str(error.args[1]) if len(error.args) > 1 else str(error)
    if code in _REFUSALS:
        return SourceRefused(text, "rowcast check says what is missing, and the SQL that mends it")
    if isinstance(error, pymysql.ProgrammingError):
        return SourceRefused(f"{code}: {text}")
    return StreamLost(text)


def _version(connection: pymysql.Connection[Any]) -> str:
    return str(connection.get_server_info())  # type: ignore[no-untyped-call]  # the driver types it half
