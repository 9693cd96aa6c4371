"""What a statement in the log means to us: it begins or ends a transaction, or writes rows that we shall not see."""

from __future__ import annotations

import enum
import re


class Kind(enum.Enum):
    """The statements that matter; everything else is OTHER (DDL, grants, savepoints)."""

    BEGIN = enum.auto()
    COMMIT = enum.auto()
    ROLLBACK = enum.auto()
    WRITE = enum.auto()
    XA = enum.auto()
    OTHER = enum.auto()


_COMMENT = re.compile(r"\s*(?:/\*(?!M?!).*?\*/|--[ \t][^\n]*(?:\n|$)|#[^\n]*(?:\n|$))", re.DOTALL)
_FIRST_WORD = re.compile(r"[\s(]*(?:/\*M?!\d*\s*)?([A-Za-z]+)")
_WRITES = frozenset({"INSERT", "REPLACE", "LOAD", "UPDATE", "DELETE", "WITH", "CALL", "DO", "SELECT"})
_WORDS = {"BEGIN": Kind.BEGIN, "COMMIT": Kind.COMMIT, "XA": Kind.XA}


def classify(sql: str) -> Kind:
    """The kind of ``sql`` by its first word, comments skipped.

    ``CREATE TABLE … START TRANSACTION`` (MySQL 8.0.21 on, for CREATE … SELECT) begins one; ``ROLLBACK TO`` a
    savepoint ends nothing.
    """
    if sql in _WORDS:
        return _WORDS[sql]
    start = 0
    while comment := _COMMENT.match(sql, start):
        start = comment.end()
    match = _FIRST_WORD.match(sql, start)
    word = match[1].upper() if match else ""
    if word == "ROLLBACK":
        return Kind.OTHER if re.search(r"\bTO\b", sql, re.IGNORECASE) else Kind.ROLLBACK
    if word in ("CREATE", "START") and sql.rstrip().upper().endswith("START TRANSACTION"):
        return Kind.BEGIN
    if word in _WRITES:
        return Kind.WRITE
    return _WORDS.get(word, Kind.OTHER)


def begins_xa(sql: str) -> bool:
    """Whether an XA statement opens a transaction whose rows follow."""
    return re.match(r"\s*XA\s+(?:START|BEGIN)\b", sql, re.IGNORECASE) is not None


def names(sql: str, table: str) -> bool:
    """Whether ``sql`` mentions ``table`` as a word of its own."""
    return re.search(rf"(?<![\w$]){re.escape(table)}(?![\w$])", sql, re.IGNORECASE) is not None
