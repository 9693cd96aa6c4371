"""`rowcast check`: would it work here? And the same question, shorter, when `rowcast serve` starts."""

from __future__ import annotations

import errno
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pymysql

from cdc.findings import Finding
from cdc.preflight import preflight
from rowcast.database import connect, failure
from rowcast.errors import CONFIGURATION, Failure
from rowcast.health import ask
from rowcast.settings import Settings
from rowcast.statements import identifier

_ROOM = 1 << 30  # bytes that should be free where the journal lies
_DENIED = frozenset({1044, 1142, 1143})
# asks for the right, the table and its columns, and adds nothing
_TRIAL_INSERT = (
    "INSERT INTO {table} (account, data, url, `timestamp`) SELECT '', '{{}}', '', NOW(3) FROM DUAL WHERE FALSE"
)


def check(settings: Settings) -> Iterator[Finding]:
    """Every finding, as they come; raises ``Failure`` when the database cannot be asked."""
    yield from source(settings)
    yield _writer(settings)
    yield _journal(settings.journal.path)
    yield _port("gateway.port", settings.gateway.host, settings.gateway.port)
    yield _port("api.port", settings.api.host, settings.api.port)


def source(settings: Settings) -> list[Finding]:
    """What the database server, the reader's account and the captured tables look like; raises ``Failure``."""
    tables = settings.tables
    columns: dict[tuple[str, str], tuple[str, ...]] = {}
    changing = {tables[name] for name, channel in settings.channels.items() if {*channel.events} - {"insert"}}
    for name, channel in settings.channels.items():
        columns[tables[name]] = (*columns.get(tables[name], ()), *(channel.columns or ()))
    try:
        with connect(settings.reader, "mysql.url") as connection:
            return preflight(connection, tables.values(), columns, settings.server_id, changing=changing)
    except pymysql.Error as error:
        raise failure(error, "mysql.url") from error


def refuse_unfit(settings: Settings) -> list[Finding]:
    """The findings, when none of them is fatal; raises ``Failure`` that holds all that are."""
    findings = source(settings)
    fatal = [finding for finding in findings if finding.fatal]
    if fatal:
        lines = "\n  ".join(f"{finding.subject}: {finding.text}" for finding in fatal)
        hint = "`rowcast check` says how to mend it"
        raise Failure(f"rows would be missing:\n  {lines}", hint, CONFIGURATION)
    return findings


def _writer(settings: Settings) -> Finding:
    """Whether posts can be saved; nothing is written."""
    subject = "api.mysql_url"
    writer = settings.writer
    table = f"{identifier(writer.database)}.scraped_result"
    try:
        with connect(writer, subject, database=False) as connection, connection.cursor() as cursor:
            cursor.execute(_TRIAL_INSERT.format(table=table))
    except pymysql.Error as error:
        told = failure(error, writer.user)
        grant = f"GRANT INSERT ON {table} TO '{writer.user}'@'%';"
        if settings.api.mysql_url is None:
            text = f"is not set, and mysql.url's account cannot save posts: {told.text}"
            return Finding("warn", subject, text, "leave it so if nobody posts; else set it, then `rowcast migrate`")
        return Finding("fail", subject, told.text, grant if error.args[0] in _DENIED else told.hint)
    except Failure as told:
        return Finding("fail", subject, told.text, told.hint)
    if writer == settings.reader:
        text = "is the account that may read everything; another, that may only INSERT, would be safer"
        return Finding("warn", subject, text, "set it to an account of its own, then `rowcast migrate` makes it")
    return Finding("ok", subject, f"{writer.user} may save posts")


def _journal(path: Path) -> Finding:
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if path.exists() and not os.access(path, os.W_OK):
        return Finding("fail", "journal.path", f"{path} cannot be written", f"chown it, as in: chown $USER {path}")
    if not folder.is_dir():
        return Finding("fail", "journal.path", f"{folder} is no folder", "set journal.path elsewhere")
    if not os.access(folder, os.W_OK | os.X_OK):
        return Finding("fail", "journal.path", f"{folder} cannot be written", "set journal.path elsewhere")
    free = shutil.disk_usage(folder).free
    if free < _ROOM:
        return Finding("warn", "journal.path", f"{free >> 20} MiB are free at {folder}", "make room")
    return Finding("ok", "journal.path", f"{path} can be written, {free >> 30} GiB free")


def _port(subject: str, host: str, port: int) -> Finding:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE and ask(f"http://{local(host)}:{port}/healthz", 2.0) is None:
            return Finding("ok", subject, f"{host}:{port} is served by a running Rowcast")
        return Finding("fail", subject, f"{host}:{port}: {error.strerror}", f"set {subject} to a free one")
    return Finding("ok", subject, f"{host}:{port} is free")


def local(host: str) -> str:
    """Where a server that listens on ``host`` is found from here."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not listened on
    return f"[{host}]" if ":" in host else host
