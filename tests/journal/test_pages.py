from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from journal.file import connect
from journal.pages import Ask, read_page
from journal.sqlite import SqliteJournal
from tests.journal.rows import A, offsets, rows


class Watched:
    """A connection that counts its statements and the rows they give, and lets something happen before one of them."""

    def __init__(self, connection: apsw.Connection, before: str = "", happens: Callable[[], object] = object) -> None:
        self._connection = connection
        self._before = before
        self._happens = happens
        self.steps = 0

    @property
    def in_transaction(self) -> bool:
        """As the connection has it."""
        return self._connection.in_transaction

    def execute(self, statement: str, bindings: tuple[Any, ...] = ()) -> list[Any]:
        """All rows at once, for what reads them here reads all."""
        if self._before and self._before in statement:
            self._happens()
        found = self._connection.execute(statement, bindings).fetchall()
        self.steps += max(len(found), 1)
        return found


@pytest.mark.parametrize("before", ["json_group_array", "string_agg"])
async def test_a_page_is_consistent_in_itself(journal: SqliteJournal, path: Path, before: str) -> None:
    """What is trimmed between two statements of a page is still whole in that page, and in no later one."""
    appended = await journal.append(rows(2_000))
    ask = Ask(A, 0, 1_000, 1 << 20, 2_000)

    def trim() -> None:
        while journal._thread.submit(journal._writer.trim, 0, 0).result().trimmed:
            pass

    connection = connect(path, read_only=True)
    watched: Any = Watched(connection, before, trim)

    assert read_page(watched, ask, journal.epoch) == appended[:1_000]
    assert read_page(watched, ask, journal.epoch) == []
    connection.close()


async def test_a_page_takes_few_steps(journal: SqliteJournal, path: Path) -> None:
    """However many events a page has, SQLite is entered five times: each may cost a wait for Python's lock."""
    await journal.append(rows(1_000))
    connection = connect(path, read_only=True)
    watched: Any = Watched(connection)

    page = read_page(watched, Ask(A, 0, 1_000, 1 << 20, 1_000), journal.epoch)

    assert offsets(page) == list(range(1, 1_001))
    assert watched.steps == 5
    connection.close()


async def test_a_batch_takes_few_steps(journal: SqliteJournal) -> None:
    """The same for a batch on its way in: no statement a row."""
    statements: list[str] = []
    connection = journal._writer._connection

    def trace(_cursor: object, statement: str, _bindings: object) -> bool:
        statements.append(statement)
        return True

    connection.exec_trace = trace
    await journal.append(rows(1_000))
    connection.exec_trace = None

    assert sum("INSERT INTO event" in statement for statement in statements) <= 13
    assert len(statements) <= 16
