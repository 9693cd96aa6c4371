from __future__ import annotations

import asyncio
import logging
import time

import pytest

from api import writer as module
from api.errors import BatchRefused, DatabaseAway, DeadlinePassed, OutcomeUnknown, QueueFull, RowRefused, SaveFailed
from api.rows import Row
from api.writer import ResultWriter
from tests.api.conftest import PASSWORD
from tests.api.stubs import GatedTable
from tests.faults.proxy import CuttingProxy
from tests.waiting import until


def row(account="1", data="1"):
    return Row(account, data, "u", "2026-11-23 08:19:33.999")


def commits(server):
    return int(server.sql("SHOW GLOBAL STATUS LIKE 'Com_commit'").split("\t")[1])


@pytest.fixture
async def gated():
    """A running writer over a table that waits: the pair of both."""
    made = []

    async def _make(**settings):
        table = GatedTable()
        writer = ResultWriter(table, **settings)
        await writer.start()
        made.append((writer, table))
        return writer, table

    yield _make
    for writer, table in made:
        table.gate.set()
        await writer.close()


async def begin(writer, *accounts):
    """Save rows at once, each in a task of its own; return when all of them are in the queue or taken."""
    tasks = [asyncio.create_task(writer.save(row(account))) for account in accounts]
    await asyncio.sleep(0)
    return tasks


# -- groups ------------------------------------------------------------------------------------------------------------


async def test_concurrent_rows_get_their_own_ids_in_few_commits(mariadb, make_writer, stored):
    """64 at once: 64 ids, each that of its row in the table, in far fewer commits than rows."""
    writer = await make_writer()
    before = commits(mariadb)
    accounts = [f"a{number}" for number in range(64)]
    ids = await asyncio.gather(*(writer.save(row(account)) for account in accounts))
    assert [[str(one), account] for one, account in sorted(zip(ids, accounts, strict=True))] == (stored("id, account"))
    assert commits(mariadb) - before == writer.stats.groups <= 4
    assert writer.stats.rows == 64


async def test_what_comes_while_a_group_is_saved_is_the_next_group(gated):
    """A single row goes out at once, and everything that waits for it goes out together, in order."""
    writer, table = await gated()
    tasks = await begin(writer, "1")
    await until(lambda: table.groups)
    tasks += await begin(writer, *(str(number) for number in range(2, 50)))
    assert writer.queued == 48
    table.gate.set()
    assert await asyncio.gather(*tasks) == list(range(1, 50))
    assert [len(group) for group in table.groups] == [1, 48]
    assert table.groups[1] == [str(number) for number in range(2, 50)]
    assert writer.queued == 0


async def test_a_group_is_bounded_in_rows_and_bytes(gated, monkeypatch):
    """However many rows wait, a statement stays of reasonable size."""
    monkeypatch.setattr(module, "GROUP_ROWS", 10)
    monkeypatch.setattr(module, "GROUP_BYTES", 1000)
    writer, table = await gated()
    tasks = await begin(writer, "1")
    await until(lambda: table.groups)
    tasks += await begin(writer, *("2" for _ in range(25)))
    tasks += [asyncio.create_task(writer.save(row("3", "x" * 600))) for _ in range(4)]
    await asyncio.sleep(0)
    table.gate.set()
    await asyncio.gather(*tasks)
    assert [len(group) for group in table.groups] == [1, 10, 10, 7, 2]


async def test_a_batch_is_never_mixed_with_others(gated):
    """A batch is a transaction of its own; rows before and after it keep their places."""
    writer, table = await gated()
    tasks = await begin(writer, "1")
    await until(lambda: table.groups)
    tasks += await begin(writer, "2", "3")
    tasks.append(asyncio.create_task(writer.save_all([row("4"), row("5")])))
    tasks.append(asyncio.create_task(writer.save_all([row("6")])))
    await asyncio.sleep(0)
    tasks += await begin(writer, "7")
    table.gate.set()
    assert await asyncio.gather(*tasks) == [1, 2, 3, [4, 5], [6], 7]
    assert table.groups == [["1"], ["2", "3"], ["4", "5"], ["6"], ["7"]]
    assert (writer.stats.rows, writer.stats.groups) == (7, 5)


async def test_a_bad_row_fails_alone(make_writer, stored):
    """In a group of many, one refused row is answered with its refusal, and all others are saved."""
    writer = await make_writer()
    accounts = ["a", "x" * 300, "b"]
    first, refused, second = await asyncio.gather(
        *(writer.save(row(account)) for account in accounts), return_exceptions=True
    )
    assert isinstance(refused, RowRefused)
    assert stored("id, account") == [[str(first), "a"], [str(second), "b"]]
    assert (writer.stats.rows, writer.stats.failed) == (2, 1)
    assert writer.error is None


async def test_a_refused_batch_leaves_the_writer_working(make_writer, stored):
    """All or nothing, and the next one is saved."""
    writer = await make_writer()
    with pytest.raises(BatchRefused):
        await writer.save_all([row("a"), row("x" * 300)])
    assert writer.error is None
    assert len(await writer.save_all([row("b"), row("c")])) == 2
    assert [account for (account,) in stored("account")] == ["b", "c"]


# -- bounds ------------------------------------------------------------------------------------------------------------


async def test_a_full_queue_refuses(gated):
    """Rows and bytes that wait are bounded; a row that finds no room is refused at once and not saved."""
    writer, table = await gated(max_rows=3, max_bytes=1000)
    tasks = await begin(writer, "1")
    await until(lambda: table.groups)
    tasks += await begin(writer, "2", "3")
    with pytest.raises(QueueFull):
        await writer.save(row("9", "x" * 1000))
    tasks += await begin(writer, "4")
    with pytest.raises(QueueFull):
        await writer.save(row("9"))
    with pytest.raises(QueueFull):
        await writer.save_all([row("9")])
    table.gate.set()
    await asyncio.gather(*tasks)
    assert table.groups == [["1"], ["2", "3", "4"]]


async def test_a_batch_larger_than_the_queue_is_taken_when_nothing_waits(gated):
    """Its size is bounded elsewhere; the queue's bound is about what waits."""
    writer, table = await gated(max_rows=3)
    table.gate.set()
    assert await writer.save_all([row(str(number)) for number in range(10)]) == list(range(10))


async def test_a_row_that_waits_too_long_is_withdrawn(gated):
    """At its deadline a row still in the queue is certainly not saved, then or later, and makes room."""
    writer, table = await gated(deadline=0.2, max_rows=1)
    taken = (await begin(writer, "1"))[0]
    await until(lambda: table.groups)
    with pytest.raises(DeadlinePassed):
        await writer.save(row("2"))
    assert writer.queued == 0
    waiting = (await begin(writer, "3"))[0]
    table.gate.set()
    assert await waiting == 3
    assert table.groups == [["1"], ["3"]]
    assert isinstance(taken.exception(), OutcomeUnknown)


async def test_a_row_whose_time_is_up_is_in_no_group_that_begins_then(gated):
    """A group that ends in the same turn of the loop takes the next one before the request has woken."""
    writer, table = await gated()
    taken = (await begin(writer, "1"))[0]
    await until(lambda: table.groups)
    late = (await begin(writer, "2"))[0]
    writer._unanswered[1].due = writer._unanswered[0].due = 0.0
    taken.cancel()
    table.gate.set()
    writer._look()
    with pytest.raises(DeadlinePassed):
        await late
    assert await writer.save(row("3")) == 3
    assert table.groups == [["1"], ["3"]]


async def test_each_row_has_its_own_deadline(gated):
    """Whoever comes later waits later; those that were answered meanwhile are not remembered."""
    writer, table = await gated(deadline=0.3)
    loop = asyncio.get_running_loop()
    table.gate.set()
    for _ in range(20):
        await writer.save(row("1"))
    assert len(writer._unanswered) == 1
    table.gate.clear()
    tasks = await begin(writer, "2")
    await until(lambda: len(table.groups) == 21)
    began = loop.time()
    while loop.time() < began + 0.1:
        await asyncio.sleep(0.01)
    came = loop.time()
    tasks += await begin(writer, "3")
    with pytest.raises(DeadlinePassed):
        await tasks[1]
    assert loop.time() >= came + 0.3
    assert isinstance(tasks[0].exception(), OutcomeUnknown)


async def test_a_client_that_is_gone_is_withdrawn(gated):
    """A cancelled save that is still in the queue is not saved."""
    writer, table = await gated()
    tasks = await begin(writer, "1")
    await until(lambda: table.groups)
    (gone,) = await begin(writer, "2")
    gone.cancel()
    tasks += await begin(writer, "3")
    table.gate.set()
    assert await asyncio.gather(*tasks) == [1, 3]
    assert table.groups == [["1"], ["3"]]
    assert writer.queued == 0


async def test_closing_saves_what_waits_and_takes_nothing_new(gated):
    """The queue is saved to its end, and whoever comes later is sent away."""
    writer, table = await gated()
    tasks = await begin(writer, "1", "2")
    await until(lambda: table.groups)
    tasks += await begin(writer, "3")
    closing = asyncio.create_task(writer.close(10))
    await asyncio.sleep(0)
    with pytest.raises(DatabaseAway, match="shutting down"):
        await writer.save(row("4"))
    table.gate.set()
    await closing
    assert await asyncio.gather(*tasks) == [1, 2, 3]


async def test_closing_has_a_deadline(gated):
    """A database that does not answer does not hold up the end; each request learns what is certain."""
    writer, table = await gated()
    tasks = await begin(writer, "1")
    await until(lambda: table.groups)
    tasks += await begin(writer, "2")
    started = time.monotonic()
    await writer.close(0.1)
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert time.monotonic() - started < 5
    assert [type(answer) for answer in answers] == [OutcomeUnknown, DatabaseAway]


async def test_a_bug_in_the_check_is_not_the_end(gated, monkeypatch):
    """An error that nobody foresaw while trying the database is one more reason to try again."""
    monkeypatch.setattr(module, "IDLE_CHECK", 0.01)
    writer, table = await gated()
    table.away = ValueError("unforeseen")
    await until(lambda: writer.error == "internal error")
    table.away = None
    await until(lambda: writer.error is None)


async def test_a_bug_is_not_the_end(gated, caplog):
    """An error that nobody foresaw fails its group with an unknown outcome, is logged, and the next group is saved."""
    writer, table = await gated()
    table.gate.set()
    table.bug = ValueError("unforeseen")
    with pytest.raises(OutcomeUnknown):
        await writer.save(row("1"))
    assert "unforeseen" in caplog.text
    table.bug = None
    await until(lambda: writer.error is None)
    assert await writer.save(row("2")) == 2


# -- faults ------------------------------------------------------------------------------------------------------------


async def test_a_database_that_is_away_at_the_start_is_waited_for(mariadb, make_writer, address, caplog):
    """The start succeeds, saves fail soon with the reason, and the first row after its return is saved."""
    caplog.set_level(logging.INFO)
    with CuttingProxy(mariadb.port) as proxy:
        proxy.refusing = True
        writer = await make_writer(proxy.port)
        assert writer.error is not None
        started = time.monotonic()
        with pytest.raises(DatabaseAway) as caught:
            await writer.save(row())
        assert time.monotonic() - started < 3
        assert caught.value.headers["Retry-After"] == "1"
        proxy.refusing = False
        await until(lambda: writer.error is None)
        assert await writer.save(row()) == 1
    assert PASSWORD not in caplog.text
    assert address.user in caplog.text or "Lost connection" in caplog.text


async def test_it_does_not_hammer_a_database_that_is_away(gated, monkeypatch, caplog):
    """Attempts come at growing intervals up to a second, and the log has one line for all of them."""
    monkeypatch.setattr(module, "IDLE_CHECK", 0.01)
    _, table = await gated()
    table.away = DatabaseAway("gone")
    started = time.monotonic()
    await until(lambda: table.checks == 1 + 1 + 5)  # the start's, the idle one's, and five attempts
    assert time.monotonic() - started >= sum(module.BACK_OFF[1:6]) - 0.1
    assert sum("cannot be saved" in record.message for record in caplog.records) == 1


async def test_what_waits_is_told_when_the_database_goes_away(gated):
    """Rows behind a group that found no database do not wait for their deadline."""
    writer, table = await gated()
    tasks = await begin(writer, "1")
    await until(lambda: table.groups)
    tasks += await begin(writer, "2", "3")
    table.away = DatabaseAway("gone")
    table.gate.set()
    async with asyncio.timeout(5):
        answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [DatabaseAway] * 3
    assert table.groups == [["1"]]
    assert (writer.stats.failed, writer.queued) == (3, 0)


async def test_a_link_cut_at_the_commit_is_unknown(mariadb, make_writer, stored):
    """The group whose commit was not answered is told so; what waited behind it is saved, once."""
    with CuttingProxy(mariadb.port) as proxy:
        writer = await make_writer(proxy.port)
        proxy.cut_before_answer_to(b"COMMIT")
        (first,) = await begin(writer, "first")
        await until(lambda: writer.queued == 0)
        behind = await begin(writer, "behind1", "behind2")
        with pytest.raises(OutcomeUnknown):
            await first
        assert len(set(await asyncio.gather(*behind))) == 2
    assert [account for (account,) in stored("account")] == ["first", "behind1", "behind2"]
    assert (writer.stats.rows, writer.stats.unknown) == (2, 1)


async def test_many_cuts_under_load_repeat_nothing(mariadb, make_writer, stored):
    """Whatever was answered with an id is there under it, once; whatever was refused for certain is not there."""
    with CuttingProxy(mariadb.port) as proxy:
        writer = await make_writer(proxy.port)
        saved, refused, unknown = {}, set(), set()

        async def insert(worker):
            for number in range(40):
                account = f"{worker}-{number}"
                try:
                    saved[account] = await writer.save(row(account))
                except OutcomeUnknown:
                    unknown.add(account)
                except SaveFailed:
                    refused.add(account)
                    await until(lambda: writer.error is None)

        async def cut():
            for number in range(12):
                rows = writer.stats.rows
                await until(lambda rows=rows: writer.stats.rows > rows or writer.error is not None)
                if number % 3 == 0:
                    proxy.cut_before_answer_to(b"COMMIT")
                else:
                    proxy.cut()

        await asyncio.gather(cut(), *(insert(worker) for worker in range(16)))
    got = stored("account, id")
    assert len(got) == len({account for account, _ in got})
    in_table = {account: int(one) for account, one in got}
    assert {account: in_table.get(account) for account in saved} == saved
    assert not refused & set(in_table)
    assert set(in_table) <= set(saved) | unknown
    assert len(saved) + len(refused) + len(unknown) == 640


async def test_a_black_hole_hangs_nobody(mariadb, make_writer, stored):
    """On a link that swallows everything each save ends by its deadline; afterwards rows are saved again."""
    with CuttingProxy(mariadb.port) as proxy:
        writer = await make_writer(proxy.port, io_timeout=1.5, deadline=0.5)
        proxy.pause()
        started = time.monotonic()
        first = (await begin(writer, "first"))[0]
        await until(lambda: writer.queued == 0)
        answers = await asyncio.gather(first, *(await begin(writer, "second", "third")), return_exceptions=True)
        assert time.monotonic() - started < 3
        assert isinstance(answers[0], OutcomeUnknown)
        assert [type(answer) for answer in answers[1:]] == [DeadlinePassed, DeadlinePassed]
        await until(lambda: writer.error is not None)
        proxy.resume()
        await until(lambda: writer.error is None)
        assert isinstance(await writer.save(row("later")), int)
    assert [account for (account,) in stored("account")] == ["later"]


async def test_a_restart_of_the_database_is_survived(make_server, make_writer):
    """While the server is down saves fail at once; after it is back they succeed without anybody's help."""
    from tests.api.conftest import make_database  # the database has to be on a server of the test's own

    server = make_server()
    address = make_database(server)
    writer = ResultWriter(module.ResultTable(address))
    await writer.start()
    try:
        await writer.save(row("before"))
        server.kill()
        with pytest.raises(SaveFailed):
            await writer.save(row("meanwhile"))
        await asyncio.to_thread(server.start)
        await until(lambda: writer.error is None)
        await writer.save(row("after"))
    finally:
        await writer.close()
    assert server.sql("SELECT account FROM scraped_result ORDER BY id", address.database) == "before\nafter"


async def test_an_idle_writer_notices_that_the_database_is_gone(mariadb, make_writer, monkeypatch):
    """Without any request the connection is tried now and then, so that readiness tells the truth."""
    monkeypatch.setattr(module, "IDLE_CHECK", 0.05)
    with CuttingProxy(mariadb.port) as proxy:
        writer = await make_writer(proxy.port)
        assert writer.error is None
        proxy.refusing = True
        proxy.cut()
        await until(lambda: writer.error is not None)
        proxy.refusing = False
        await until(lambda: writer.error is None)
