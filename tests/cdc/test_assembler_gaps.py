from __future__ import annotations

import pytest

from cdc import events as ev
from cdc import xa
from cdc.position import Flavour
from tests.cdc import forge
from tests.cdc.forge import ORDERS, PARTS, Log, assemble, finish, gaps, ids, prepare

both = pytest.mark.parametrize("flavour", ["mariadb", "mysql"])


STATEMENTS = [
    ("INSERT INTO orders VALUES (1, 'x')", [ORDERS.channel]),
    ("INSERT INTO parts SELECT * FROM orders", [ORDERS.channel, PARTS.channel]),
    ("INSERT INTO a_view VALUES (1)", [ORDERS.channel, PARTS.channel]),
    ("SET STATEMENT max_statement_time=5 FOR REPLACE INTO parts VALUES (1)", [PARTS.channel]),
    ("SELECT `shop`.`f1`()", [ORDERS.channel, PARTS.channel]),
    ("DO f1()", [ORDERS.channel, PARTS.channel]),
]


@both
@pytest.mark.parametrize(("sql", "channels"), STATEMENTS)
def test_a_write_by_statement_is_a_gap(flavour: Flavour, sql: str, channels: list[str]) -> None:
    """On each channel whose table it names, on all when a view, trigger or function hides it; with the remedy."""
    log = Log(flavour)
    log.begin()
    log.query(sql)
    log.xid()
    log.insert(2)
    done = assemble(log, captures=[ORDERS, PARTS])
    assert [channel for channel, _ in gaps(done)] == channels
    assert all("binlog_format = 'ROW'" in detail for _, detail in gaps(done))
    assert ids(done) == [2]


@both
def test_a_write_by_statement_is_a_gap_also_when_rolled_back(flavour: Flavour) -> None:
    """ROLLBACK is logged when a table without transactions took part, and its rows have remained."""
    log = Log(flavour)
    log.begin()
    log.query("INSERT INTO orders VALUES (1)")
    log.query("ROLLBACK")
    assert [channel for channel, _ in gaps(assemble(log))] == ["orders"]


@both
@pytest.mark.parametrize("kind", [ev.EXECUTE_LOAD_QUERY, ev.INCIDENT, 172, 250])
def test_an_unlisted_event_in_a_transaction_is_a_gap(flavour: Flavour, kind: int) -> None:
    """An event type that is not decoded may hide rows: all channels are told, once, with its number."""
    log = Log(flavour)
    log.begin()
    log.add(kind, b"whatever")
    log.add(kind, b"whatever")
    log.xid()
    log.insert(2)
    done = assemble(log, captures=[ORDERS, PARTS])
    assert [channel for channel, detail in gaps(done) if f"type {kind}," in detail] == ["orders", "parts"]
    assert ids(done) == [2]


@both
@pytest.mark.parametrize("kind", [ev.TRANSACTION_PAYLOAD, ev.INCIDENT, 172])
def test_an_unlisted_event_outside_one_is_its_own_transaction(flavour: Flavour, kind: int) -> None:
    """It has neither BEGIN nor end: the gap must not wait for them, the GTID must count. So with one that is broken."""
    log = Log(flavour)
    log.gtid(standalone=True)
    log.add(kind, b"whatever")
    log.insert(2)
    done = assemble(log)
    assert [len(gaps([one])) for one in done] == [1, 0]
    assert done[0].end.gtid == ("0-1-1" if flavour == "mariadb" else f"{forge.UUID}:1")
    assert done[0].end.offset == done[1].start.offset


@both
@pytest.mark.parametrize("kind", [*sorted(ev.WITHOUT_ROWS), 251])
def test_events_that_never_hold_rows_are_passed_over(flavour: Flavour, kind: int) -> None:
    """Those of the manual, and whatever the server flags as ignorable."""
    log = Log(flavour)
    log.begin()
    log.add(kind, b"whatever", flags=ev.IGNORABLE_FLAG if kind not in ev.WITHOUT_ROWS else 0)
    log.xid()
    log.add(kind, b"whatever", flags=ev.IGNORABLE_FLAG if kind not in ev.WITHOUT_ROWS else 0)
    assert [done.changes for done in assemble(log)] == [[]]


@both
def test_a_prepared_xa_transaction_that_is_rolled_back_gives_nothing(flavour: Flavour) -> None:
    """Its rows waited, and nothing is missing."""
    log = Log(flavour)
    prepare(log, 1)
    finish(log, "ROLLBACK")
    log.insert(2)
    done = assemble(log)
    assert (len(done), ids(done), gaps(done)) == (3, [2], [])


@both
def test_a_prepared_xa_transaction_comes_when_it_is_committed(flavour: Flavour) -> None:
    """Its rows stand where they became visible, under the commit's name; two that wait at once stay apart."""
    log = Log(flavour)
    prepare(log, 1)
    prepare(log, 10, xid=b"y")
    log.insert(2)
    finish(log, xid=b"y")
    name = finish(log)
    log.insert(3)
    done = assemble(log)
    assert ([ids([one]) for one in done], gaps(done)) == ([[], [], [2], [10], [1], [3]], [])
    assert done[4].fingerprint.gtid == name


@both
def test_the_oldest_prepared_xa_transaction_is_known(flavour: Flavour) -> None:
    """From its prepare to its end every transaction says where a reader must begin so as to have its rows."""
    log = Log(flavour)
    log.insert(1)
    begin = log.offset
    prepare(log, 2)
    second = log.offset
    prepare(log, 3, xid=b"y")
    log.insert(4)
    finish(log)
    finish(log, "ROLLBACK", xid=b"y")
    done = assemble(log)
    held = [one.held.offset if one.held else None for one in done]
    assert held == [None, begin, begin, begin, second, None]
    assert done[1].held == done[1].start


@both
@pytest.mark.parametrize("sql", ["XA COMMIT X'79',X'',1", "XA COMMIT 'of another form'"])
def test_the_commit_of_an_unknown_xa_transaction_is_a_gap(flavour: Flavour, sql: str) -> None:
    """It was prepared before the stream began: nobody knows which channels its rows belong to."""
    log = Log(flavour)
    prepare(log, 1)
    log.gtid(standalone=True)
    log.query(sql)
    done = assemble(log, captures=[ORDERS, PARTS])
    assert [channel for channel, _ in gaps(done)] == ["orders", "parts"]


@both
def test_an_xa_transaction_too_large_to_wait_is_a_gap(flavour: Flavour, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded: what does not fit beside the others becomes a gap on its channel, at its commit."""
    monkeypatch.setattr(xa, "HELD_BYTES", 200)
    log = Log(flavour)
    prepare(log, 1)
    prepare(log, 2, xid=b"y")
    finish(log)
    finish(log, xid=b"y")
    prepare(log, 3)
    finish(log)
    done = assemble(log, captures=[ORDERS, PARTS])
    assert [(ids([one]), [channel for channel, _ in gaps([one])]) for one in done] == [
        ([], []), ([], []), ([1], []), ([], ["orders"]), ([], []), ([3], []),
    ]  # fmt: skip


def test_an_xa_transaction_committed_in_one_phase_gives_its_rows() -> None:
    """MySQL logs it as a prepare that says that it commits."""
    log = Log("mysql")
    prepare(log, 1, one_phase=True)
    log.insert(2)
    done = assemble(log)
    assert (ids(done), gaps(done), done[0].held) == ([1, 2], [], None)
