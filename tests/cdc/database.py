"""A database of the test's own on a real server: written to by SQL, read back through the log."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pymysql

from cdc.assembler import Assembler
from cdc.committed import Committed
from cdc.control import Control
from cdc.fetch import TableChannel
from cdc.position import Position, log_order
from cdc.reader import Origin
from cdc.source import BinlogSource
from cdc.tables import Capture
from devenv.database import Server
from journal.types import GAP, INSERT

NAME = "test_cdc"
HEARTBEAT = 0.5


class Database:
    """``run`` writes, ``read`` follows the log from a position to its present end, ``select`` asks the table."""

    def __init__(self, server: Server) -> None:
        self.encrypted = False  # each connection with TLS reads the system's certificates, for a fifth of a second
        self.server = server
        self.flavour = server.installation.flavour
        self.reconnect()
        self.run(f"DROP DATABASE IF EXISTS {NAME}", f"CREATE DATABASE {NAME}", f"USE {NAME}")

    def reconnect(self) -> None:
        """Begin anew, as after a restart of the server."""
        self._connection = self.connect()
        self._control = Control(self.arguments)

    @property
    def arguments(self) -> dict[str, Any]:
        """How the administrator connects."""
        return {
            "host": "127.0.0.1",
            "port": self.server.port,
            "user": "root",
            "password": self.server.root_password,
            "charset": "utf8mb4",
            "ssl_disabled": not self.encrypted,
        }

    def connect(self, **options: Any) -> pymysql.Connection[Any]:
        """Another session, in autocommit mode."""
        return pymysql.connect(**self.arguments, autocommit=True, **options)

    @contextmanager
    def session(self, *statements: str) -> Iterator[pymysql.Connection[Any]]:
        """Another session in this database, after some statements of its own."""
        with self.connect(database=NAME) as connection:
            for statement in statements:
                connection.query(statement)
            yield connection

    def run(self, *statements: str) -> None:
        """Execute statements in the test's session."""
        for statement in statements:
            self._connection.query(statement)

    def try_run(self, *statements: str) -> None:
        """The same, and a statement that the server refuses is left out."""
        for statement in statements:
            try:
                self.run(statement)
            except pymysql.MySQLError:
                continue

    def select(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows as the server prints them: text, or bytes of binary columns."""
        with self.connect(database=NAME, conv={}) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def value(self, sql: str) -> Any:
        """The first column of the first row."""
        return self.select(sql)[0][0]

    def end(self, *, by_file: bool = False) -> Position:
        """Where the log ends now."""
        end = self._control.end(gtids=self._control.server().gtids)
        return Position(end.file, end.offset) if by_file else end

    def origin(self, *tables: str, server_id: int = 4001, **options: Any) -> Origin:
        """What a reader of these tables is told; each feeds the channel of its name."""
        channels = [TableChannel(table, NAME, table, **options) for table in tables]
        return Origin(self.arguments, channels, server_id, heartbeat=HEARTBEAT)

    def source(self, server_id: int = 4001) -> BinlogSource:
        """A source that is not open yet."""
        return BinlogSource(self.arguments, server_id, heartbeat=HEARTBEAT)

    def record(self, start: Position) -> list[bytes]:
        """The events from ``start`` to the log's present end."""
        return self._follow(start, self.origin())[0]

    def read(self, start: Position, *tables: str, **options: Any) -> list[Committed]:
        """The transactions from ``start`` to the log's present end."""
        return self._follow(start, self.origin(*tables, **options))[1]

    def assembler(self, start: Position, origin: Origin) -> Assembler:
        """An assembler for this server, as a reader makes it."""
        server = self._control.server()
        captures = [Capture(channel.channel, NAME, channel.table, channel.events) for channel in origin.channels]
        made = Assembler(
            server.flavour,
            captures,
            lambda channel, table: origin.decoder(channel, table, server.charsets, made.written),
            start,
            with_gtids=server.gtids,
            altered=lambda one: origin.hidden.altered(one.schema, one.table, made.written.place),
        )
        return made

    def _follow(self, start: Position, origin: Origin) -> tuple[list[bytes], list[Committed]]:
        end = self.end()
        target = log_order(end.file, end.offset)
        source, assembler = self.source(), self.assembler(start, origin)
        events, committed = [], []
        source.open(start, self.flavour)
        try:
            for event in source.events():
                events.append(event)
                done = assembler.feed(event)
                committed += [done] if done else []
                if log_order(assembler.file, assembler.offset) >= target:
                    break
        finally:
            source.close()
        return events, committed

    def close(self) -> None:
        """Leave nothing behind."""
        self.run(f"DROP DATABASE IF EXISTS {NAME}")
        self._connection.close()
        self._control.__exit__()


def digits(number: str) -> str:
    """A number with a fraction as text: servers write 1e100 where Python writes 1e+100."""
    return number.replace("e+", "e")


def rows(committed: Sequence[Committed], channel: str | None = None) -> list[Any]:
    """The inserted rows that arrived, numbers with a fraction as their text."""
    changes = [change for done in committed for change in done.changes]
    wanted = [change for change in changes if change.op == INSERT and channel in (None, change.channel)]
    return [json.loads(change.message, parse_float=digits) for change in wanted]


def story(committed: Sequence[Committed]) -> list[tuple[Any, ...]]:
    """Every change but gaps: what was done, the row, and of an update the old values too."""
    changes = [change for done in committed for change in done.changes if change.op != GAP]
    return [
        (change.op, json.loads(change.message), *([json.loads(change.old)] if change.old else [])) for change in changes
    ]


def gaps(committed: Sequence[Committed]) -> list[tuple[str, str]]:
    """The gaps that arrived: channel and detail."""
    changes = [change for done in committed for change in done.changes if change.op == GAP]
    return [(change.channel, json.loads(change.message)["detail"]) for change in changes]
