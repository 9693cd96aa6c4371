"""The table ``scraped_result``: rows in, their ids or refusals out.

What is certain about a save is kept apart from what is not. Until COMMIT is sent nothing can have been saved, so a
connection lost before that is replaced once and the rows are sent again. Once it is sent, only its answer tells.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import pymysql

from api.errors import (
    BatchRefused,
    DatabaseAway,
    DatabaseBusy,
    ItemFailure,
    OutcomeUnknown,
    RowRefused,
    SaveFailed,
)
from api.exchange import Exchange
from api.rows import MAX_ITEM_ERRORS, Row

T = TypeVar("T")

_INSERT = "INSERT INTO scraped_result (account, data, url, timestamp) VALUES "
_PROBE = "EXPLAIN " + _INSERT + "('', 'null', '', '2000-01-01 00:00:00.000')"
_VARIABLES = "SELECT @@auto_increment_increment, @@max_allowed_packet"
_LIMITS = """
    SELECT column_name, character_maximum_length FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'scraped_result' AND data_type IN ('char', 'varchar')
"""
# The values are at fault, not the server: NULL, a duplicate, a wrong reference, out of range or too long for the
# column, a trigger's SIGNAL, and JSON or a CHECK, first as MySQL and last as MariaDB reports it.
_REFUSED = frozenset({1048, 1062, 1118, 1216, 1264, 1265, 1292, 1366, 1406, 1452, 1644, 3140, 3141, 3157, 3819, 4025})
_BUSY = frozenset({1020, 1205, 1213, 1317, 1969, 3024})  # conflict, lock wait, deadlock, interrupted, too slow
_LOST = frozenset({1053, 1152, 1158, 1159, 1160, 1161, 1927, 3169, 4031})  # besides the client's own 2000 to 2999
_COLUMN = re.compile(r"(?:column|CONSTRAINT)\b.*\b(account|data|url|timestamp)\b", re.DOTALL)


@dataclass(frozen=True)
class Address:
    """Where the database is, and who we are there. Its text does not show the password.

    With ``ssl_ca`` the server must offer TLS with a certificate of that authority, and of its host name with
    ``ssl_verify_identity``. Without, TLS is used when offered and proves nothing about the server.
    """

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str
    ssl_ca: str | None = None
    ssl_verify_identity: bool = False


class ResultTable:
    """Inserts rows over one connection, made when it is needed. One call at a time.

    ``connect_timeout`` and ``io_timeout`` in seconds bound every wait for the server.
    """

    def __init__(self, address: Address, *, connect_timeout: float = 3.0, io_timeout: float = 5.0) -> None:
        self._address = address
        self._connect_timeout = connect_timeout
        self._io_timeout = io_timeout
        self._exchange: Exchange | None = None
        self._thread = ThreadPoolExecutor(1, "result-table")  # connects and checks, which is seldom
        self._id_step = 1
        self._max_statement = 1 << 20
        self.limits: dict[str, int] = {}  # lengths of the columns in characters, known after the first connect

    async def check(self) -> None:
        """Raise ``DatabaseAway`` unless a row could be inserted now; connects when there is no connection."""
        await self._in_thread(self._probe)

    async def save(self, rows: Sequence[Row]) -> list[int | SaveFailed]:
        """Insert the rows in one transaction; gives each its id or, alone, its refusal.

        Raises ``DatabaseAway``, ``DatabaseBusy`` or ``OutcomeUnknown`` for all of them.
        """
        try:
            return list(await self._transaction(lambda exchange: self._insert(exchange, rows)))
        except RowRefused as refusal:
            if len(rows) == 1:
                return [refusal]
        return await self._transaction(lambda exchange: self._insert_each(exchange, rows))

    async def save_all(self, rows: Sequence[Row]) -> list[int]:
        """Insert all the rows in one transaction, or none; raises ``BatchRefused``, or as ``save`` does."""
        try:
            return await self._transaction(lambda exchange: self._insert(exchange, rows))
        except RowRefused:
            return await self._transaction(lambda exchange: self._insert_checked(exchange, rows))

    def close(self) -> None:
        """Close the connection, if there is one, without waiting for it. Nothing can be called afterwards."""
        self._thread.submit(self._leave)
        self._thread.shutdown(wait=False)

    async def _transaction(self, work: Callable[[Exchange], Awaitable[T]]) -> T:
        """Do ``work`` and commit; once more on a new connection if the old one was lost before COMMIT."""
        try:
            return await self._attempt(work)
        except _Lost:
            try:
                return await self._attempt(work)
            except _Lost as lost:
                raise _away(lost.error) from lost.error

    async def _attempt(self, work: Callable[[Exchange], Awaitable[T]]) -> T:
        exchange = await self._connected()
        try:
            result = await work(exchange)
        except (RowRefused, BatchRefused):
            await self._rollback(exchange)
            raise
        except pymysql.Error as error:
            if _is_lost(error):
                self._drop()
                if isinstance(error.__cause__, TimeoutError):  # it would only wait as long again
                    raise _away(error) from error
                raise _Lost(error) from error
            await self._rollback(exchange)
            raise _failure(error) from error
        await self._commit(exchange)
        return result

    async def _commit(self, exchange: Exchange) -> None:
        try:
            await exchange.ask(b"COMMIT")
        except pymysql.Error as error:
            # Even an error from the server may follow a commit that stands (semi-sync, KILL), so all are one.
            self._drop()
            raise OutcomeUnknown("the connection broke after COMMIT was sent") from error

    async def _rollback(self, exchange: Exchange) -> None:
        try:
            await exchange.ask(b"ROLLBACK")
        except pymysql.Error:
            self._drop()  # which rolls back just as well

    async def _insert(self, exchange: Exchange, rows: Sequence[Row]) -> list[int]:
        ids: list[int] = []
        for statement, count in self._statements(rows):
            try:
                answer = await exchange.ask(statement)
            except pymysql.Error as error:
                if _number(error) in _REFUSED:
                    raise _refusal(error) from error
                raise
            # The number of rows is known to the server beforehand, so their ids are consecutive in every
            # innodb_autoinc_lock_mode ("simple inserts" in the manual), in steps of auto_increment_increment.
            first: int = answer.insert_id
            ids.extend(range(first, first + count * self._id_step, self._id_step))
        return ids

    async def _insert_each(self, exchange: Exchange, rows: Sequence[Row]) -> list[int | SaveFailed]:
        return [await self._insert_alone(exchange, row) for row in rows]

    async def _insert_alone(self, exchange: Exchange, row: Row) -> int | SaveFailed:
        try:
            return (await self._insert(exchange, [row]))[0]
        except RowRefused as refusal:
            return refusal

    async def _insert_checked(self, exchange: Exchange, rows: Sequence[Row]) -> list[int]:
        ids: list[int] = []
        errors: list[ItemFailure] = []
        for index, row in enumerate(rows):
            outcome = await self._insert_alone(exchange, row)
            if isinstance(outcome, int):
                ids.append(outcome)
            else:
                errors.append(ItemFailure(index=index, error=outcome.reason, path=outcome.failure.path))
                if len(errors) == MAX_ITEM_ERRORS:
                    break
        if errors:
            raise BatchRefused(errors)
        return ids

    def _statements(self, rows: Sequence[Row]) -> Iterator[tuple[bytes, int]]:
        """The rows in as few statements as ``max_allowed_packet`` allows, each with its number of rows."""
        parts: list[bytes] = []
        size = 0
        for row in rows:
            part = _values(row)
            length = len(part)
            if length > self._max_statement:
                raise RowRefused(f"the row is larger than the database's max_allowed_packet ({self._max_statement})")
            if size + length > self._max_statement:
                yield _statement(parts), len(parts)
                parts, size = [], 0
            parts.append(part)
            size += length + 1
        yield _statement(parts), len(parts)

    async def _connected(self) -> Exchange:
        if self._exchange is not None and self._exchange.open:
            return self._exchange
        return await self._in_thread(self._connect)

    # In the thread

    def _probe(self) -> None:
        exchange = self._exchange if self._exchange is not None and self._exchange.open else self._connect()
        try:
            exchange.suspend()
            with exchange.connection.cursor() as cursor:
                cursor.execute(_PROBE)
            exchange.connection.rollback()  # or the metadata lock of the probe would hold up an ALTER TABLE for ever
            exchange.resume()
        except pymysql.Error as error:
            self._drop()
            raise _away(error) from error

    def _connect(self) -> Exchange:
        try:
            self._exchange = self._open()
        except pymysql.Error as error:
            raise _away(error) from error
        return self._exchange

    def _open(self) -> Exchange:
        lock_wait = max(1, int(self._io_timeout) - 1)  # less than our own: its error is certain, our timeout is not
        at = self._address
        connection = pymysql.connect(
            host=at.host,
            port=at.port,
            user=at.user,
            password=at.password.encode(),  # PyMySQL would take it for latin1
            database=at.database,
            ssl_ca=at.ssl_ca,
            ssl_verify_cert=True if at.ssl_ca else None,
            ssl_verify_identity=at.ssl_verify_identity or None,
            charset="utf8mb4",
            sql_mode="STRICT_ALL_TABLES",
            init_command=f"SET SESSION innodb_lock_wait_timeout = {lock_wait}, lock_wait_timeout = {lock_wait}",
            connect_timeout=self._connect_timeout,
            read_timeout=self._io_timeout,
            write_timeout=self._io_timeout,
            program_name="rowcast",
        )
        with connection.cursor() as cursor:
            cursor.execute(_VARIABLES)
            for self._id_step, max_packet in cursor.fetchall():
                self._max_statement = max_packet - len(_INSERT) - 64
            cursor.execute(_LIMITS)
            self.limits = {name.lower(): length for name, length in cursor.fetchall()}
        connection.rollback()
        exchange = Exchange(connection, self._io_timeout)
        exchange.resume()
        return exchange

    # Anywhere

    def _drop(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.close()

    def _leave(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.leave()

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)


class _Lost(Exception):
    """The connection broke before COMMIT was sent."""

    def __init__(self, error: pymysql.Error) -> None:
        super().__init__(str(error))
        self.error = error


def _values(row: Row) -> bytes:
    return ("('" + "','".join([_quoted(value) for value in row]) + "')").encode()


def _quoted(value: str) -> str:
    """What stands between the quotes of a string literal. All else may stand there as it is ("String Literals")."""
    if "\\" in value or "'" in value:
        # Backslashes escape: the session's sql_mode says so, whatever the server's.
        return value.replace("\\", "\\\\").replace("'", "\\'")
    return value


def _statement(parts: list[bytes]) -> bytes:
    return _INSERT.encode() + b",".join(parts)


def _number(error: pymysql.Error) -> int:
    """The error's number, 0 where PyMySQL gives none."""
    return error.args[0] if error.args and isinstance(error.args[0], int) else 0


def _is_lost(error: pymysql.Error) -> bool:
    number = _number(error)
    return number == 0 or 2000 <= number < 3000 or number in _LOST


def _away(error: pymysql.Error) -> DatabaseAway:
    """Clients get the number alone: the text names hosts and accounts, and is for the log (as ``__cause__``)."""
    return DatabaseAway(f"the database is away (error {_number(error)})")


def _failure(error: pymysql.Error) -> SaveFailed:
    number = _number(error)
    if number in _BUSY:
        return DatabaseBusy(f"the database is busy (error {number})")
    return DatabaseAway(f"the database cannot insert (error {number})", hint="the server's log says more")


def _refusal(error: pymysql.Error) -> RowRefused:
    """The server's own words, without the number of the row in a statement that the client never saw."""
    text = re.sub(r" at row \d+$", "", str(error.args[1]))
    column = _COLUMN.search(text)
    return RowRefused(f"{text} (error {_number(error)})", path=f"$.{column[1]}" if column else None)
