"""The whole of it: real HTTP over real sockets into a real database."""

from __future__ import annotations

import asyncio
import json
import logging
import time

import pytest

from api import writer as writing
from api.table import Address, ResultTable
from api.writer import ResultWriter
from tests.api.client import URL, Connection, ask, post, request, result
from tests.api.conftest import PASSWORD
from tests.faults.proxy import CuttingProxy
from tests.waiting import until

SAVE_FAILED = "Failed to save scraped result"


async def test_a_posted_result_is_the_row_with_its_id(make_writer, serve, stored):
    """The answer's id is the key of the row, and the row holds what was posted, in UTC."""
    server = await serve(results=await make_writer())
    body = result({"price": 9.5, "n": 12345678901234567890123}, timestamp="2026-11-23T10:19:33.999+02:00")
    answer = await post(server.port, body)
    assert (answer.status, answer.json["message"]) == (201, "Scraped result saved")
    assert stored() == [
        [
            str(answer.json["id"]),
            "shop",
            '{"price": 9.5, "n": 12345678901234567890123}',
            URL,
            "2026-11-23 08:19:33.999",
        ]
    ]


async def test_64_connections_get_64_ids_in_few_commits(make_writer, serve, stored):
    """Posts at the same time share commits, and each is answered with its own row."""
    writer = await make_writer()
    server = await serve(results=writer)
    accounts = [f"a{number}" for number in range(64)]
    answers = await asyncio.gather(*(post(server.port, result(account=account)) for account in accounts))
    ids = {str(answer.json["id"]): account for answer, account in zip(answers, accounts, strict=True)}
    assert len(ids) == 64
    assert dict(stored("id, account")) == ids
    assert writer.stats.groups < 32


async def test_one_connection_can_post_many_times(make_writer, serve, stored):
    """Connections are kept."""
    server = await serve(results=await make_writer())
    async with await Connection.open(server.port) as connection:
        for number in range(20):
            await connection.send(
                request("POST", "/api/scraped-result", result(number), content_type="application/json")
            )
            assert (await connection.answer()).status == 201
    assert [data for (data,) in stored("data")] == [str(number) for number in range(20)]


async def test_a_batch_is_all_or_nothing(make_writer, serve, stored):
    """Good items are stored together; a bad one is named by its index, and nothing of its batch is stored."""
    server = await serve(results=await make_writer())
    good, bad = result(account="good"), result(account="x" * 300)
    answer = await post(server.port, b"[" + good + b"," + good + b"]", "/api/scraped-results")
    assert (answer.status, [str(one) for one in answer.json["ids"]]) == (201, [one for (one,) in stored("id")])
    lines = good + b"\n" + bad
    answer = await post(server.port, lines, "/api/scraped-results", content_type="application/x-ndjson")
    assert answer.status == 422
    assert [(error["index"], error["path"]) for error in answer.json["errors"]] == [(1, "$.account")]
    assert len(stored("id")) == 2


async def test_what_only_the_database_knows_is_422_with_its_reason(mariadb, address, make_writer, serve):
    """A constraint that was added to the table is the client's to know."""
    mariadb.sql("ALTER TABLE scraped_result ADD CONSTRAINT short CHECK (LENGTH(url) < 40)", address.database)
    server = await serve(results=await make_writer())
    answer = await post(server.port, result(url="u" * 50))
    assert (answer.status, answer.json["error"]) == (422, SAVE_FAILED)
    assert "short" in answer.json["reason"]


async def test_sql_in_every_field_is_only_text(make_writer, serve, stored):
    """Nothing that is posted is ever a statement."""
    server = await serve(results=await make_writer())
    evil = "'); DROP TABLE scraped_result; -- \\' \" %s %(x)s"
    assert (await post(server.port, result({evil: evil}, account=evil, url=evil))).status == 201
    ((account, data, url),) = stored("HEX(account), HEX(data), HEX(url)")
    assert bytes.fromhex(account).decode() == bytes.fromhex(url).decode() == evil
    assert json.loads(bytes.fromhex(data)) == {evil: evil}


async def test_a_cut_at_the_commit_is_503_without_retry_after(mariadb, make_writer, serve, stored):
    """The outcome is said to be unknown; nothing invites a client to repeat it, and nothing here does."""
    with CuttingProxy(mariadb.port) as proxy:
        server = await serve(results=await make_writer(proxy.port))
        proxy.cut_before_answer_to(b"COMMIT")
        answer = await post(server.port, result(account="once"))
        assert (answer.status, answer.json["error"], answer.json["outcome"]) == (503, SAVE_FAILED, "unknown")
        assert "retry-after" not in answer.headers
    assert stored("account") == [["once"]]


async def test_a_database_that_is_away_is_503_with_retry_after(mariadb, make_writer, serve):
    """Every request is answered at once while it is away; after its return they succeed by themselves."""
    with CuttingProxy(mariadb.port) as proxy:
        writer = await make_writer(proxy.port)
        server = await serve(results=writer)
        assert (await post(server.port, result())).status == 201
        proxy.refusing = True
        proxy.cut()
        started = time.monotonic()
        answers = await asyncio.gather(*(post(server.port, result()) for _ in range(20)))
        assert time.monotonic() - started < 5
        for answer in answers:
            assert (answer.status, answer.json["error"]) == (503, SAVE_FAILED)
            assert (answer.headers["retry-after"], answer.json["outcome"]) == ("1", "not_saved")
        proxy.refusing = False
        await until(lambda: writer.error is None)
        assert (await post(server.port, result())).status == 201


async def test_no_request_hangs_on_a_dead_link(mariadb, make_writer, serve, stored):
    """On a link that swallows everything each request is answered by its deadline."""
    with CuttingProxy(mariadb.port) as proxy:
        writer = await make_writer(proxy.port, io_timeout=1.5, deadline=0.5)
        server = await serve(results=writer)
        proxy.pause()
        started = time.monotonic()
        answers = await asyncio.gather(*(post(server.port, result()) for _ in range(20)))
        assert time.monotonic() - started < 4
        assert {(answer.status, answer.json["error"]) for answer in answers} == {(503, SAVE_FAILED)}
        await until(lambda: writer.error is not None)
        assert (await ask(server.port, "GET", "/healthz")).status == 200
    assert stored() == []


async def test_the_password_is_nowhere(mariadb, address, serve, caplog, monkeypatch):
    """No log line, error or page shows the password, the keys, or where the database is."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(writing, "BACK_OFF", (0.01,))
    key = "k3y-of-a-client"
    with CuttingProxy(mariadb.port) as proxy:
        writer = ResultWriter(ResultTable(Address(**{**vars(address), "port": proxy.port})))
        await writer.start()
        server = await serve(
            results=writer, keys=[key], readiness=lambda: (writer.error is None, {"writer": writer.error})
        )
        good, bad = {"authorization": f"Bearer {key}"}, {"authorization": "Bearer wr0ng-k3y"}
        seen = [await post(server.port, result(), **headers) for headers in (good, bad)]
        mariadb.sql(f"ALTER USER '{address.user}'@'%' IDENTIFIED BY 'another'")
        proxy.cut()
        seen += [await post(server.port, result(), **good) for _ in range(3)]
        await until(lambda: "Access denied" in caplog.text)
        for path in ("/readyz", "/", "/metrics", "/openapi.json", "/api/channels", "/nothing"):
            seen.append(await ask(server.port, "GET", path))
        await writer.close()
    texts = [caplog.text, *(answer.body.decode() + str(answer.headers) for answer in seen)]
    for text in texts:
        assert PASSWORD not in text
        assert key not in text
        assert "wr0ng" not in text
    for text in texts[1:]:
        assert address.user not in text
        assert str(proxy.port) not in text


@pytest.mark.parametrize("depth", [31, 32, 100_000])
async def test_brackets_end_in_an_answer(make_writer, serve, depth):
    """As deep as the database takes is saved; deeper is 422, however deep."""
    server = await serve(results=await make_writer())
    body = result().replace(b"null", b"[" * depth + b"]" * depth)
    answer = await post(server.port, body)
    assert answer.status == (201 if depth == 31 else 422)
