"""`rowcast migrate`: brings a database to what this version needs. Safe to repeat, and to run twice at once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from typing import NamedTuple

import pymysql
from pymysql.connections import Connection
from pymysql.cursors import Cursor

from rowcast.database import connect, failure
from rowcast.errors import CONFIGURATION, TEMPORARY, Failure
from rowcast.mysql_url import MysqlUrl
from rowcast.settings import Settings
from rowcast.statements import fill, identifier, schema_pattern, split

_LOCK_SECONDS = 60


class SqlFile(NamedTuple):
    """One numbered file; ``sha256`` is of its text with Unix line ends, so that a checkout cannot change it."""

    number: int
    name: str
    text: str

    @property
    def sha256(self) -> str:
        """The hash by which a file that changed after it was applied is told."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def numbered_files() -> list[SqlFile]:
    """The files that are applied once, in order."""
    names = sorted(file.name for file in files("sql").iterdir() if file.name[:3].isdigit())
    return [SqlFile(int(name[:3]), name, _text(name)) for name in names]


def migrate(settings: Settings, demo: MysqlUrl | None = None, steps: Sequence[SqlFile] | None = None) -> list[str]:
    """Create the database, apply new files, make the accounts of the settings and ``demo``. Says what it did.

    ``steps`` are this version's files unless given. Raises ``Failure``; running it again is always safe.
    """
    admin, database = settings.admin, settings.reader.database
    steps = numbered_files() if steps is None else steps
    connection = connect(admin, "mysql.admin_url", database=False)
    with connection, connection.cursor() as cursor, _exclusive(cursor, database):
        done = [*_make_database(cursor, database), *_apply(cursor, steps)]
        for account in _accounts(settings, demo):
            if account.url.user == admin.user:
                continue
            _make_account(connection, cursor, account, database)
            done.append(f"account {account.url.user} ready ({account.setting})")
    return done


@contextmanager
def _exclusive(cursor: Cursor, database: str) -> Iterator[None]:
    # the name of a lock holds 64 characters, that of a database up to 64
    lock = f"rowcast.migrate.{hashlib.sha256(database.encode()).hexdigest()[:32]}"
    cursor.execute("SELECT GET_LOCK(%s, %s)", (lock, _LOCK_SECONDS))
    if cursor.fetchone() != (1,):
        raise Failure(
            f"another `rowcast migrate` has held the database {database} for {_LOCK_SECONDS} s",
            "wait for it to end: SHOW PROCESSLIST tells what it does",
            TEMPORARY,
        )
    try:
        yield
    finally:
        cursor.execute("SELECT RELEASE_LOCK(%s)", (lock,))


def _make_database(cursor: Cursor, database: str) -> list[str]:
    cursor.execute("SELECT 1 FROM information_schema.schemata WHERE schema_name = %s", (database,))
    there = cursor.fetchone() is not None
    if not there:
        _run(cursor, f"CREATE DATABASE {identifier(database)} CHARACTER SET utf8mb4", f"database {database}")
    _run(cursor, f"USE {identifier(database)}", f"database {database}")
    return [] if there else [f"database {database} created"]


def _apply(cursor: Cursor, steps: Sequence[SqlFile]) -> list[str]:
    for statement in split(_text("migrations.sql")):
        _run(cursor, statement, "migrations.sql")
    cursor.execute("SELECT number, name, sha256 FROM rowcast_migrations ORDER BY number")
    seen = {number: (name, sha256) for number, name, sha256 in cursor.fetchall()}
    _refuse_strangers(seen, steps)
    done = []
    for step in steps:
        if step.number in seen:
            continue
        for statement in split(step.text):
            _run(cursor, statement, step.name)
        cursor.execute(
            "INSERT INTO rowcast_migrations VALUES (%s, %s, %s, UTC_TIMESTAMP(3))",
            (step.number, step.name, step.sha256),
        )
        done.append(f"{step.name} applied")
    return done


def _refuse_strangers(seen: dict[int, tuple[str, str]], steps: Sequence[SqlFile]) -> None:
    ours = {step.number: step for step in steps}
    for number, (name, sha256) in seen.items():
        if number not in ours:
            raise Failure(
                f"{name} was applied to this database, but this version does not have it",
                "a newer version migrated it: use that one, or a database of this version's own",
                CONFIGURATION,
            )
        if ours[number].sha256 != sha256:
            raise Failure(
                f"{ours[number].name} is not what was applied to this database as {name}",
                "an applied file must not change: restore it, and write the change as a new number",
                CONFIGURATION,
            )


class _Account(NamedTuple):
    file: str
    setting: str
    url: MysqlUrl
    schemas: Sequence[str]  # those it may read


def _accounts(settings: Settings, demo: MysqlUrl | None) -> list[_Account]:
    schemas = sorted({settings.reader.database, *(schema for schema, _ in settings.tables.values())})
    accounts = [
        _Account("account_reader.sql", "mysql.url", settings.reader, schemas),
        _Account("account_writer.sql", "api.mysql_url", settings.writer, [""]),
    ]
    if demo is not None:
        accounts.append(_Account("account_demo.sql", "ROWCAST_DEMO_MYSQL_URL", demo, [""]))
    return accounts


def _make_account(connection: Connection[Cursor], cursor: Cursor, account: _Account, database: str) -> None:
    for schema in account.schemas:
        values = {
            "user": connection.escape(account.url.user),
            "password": connection.escape(account.url.password),
            "database": identifier(database),
            "schema": schema_pattern(schema),
        }
        for statement in split(_text(account.file)):
            _run(cursor, fill(statement, values), f"{account.file} for {account.url.user}")


def _run(cursor: Cursor, statement: str, what: str) -> None:
    try:
        cursor.execute(statement)
    except pymysql.Error as error:
        raise failure(error, what) from error


def _text(name: str) -> str:
    return files("sql").joinpath(name).read_text("utf-8").replace("\r\n", "\n")
