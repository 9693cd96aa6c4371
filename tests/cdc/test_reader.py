from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from cdc.committed import Committed
from cdc.control import Control, Server
from cdc.errors import PositionLost
from cdc.handoff import Handoff
from cdc.position import Checkpoint, Fingerprint, Flavour, Position
from cdc.reader import Overlap, Reader, _check_identity
from tests.cdc.database import Database, rows
from tests.waiting import until

START, END = Position("binlog.000002", 100), Position("binlog.000002", 200)
LAST = Fingerprint("0-1-7", "1700000000-00000001")


def committed(fingerprint: Fingerprint) -> Committed:
    return Committed([], START, END, fingerprint, 0.0)


def checkpoint(last: Fingerprint | None, flavour: Flavour = "mariadb", start: Position = START) -> Checkpoint:
    return Checkpoint(flavour, "server-a", start, END, last)


# The overlap


def test_the_first_transaction_must_be_the_one_that_is_known() -> None:
    """It is recognised, and not new; everything after it is."""
    overlap = Overlap(checkpoint(LAST))
    assert not overlap.proven
    assert [overlap.is_new(committed(LAST)), overlap.is_new(committed(LAST))] == [False, True]
    assert overlap.proven
    overlap.at_log_end()


@pytest.mark.parametrize(
    "other", [msgspec.structs.replace(LAST, gtid="0-1-8"), msgspec.structs.replace(LAST, digest="x")]
)
def test_another_transaction_in_its_place_is_a_reset(other: Fingerprint) -> None:
    """The same coordinates with another GTID or another content belong to another log."""
    with pytest.raises(PositionLost, match="another transaction") as raised:
        Overlap(checkpoint(LAST)).is_new(committed(other))
    assert raised.value.reason == "reset"


def test_a_log_that_ends_before_it_is_a_reset() -> None:
    """Nothing came, and nothing will: the transaction that is known has gone from the log."""
    with pytest.raises(PositionLost, match="the log ends before") as raised:
        Overlap(checkpoint(LAST)).at_log_end()
    assert raised.value.reason == "reset"


def test_at_a_first_start_everything_is_new() -> None:
    """There is nothing to recognise, and an empty log is no loss."""
    overlap = Overlap(checkpoint(None))
    overlap.at_log_end()
    assert overlap.is_new(committed(LAST))


def placed(number: int, offset: int = 200, file: str = "binlog.000002") -> Committed:
    """A transaction with this GTID that ends there."""
    return committed(Fingerprint(f"0-1-{number}", "x"))._replace(end=Position(file, offset))


def held(end: Position = END) -> Checkpoint:
    """Known up to 0-1-7, XA transactions held from before it."""
    return msgspec.structs.replace(checkpoint(LAST), end=end, held=Position("binlog.000001", 50))


def test_behind_a_held_xa_transaction_everything_is_known_until_the_known_one() -> None:
    """The stream begins further back; what was captured is skipped, the first unknown one is new."""
    overlap = Overlap(held())
    old = [placed(1, 9000, "binlog.000001"), placed(6, 199), committed(LAST)]
    assert [overlap.is_new(one) for one in [*old, placed(8, 300)]] == [False, False, False, True]


def test_without_gtids_the_place_tells_transactions_without_rows_apart() -> None:
    """Two ALTERs of one second look alike; behind a held XA transaction the first is not taken for the second."""
    alike = Fingerprint(None, "1700000000-00000000")
    known = msgspec.structs.replace(
        checkpoint(alike), end=Position("binlog.000002", 200), held=Position("x.000001", 50)
    )
    overlap = Overlap(known)
    first, between, second = (
        placed(0, place, "binlog.000002")._replace(fingerprint=fingerprint)
        for place, fingerprint in ((100, alike), (150, Fingerprint(None, "1700000000-12345678")), (200, alike))
    )
    assert [overlap.is_new(one) for one in (first, between, second)] == [False, False, False]
    assert overlap.is_new(between)


@pytest.mark.parametrize("end", [("binlog.000002", 200), ("binlog.000002", 201), ("binlog.000003", 5)])
def test_a_log_that_passes_the_known_transaction_without_it_is_a_reset(end: tuple[str, int]) -> None:
    """Another one ends there or behind: these are other coordinates of the same names."""
    overlap = Overlap(held())
    with pytest.raises(PositionLost, match="another transaction") as raised:
        overlap.is_new(placed(9, end[1], end[0]))
    assert raised.value.reason == "reset"


def test_on_another_server_gtids_say_what_was_captured() -> None:
    """Its files mean nothing: what the checkpoint holds is skipped, the first that it does not hold is a reset."""
    overlap = Overlap(held(Position("binlog.000002", 200, "0-1-7")), same_server=False)
    assert not overlap.is_new(placed(3, 9999, "binlog.000009"))
    with pytest.raises(PositionLost, match="another transaction"):
        overlap.is_new(placed(8, 5, "binlog.000001"))


# Who is there


@pytest.mark.parametrize(
    ("flavour", "identity", "start", "end", "words"),
    [
        ("mysql", "server-a", START, END, "a mariadb server, this is mysql"),
        ("mariadb", "server-b", START, END, "another server"),
        ("mariadb", "server-a", START, Position("binlog.000002", 99), "the log ends at"),
        ("mariadb", "server-a", START, Position("binlog.000001", 5000), "the log ends at"),
    ],
)
def test_coordinates_count_on_their_own_server_only(
    flavour: Flavour, identity: str, start: Position, end: Position, words: str
) -> None:
    """Another product, another server, or a log that is shorter than what we know: a reset."""
    server = Server(flavour, "1", identity, gtids=True, charsets={})
    with pytest.raises(PositionLost, match=words) as raised:
        _check_identity(checkpoint(LAST, start=start), server, end)
    assert raised.value.reason == "reset"


def test_gtids_are_good_on_any_server() -> None:
    """After a fail-over another server answers, with other files; the overlap proves the rest."""
    start = Position("binlog.000009", 100, "0-1-6")
    server = Server("mariadb", "1", "server-b", gtids=True, charsets={})
    _check_identity(checkpoint(LAST, start=start), server, Position("binlog.000001", 400))


# The thread's life


class Listener:
    """A reader over a database, its hand-off, and what it called."""

    def __init__(self, database: Database, checkpoint: Checkpoint) -> None:
        self.calls: list[str] = []
        self.handoff = Handoff(asyncio.get_running_loop())
        self.reader = Reader(
            database.origin("t"),
            checkpoint,
            self.handoff,
            lambda _: self.calls.append("connected"),
            lambda: self.calls.append("caught up"),
        )

    async def take(self, count: int) -> list[Committed]:
        """Transactions, each by itself or in runs, with that many rows."""
        taken: list[Committed] = []
        async with asyncio.timeout(10):
            while len(rows(taken)) < count:
                batch = await self.handoff.take()
                self.handoff.release(batch)
                taken += batch
        return taken

    def stop(self) -> None:
        """Turn the thread away and wake it."""
        self.handoff.close()
        self.reader.abort()


@pytest.fixture
async def listen() -> AsyncIterator[Callable[[Database, Checkpoint], Listener]]:
    """Starts readers in threads, and waits for their end."""
    loop = asyncio.get_running_loop()
    made: list[tuple[Listener, asyncio.Future[None]]] = []
    threads = ThreadPoolExecutor()

    def start(database: Database, checkpoint: Checkpoint) -> Listener:
        listener = Listener(database, checkpoint)
        made.append((listener, loop.run_in_executor(threads, listener.reader.run)))
        return listener

    yield start
    for listener, running in made:
        listener.stop()
        async with asyncio.timeout(10):
            await running
    threads.shutdown()


def beginning(database: Database) -> Checkpoint:
    """The log's present end, as at a first start."""
    with Control(database.arguments) as control:
        server = control.server()
        end = control.end(gtids=server.gtids)
    return Checkpoint(server.flavour, server.identity, end, end)


async def test_a_reader_that_has_nothing_to_read_is_caught_up_at_once(
    database: Database, listen: Callable[[Database, Checkpoint], Listener]
) -> None:
    """It does not wait for somebody to write, nor for the first heartbeat."""
    database.run("CREATE TABLE t (id INT)")
    listener = listen(database, beginning(database))
    await until(lambda: listener.calls[:2] == ["connected", "caught up"])


async def test_a_reader_goes_on_behind_what_is_known(
    database: Database, listen: Callable[[Database, Checkpoint], Listener]
) -> None:
    """From the checkpoint of the third of five transactions the other two come, once."""
    database.run("CREATE TABLE t (id INT)")
    first = beginning(database)
    database.run(*[f"INSERT INTO t VALUES ({n})" for n in (1, 2, 3)])
    known = (await listen(database, first).take(3))[-1]
    again = Checkpoint(first.flavour, first.server, known.start, known.end, known.fingerprint)
    database.run("INSERT INTO t VALUES (4)")
    listener = listen(database, again)
    database.run("INSERT INTO t VALUES (5)")
    assert rows(await listener.take(2)) == [{"id": 4}, {"id": 5}]


async def test_whatever_ends_a_reader_is_said(
    database: Database, listen: Callable[[Database, Checkpoint], Listener]
) -> None:
    """An error in the thread comes out at the other side of the hand-off."""
    database.run("CREATE TABLE t (id INT)")
    known = msgspec.structs.replace(
        beginning(database), flavour="mysql" if database.flavour == "mariadb" else "mariadb"
    )
    listener = listen(database, known)
    with pytest.raises(PositionLost):
        await listener.take(1)


async def test_what_another_server_never_had_is_a_reset_that_names_it(
    database: Database, listen: Callable[[Database, Checkpoint], Listener]
) -> None:
    """The last transaction may have survived a fail-over and an older one of another source not: MySQL's sets tell."""
    if database.flavour == "mariadb":
        pytest.skip("MariaDB's position does not tell what came before the newest of a domain")
    database.run("CREATE TABLE t (id INT)")
    first = beginning(database)
    database.run(*[f"INSERT INTO t VALUES ({n})" for n in (1, 2)])
    known = (await listen(database, first).take(2))[-1]
    lost = "11111111-2222-3333-4444-555555555555:1-3"
    start, end = (msgspec.structs.replace(place, gtid=f"{lost},{place.gtid}") for place in (known.start, known.end))
    listener = listen(database, Checkpoint(first.flavour, "the old primary", start, end, known.fingerprint))
    with pytest.raises(PositionLost, match=f"captured and not there: {lost}$"):
        await listener.take(1)
