"""What a statement in the log means to us: it begins or ends a transaction, or writes rows that we shall not see."""

from __future__ import annotations

import enum
import re

from cdc.events import Query


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
_NAME = r"(?:`(?:[^`]|``)+`|[^\s`.,;()]+)"
_TABLE = re.compile(rf"(?:({_NAME})\s*\.\s*)?({_NAME})")
_EMPTYING = re.compile(
    r"\s*(TRUNCATE(?:\s+TABLE)?|DROP\s+TABLE(?:\s+IF\s+EXISTS)?|CREATE\s+OR\s+REPLACE\s+TABLE|ALTER\s+TABLE)"
    rf"\s+({_TABLE.pattern}(?:\s*,\s*{_TABLE.pattern})*)",
    re.IGNORECASE,
)
_PARTITIONS = re.compile(r"\b(?:DROP|TRUNCATE|EXCHANGE)\s+PARTITION\b", re.IGNORECASE)
_DROP_SCHEMA = re.compile(rf"\s*DROP\s+(?:DATABASE|SCHEMA)(?:\s+IF\s+EXISTS)?\s+({_NAME})", re.IGNORECASE)
_REPLACING = re.compile(r"\bON\s+DUPLICATE\s+KEY\b|\bREPLACE\b", re.IGNORECASE)
_ALTERS = re.compile(r"\bALTER\s+(?:ONLINE\s+|IGNORE\s+)*TABLE\b", re.IGNORECASE)
_REMAKES = re.compile(
    r"\b(?:CREATE\s+(?:OR\s+REPLACE\s+)?TABLE|DROP\s+TABLE|RENAME\s+TABLES?|DROP\s+(?:DATABASE|SCHEMA))\b"
    r"|\bRENAME\s+(?!COLUMN\b|INDEX\b|KEY\b)",
    re.IGNORECASE,
)
_CHECKS = re.compile(r"\b(?:CHECK|CONSTRAINT|JSON_VALID)\b", re.IGNORECASE)
_AFTER = re.compile(rf"\bAFTER\s+{_NAME}", re.IGNORECASE)
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


def emptied(sql: str) -> list[tuple[str, str]]:
    """The tables, as (schema, name), that a statement empties or drops without logging their rows.

    The schema is empty where the statement names none; the name is empty when the whole schema is dropped.
    """
    start = _start(sql)
    if found := _DROP_SCHEMA.match(sql, start):
        return [(_plain(found[1]), "")]
    found = _EMPTYING.match(sql, start)
    if found is None or (found[1].upper().startswith("ALTER") and not _PARTITIONS.search(sql, found.end())):
        return []
    return [(_plain(schema), _plain(table)) for schema, table in _TABLE.findall(found[2])]


def _plain(name: str) -> str:
    return name[1:-1].replace("``", "`") if name.startswith("`") else name


def only_inserts(sql: str) -> bool:
    """Whether a write can only have added rows: INSERT or LOAD DATA that replaces and updates none."""
    match = _FIRST_WORD.match(sql, _start(sql))
    return match is not None and match[1].upper() in ("INSERT", "LOAD") and _REPLACING.search(sql) is None


def names(sql: str, table: str) -> bool:
    """Whether ``sql`` mentions ``table`` as a word of its own."""
    return re.search(rf"(?<![\w$]){re.escape(table)}(?![\w$])", sql, re.IGNORECASE) is not None


def reshapes(query: Query, schema: str, table: str) -> bool:
    """Whether a statement may give the table another shape, or put another table in its place. Rather yes than no."""
    here = query.schema.lower() == schema.lower() or names(query.sql, schema)
    if not here or not (_ALTERS.search(query.sql) or _REMAKES.search(query.sql)):
        return False
    return names(query.sql, table) or _DROP_SCHEMA.match(query.sql, _start(query.sql)) is not None


def may_retype(sql: str, column: str) -> bool:
    """Whether a statement that reshapes a table may give this column another type. Rather yes than no.

    An ALTER TABLE that does not name the column does not, unless it is about checks, which JSON is made of.
    """
    if _REMAKES.search(sql) or _CHECKS.search(sql):
        return True
    return names(_AFTER.sub("", sql), column.replace("`", "``"))
