"""What a statement in the log means to us: it begins or ends a transaction, or writes rows that we shall not see."""

from __future__ import annotations

import enum
import re


class Kind(enum.Enum):
    """The statements that matter; everything else is OTHER (DDL, grants).

    WRITE names the table it writes to; HIDDEN may write to any, by a function. UNDO is ROLLBACK TO a savepoint. XA
    opens or suspends an XA transaction, the other two end one that was prepared before.
    """

    BEGIN = enum.auto()
    COMMIT = enum.auto()
    ROLLBACK = enum.auto()
    SAVEPOINT = enum.auto()
    UNDO = enum.auto()
    WRITE = enum.auto()
    HIDDEN = enum.auto()
    XA = enum.auto()
    XA_COMMIT = enum.auto()
    XA_ROLLBACK = enum.auto()
    OTHER = enum.auto()


_COMMENT = re.compile(r"\s*(?:/\*(?!M?!).*?\*/|--[ \t][^\n]*(?:\n|$)|#[^\n]*(?:\n|$))", re.DOTALL)
_FIRST_WORD = re.compile(r"[\s(]*(?:/\*M?!\d*\s*)?([A-Za-z]+)")
_SETTINGS = re.compile(r"\s*SET\s+STATEMENT\b.*?\bFOR\b", re.IGNORECASE | re.DOTALL)  # MariaDB: for one statement
_SAVEPOINT = re.compile(
    r"\s*(?:ROLLBACK(?:\s+WORK)?\s+TO(?:\s+SAVEPOINT)?|SAVEPOINT)\s+(`(?:[^`]|``)+`|[^\s`]+)", re.IGNORECASE
)
_WORDS = {"BEGIN": Kind.BEGIN, "COMMIT": Kind.COMMIT, "SAVEPOINT": Kind.SAVEPOINT} | dict.fromkeys(
    ("INSERT", "REPLACE", "LOAD", "UPDATE", "DELETE", "WITH"), Kind.WRITE
) | dict.fromkeys(("SELECT", "DO", "CALL"), Kind.HIDDEN)  # fmt: skip
_XA_END = re.compile(r"\s*XA\s+(COMMIT|ROLLBACK)\b", re.IGNORECASE)
_XA = {"COMMIT": Kind.XA_COMMIT, "ROLLBACK": Kind.XA_ROLLBACK}


def classify(sql: str) -> Kind:
    """The kind of ``sql`` by its first words, comments skipped.

    ``CREATE TABLE … START TRANSACTION`` (MySQL 8.0.21 on, for CREATE … SELECT) begins one.
    """
    if sql in ("BEGIN", "COMMIT"):
        return _WORDS[sql]
    start = _start(sql)
    match = _FIRST_WORD.match(sql, start)
    word = match[1].upper() if match else ""
    if word == "ROLLBACK":
        return Kind.UNDO if savepoint(sql) else Kind.ROLLBACK
    if word == "XA":
        verb = _XA_END.match(sql, start)
        return _XA[verb[1].upper()] if verb else Kind.XA
    if word == "CREATE" and sql.rstrip().upper().endswith("START TRANSACTION"):
        return Kind.BEGIN
    return _WORDS.get(word, Kind.OTHER)


def _start(sql: str) -> int:
    """Where the statement begins, behind comments and MariaDB's settings for one statement."""
    start = 0
    while found := _COMMENT.match(sql, start) or _SETTINGS.match(sql, start):
        start = found.end()
    return start


def savepoint(sql: str) -> str:
    """The savepoint that SAVEPOINT sets or ROLLBACK TO goes back to, in small letters; empty in other statements."""
    match = _SAVEPOINT.match(sql, _start(sql))
    return match[1].strip("`").lower() if match else ""


def names(sql: str, table: str) -> bool:
    """Whether ``sql`` mentions ``table`` as a word of its own."""
    return re.search(rf"(?<![\w$]){re.escape(table)}(?![\w$])", sql, re.IGNORECASE) is not None
