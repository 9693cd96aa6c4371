"""Questions to the source by SQL: who it is, where its log ends, what the log does not say."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pymysql
from pymysql.converters import conversions
from pymysql.cursors import Cursor, DictCursor

from cdc.errors import SourceError, SourceRefused, StreamLost
from cdc.position import Flavour, Position, from_server, is_tagged

ConnectArgs = Mapping[str, Any]
"""Keyword arguments of ``pymysql.connect``: host, port, user, password, database, and TLS options."""

CONNECT_TIMEOUT = 5.0  # seconds
_QUERY_TIMEOUT = 10.0
_SELECT_TIMEOUT = 120.0  # a table without a fitting index may take its time
_ENCODERS = {kind: encode for kind, encode in conversions.items() if not isinstance(kind, int)}
_REFUSALS = frozenset({1044, 1045, 1049, 1142, 1227, 1698, 3118, 3955})
_PARSE_ERROR, _UNKNOWN_COLUMN = 1064, 1054


class Server(NamedTuple):
    """What a reader must know about a server before it starts.

    ``identity`` is its UUID (MySQL) or UID (MariaDB); ``gtids`` whether it numbers its transactions; ``charsets``
    maps collation numbers to character set names; ``any_case`` whether it compares table names without case;
    ``read_only`` whether it only takes what another sends it, as a replica should; ``ahead`` how many seconds its clock
    is ahead of ours, as far as one question shows.
    """

    flavour: Flavour
    version: str
    identity: str
    gtids: bool
    charsets: Mapping[int, str]
    any_case: bool = False
    read_only: bool = False
    ahead: float = 0.0


class Control:
    """A connection for questions; a context manager.

    Raises StreamLost when the server is away, SourceRefused when it turns us down. With ``raw`` the driver converts
    nothing, and ``raw_rows`` gives values as the server prints them.
    """

    def __init__(self, connect: ConnectArgs, *, raw: bool = False) -> None:
        options: dict[str, Any] = {
            "connect_timeout": CONNECT_TIMEOUT,
            "read_timeout": _QUERY_TIMEOUT,
            "write_timeout": _QUERY_TIMEOUT,
            "init_command": "SET SESSION wait_timeout = 31536000",  # there may be nothing to ask for long
        }
        if raw:
            options |= {"use_unicode": False, "conv": _ENCODERS, "read_timeout": _SELECT_TIMEOUT}
        try:
            self._connection = pymysql.connect(**{**options, **connect, "cursorclass": DictCursor, "autocommit": True})
        except pymysql.MySQLError as error:
            raise translate(error) from None
        except OSError as error:  # not from the network, which the driver translates: a certificate that is not there
            raise StreamLost(f"cannot connect: {error}") from None
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
                return [{name: _plain(value) for name, value in row.items()} for row in cursor.fetchall()]
        except pymysql.MySQLError as error:
            raise translate(error) from None

    def raw_rows(self, sql: str, args: Sequence[object] = ()) -> list[tuple[bytes | None, ...]]:
        """The result of one statement, each value in the bytes that the server printed; needs ``raw``."""
        try:
            with self._connection.cursor(Cursor) as cursor:
                cursor.execute(sql, args or None)
                return list(cursor.fetchall())
        except pymysql.MySQLError as error:
            raise translate(error) from None

    def server(self) -> Server:
        """Who is there."""
        mariadb = self.flavour == "mariadb"
        identity = "server_uid" if mariadb else "server_uuid"
        variables = self._variables(identity, "gtid_mode", "log_bin", "version", "lower_case_table_names", "read_only")
        if variables.get("log_bin", "").upper() not in ("ON", "1"):
            raise SourceRefused("the server keeps no binary log", "add log_bin to its my.cnf and restart it")
        gtids = mariadb or variables.get("gtid_mode", "").upper() == "ON"
        return Server(
            self.flavour,
            variables["version"],
            variables.get(identity, ""),
            gtids,
            self._charsets(),
            any_case=variables.get("lower_case_table_names", "0") != "0",
            read_only=variables.get("read_only", "OFF").upper() not in ("OFF", "0"),
            ahead=self._ahead(),
        )

    def _ahead(self) -> float:
        """Seconds; what is less than the question took proves nothing."""
        asked = time.time()
        (row,) = self.rows("SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) AS now")
        answered = time.time()
        ahead = float(row["now"]) / 1e6 - (asked + answered) / 2
        return ahead if abs(ahead) > answered - asked else 0.0

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
            return self.mariadb_position(position.file, position.offset)
        try:
            found = self.rows("SHOW BINARY LOG STATUS")
        except SourceError:  # the words of MySQL before 8.4
            found = self.rows("SHOW MASTER STATUS")
        position = from_server(found[0])
        if gtids and not is_tagged(position.gtid or ""):
            return position
        return Position(position.file, position.offset)

    def mariadb_position(self, file: str, offset: int) -> Position:
        """A place in MariaDB's log with the GTIDs before it."""
        found = self.rows("SELECT BINLOG_GTID_POS(%s, %s) AS gtid", (file, offset))
        return Position(file, offset, str(found[0]["gtid"] or ""))

    def oldest(self) -> Position:
        """Where the log begins: the first event of the oldest file that was not purged."""
        return Position(str(self.rows("SHOW BINARY LOGS")[0]["Log_name"]), 4)

    def tables(self, schema: str) -> list[str]:
        """The names of the tables in a schema that the account may see, sorted."""
        found = self.rows(
            "SELECT TABLE_NAME AS name FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s ORDER BY 1", (schema,)
        )
        return [str(row["name"]) for row in found]

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

    def hidden_types(self, schema: str, table: str) -> dict[str, str]:
        """MariaDB: columns that its log shows as text or BINARY, and are ``json``, ``uuid``, ``inet4`` or ``inet6``."""
        if self.flavour != "mariadb":
            return {}
        found = self.rows(
            "SELECT COLUMN_NAME AS name, LOWER(DATA_TYPE) AS type FROM information_schema.COLUMNS"
            " WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s AND DATA_TYPE IN ('uuid', 'inet4', 'inet6')",
            (schema, table),
        )
        json = dict.fromkeys(self.json_columns(schema, table), "json")
        return json | {str(row["name"]): str(row["type"]) for row in found}

    def defined(self, schema: str, table: str) -> tuple[int, int] | None:
        """MariaDB: when an InnoDB table got its present definition, Unix seconds, and the ``server_id`` of whose clock.

        That is when the file with the definition was made, which every ALTER makes anew. None where it is not known,
        as for the tables of other engines.
        """
        self.rows("SET SESSION time_zone = '+00:00'")
        found = self.rows(
            "SELECT UNIX_TIMESTAMP(CREATE_TIME) AS defined, @@server_id AS id FROM information_schema.TABLES"
            " WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s AND ENGINE = 'InnoDB' AND CREATE_TIME IS NOT NULL",
            (schema, table),
        )
        return (int(found[0]["defined"]), int(found[0]["id"])) if found else None


def translate(error: pymysql.MySQLError) -> SourceError:
    """A driver's error as one of ours, by its code. Its text names user and host, never a password."""
    code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    text = str(error.args[1]) if len(error.args) > 1 else str(error)
    if code in _REFUSALS:
        return SourceRefused(text, "rowcast check says what is missing, and the SQL that mends it")
    if isinstance(error, pymysql.ProgrammingError):
        return SourceRefused(f"{code}: {text}")
    return StreamLost(text)


def _plain(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _version(connection: pymysql.Connection[Any]) -> str:
    return str(connection.get_server_info())  # type: ignore[no-untyped-call]  # the driver types it half
