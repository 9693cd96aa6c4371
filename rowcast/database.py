"""Connecting to the database, and what its errors mean to the person who runs the command."""

from __future__ import annotations

import pymysql
from pymysql.connections import Connection
from pymysql.cursors import Cursor

from rowcast.errors import CONFIGURATION, INTERNAL, TEMPORARY, UNREACHABLE, Failure
from rowcast.mysql_url import MysqlUrl

_GRANTS = "`rowcast check` names the missing GRANT; `rowcast migrate` makes the accounts"
# error number: exit code and hint. Server errors from 1000, client errors from 2000.
_MEANINGS = {
    1040: (TEMPORARY, "the server has no connection left: raise max_connections, or try again"),
    1044: (CONFIGURATION, _GRANTS),
    1045: (CONFIGURATION, "check user and password; special characters must be percent-encoded"),
    1049: (CONFIGURATION, "`rowcast migrate` creates it"),
    1129: (CONFIGURATION, "the server blocked this host after errors: mysqladmin flush-hosts"),
    1130: (CONFIGURATION, "the server admits no account from this host"),
    1142: (CONFIGURATION, _GRANTS),
    1146: (CONFIGURATION, "`rowcast migrate` creates our tables"),
    1203: (TEMPORARY, "the account has all its connections in use: raise max_user_connections"),
    1226: (TEMPORARY, "the account has used up a limit set on it: see SHOW CREATE USER"),
    1227: (CONFIGURATION, "give ROWCAST_MYSQL_ADMIN_URL an account that may do this"),
    1290: (CONFIGURATION, "the server runs with an option that forbids this: is it a read-only replica?"),
    1396: (CONFIGURATION, "the account is in the way: look at SELECT user, host FROM mysql.user"),
    1410: (CONFIGURATION, "give ROWCAST_MYSQL_ADMIN_URL an account that may create users and grant"),
    1698: (CONFIGURATION, "the account logs in by the operating system only (unix_socket): use another"),
    1819: (CONFIGURATION, "the server's password policy refuses it: choose another"),
    1836: (CONFIGURATION, "the server is read-only: is it a replica?"),
    2002: (UNREACHABLE, "is the server running, and is the address right?"),
    2003: (UNREACHABLE, "is the server running, and is the address right?"),
    2005: (UNREACHABLE, "is the host name right?"),
    2006: (UNREACHABLE, "the server went away: its error log says why"),
    2013: (UNREACHABLE, "the connection broke: the server's error log may say why"),
    2026: (CONFIGURATION, "the server offers no TLS: mend it there, or leave out ssl_ca"),
}


def connect(url: MysqlUrl, setting: str, *, database: bool = True) -> Connection[Cursor]:
    """A connection with autocommit; raises ``Failure`` that names ``setting``, whence the URL comes."""
    arguments = url.arguments()
    if not database:
        arguments.pop("database", None)
    try:
        return pymysql.connect(**arguments, autocommit=True, connect_timeout=10)
    except pymysql.Error as error:
        raise failure(error, f"{setting} ({url.user} at {url.address})") from error
    except OSError as error:  # the file of ssl_ca
        raise Failure(f"{setting}: {url.ssl_ca}: {error.strerror}", exit_code=CONFIGURATION) from error


def failure(error: pymysql.Error, what: str) -> Failure:
    """The database's error as a message for a person: what was tried, what the server says, what helps."""
    number = error.args[0] if error.args else 0
    text = str(error.args[-1]) if error.args else type(error).__name__
    if number == 2003 and "CERTIFICATE_VERIFY_FAILED" in text:
        return Failure(f"{what}: {text}", "the server's certificate is not of ssl_ca's authority", CONFIGURATION)
    exit_code, hint = _MEANINGS.get(number, (INTERNAL, f"error {number} of the database"))
    return Failure(f"{what}: {text}", hint, exit_code)
