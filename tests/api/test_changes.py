from __future__ import annotations

import asyncio
import json

import pytest

from api.changes import MAX_LIMIT, MAX_WAIT, Changes
from api.feed import Feed
from journal.texts import event_text
from journal.types import GAP
from tests.api.client import Connection, ask, request
from tests.api.events import changes
from tests.waiting import until

CHANNEL = "cctv_updates"


def rows(count, first=1, pad=""):
    return [json.dumps({"id": n, "cctv_id": n % 3, "pad": pad}).encode() for n in range(first, first + count)]


@pytest.fixture
def feed(journal):
    return Feed(journal)


async def get(server, **query):
    """A poll's answer."""
    answer = await ask(server.port, "GET", changes(**query))
    assert answer.status == 200, answer
    return answer.json


async def asking(server, feed, **query):
    """A poll that waits."""
    connection = await Connection.open(server.port)
    await connection.send(request("GET", changes(**query)))
    await until(lambda: feed._topics and all(topic.waiting for topic in feed._topics.values()))
    return connection


def offsets(answer):
    return [event["offset"] for event in answer["events"]]


async def test_a_first_question_tells_the_cursor(journal, feed, serve):
    """Without a cursor it begins now: nothing yet, and where to go on."""
    await journal.append(CHANNEL, rows(3))
    server = await serve(feed=feed)
    expected = {"channel": CHANNEL, "epoch": "k3f9", "next": "k3f9:3", "live": True, "gaps": [], "events": []}
    assert await get(server) == expected
    assert set(expected) == set(Changes.__struct_fields__)  # what the OpenAPI document describes
    assert (await ask(server.port, "GET", changes())).headers["cache-control"] == "no-store"


async def test_events_as_they_go_over_websocket(journal, feed, serve):
    """What there is comes at once, word for word."""
    events = await journal.append(CHANNEL, rows(2))
    server = await serve(feed=feed)
    answer = await ask(server.port, "GET", changes(after="k3f9:0", wait=60))
    assert b"[" + b",".join(map(event_text, events)) + b"]" in answer.body
    assert (answer.json["next"], answer.json["live"]) == ("k3f9:2", True)


async def test_page_by_page(journal, feed, serve):
    """``limit`` at a time, and ``live`` when that was all."""
    await journal.append(CHANNEL, rows(1200))
    server = await serve(feed=feed)
    cursor, seen, live = "0", [], False
    while not live:
        answer = await get(server, after=cursor, limit=170)
        assert len(answer["events"]) <= 170
        seen += offsets(answer)
        cursor, live = answer["next"], answer["live"]
    assert seen == list(range(1, 1201))
    assert cursor == "k3f9:1200"
    assert offsets(await get(server, after="0", limit=1000)) == list(range(1, 1001))
    assert len(offsets(await get(server, after="0"))) == 100
    assert offsets(await get(server, last=2)) == [1199, 1200]


async def test_an_answer_is_bounded(journal, feed, serve):
    """By bytes too."""
    await journal.append(CHANNEL, rows(1000, pad="x" * 4000))
    server = await serve(feed=feed)
    answer = await ask(server.port, "GET", changes(after="0", limit=1000))
    assert 256 * 1024 <= len(answer.body) < 400 * 1024
    assert offsets(answer.json)[-1] == int(answer.json["next"].partition(":")[2])


async def test_it_waits_for_the_next_event(journal, feed, serve):
    """Nothing there: the answer comes when something does."""
    server = await serve(feed=feed)
    async with await asking(server, feed, wait=60) as connection:
        await journal.append(CHANNEL, rows(1))
        answer = (await connection.answer()).json
    assert (offsets(answer), answer["next"], answer["live"]) == ([1], "k3f9:1", True)


async def test_it_waits_for_what_passes(journal, feed, serve):
    """An event that the filter hides is no answer, and need not be looked at again."""
    server = await serve(feed=feed)
    async with await asking(server, feed, wait=60, where={"cctv_id": 2}) as connection:
        await journal.append(CHANNEL, rows(1))
        await until(lambda: feed.stats.pages == 1)
        await journal.append(CHANNEL, rows(3, 2))
        answer = (await connection.answer()).json
    assert offsets(answer) == [2]
    assert answer["next"] == "k3f9:4"


async def test_time_is_over(journal, feed, serve):
    """Nothing came: an answer without events, and how far it has looked."""
    await journal.append(CHANNEL, rows(1))
    server = await serve(feed=feed)
    answer = await get(server, after="k3f9:0", where={"cctv_id": 5}, wait=1)
    assert (answer["events"], answer["next"], answer["live"]) == ([], "k3f9:1", True)


async def test_a_limit_in_the_middle_of_what_passes(journal, feed, serve):
    """The cursor stands behind the last event told, not behind those that were looked at."""
    await journal.append(CHANNEL, rows(30))
    server = await serve(feed=feed)
    seen, cursor = [], "0"
    for _ in range(5):
        answer = await get(server, after=cursor, limit=2, where={"cctv_id": 1})
        seen += offsets(answer)
        cursor = answer["next"]
    assert seen == list(range(1, 30, 3))
    assert cursor == "k3f9:30"


async def test_gaps_stand_beside_the_events(journal, feed, serve):
    """Those of the beginning and those of the source, each with the offsets around it, and they are an answer."""
    await journal.append(CHANNEL, rows(3))
    await journal.append(CHANNEL, [*rows(1, 4)])
    await journal.append(CHANNEL, [b'{"reason":"purged"}'], GAP)
    await journal.append(CHANNEL, rows(1, 6))
    await journal.trim(CHANNEL, 4)
    server = await serve(feed=feed)
    answer = await get(server, after="k3f9:1", wait=60)
    assert offsets(answer) == [4, 6]
    kinds = [(gap["after"], gap["before"], gap["reason"]) for gap in answer["gaps"]]
    assert kinds == [(1, 4, "retention"), (4, 6, "purged")]
    answer = await get(server, after="m2aa:9", wait=60)
    assert [gap["reason"] for gap in answer["gaps"]] == ["epoch", "purged"]
    answer = await get(server, after="k3f9:4", wait=60, limit=1)
    assert ([gap["before"] for gap in answer["gaps"]], answer["events"], answer["next"]) == ([6], [], "k3f9:5")


@pytest.mark.parametrize("believed", [True, False])
async def test_a_client_that_is_ahead(journal, serve, believed):
    """Either another epoch begins, and it is to ask again, or it is told of a gap."""
    await journal.append(CHANNEL, rows(2))
    asked = []
    server = await serve(feed=Feed(journal, ahead=lambda *claim: asked.append(claim) or believed))
    answer = await ask(server.port, "GET", changes(after="k3f9:7"))
    assert asked == [(CHANNEL, 7)]
    if believed:
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    else:
        assert [gap["reason"] for gap in answer.json["gaps"]] == ["epoch"]
        assert answer.json["next"] == "k3f9:2"


async def test_a_new_epoch_ends_the_wait(journal, feed, serve):
    """Its rows are not told under the old name."""
    server = await serve(feed=feed)
    async with await asking(server, feed, wait=60) as connection:
        journal.epoch = "m2aa"
        await journal.append(CHANNEL, rows(1))
        answer = (await connection.answer()).json
    assert (answer["events"], answer["next"], answer["live"]) == ([], "k3f9:0", False)
    assert (await get(server, after=answer["next"]))["gaps"][0]["reason"] == "epoch"


async def test_who_leaves_is_not_waited_for(journal, feed, serve):
    """A script that was ended takes nobody's room."""
    server = await serve(feed=feed)
    async with await asking(server, feed, wait=60):
        assert feed.stats.polls == 1
    await until(lambda: feed.stats.polls == 0)


@pytest.mark.parametrize(
    ("query", "about"),
    [
        ({"limit": 0}, f"limit: expected a number from 1 to {MAX_LIMIT}"),
        ({"limit": 1001}, f"limit: expected a number from 1 to {MAX_LIMIT}"),
        ({"limit": "ten"}, f"limit: expected a number from 1 to {MAX_LIMIT}"),
        ({"wait": 61}, f"wait: expected a number from 0 to {MAX_WAIT}"),
        ({"wait": "-1"}, f"wait: expected a number from 0 to {MAX_WAIT}"),
        ({"wait": "1e9"}, f"wait: expected a number from 0 to {MAX_WAIT}"),
    ],
)
async def test_numbers_have_bounds(journal, feed, serve, query, about):
    """Told, not cut down in silence."""
    server = await serve(feed=feed)
    answer = await ask(server.port, "GET", changes(**query))
    assert (answer.status, answer.json["error"]) == (400, about)


async def test_many_wait_for_one_row(journal, feed, serve):
    """One look at the journal for all of them."""
    server = await serve(feed=feed)
    crowd = [await asking(server, feed, wait=60) for _ in range(30)]
    await until(lambda: feed.stats.polls == 30)
    reads = journal.reads
    await journal.append(CHANNEL, rows(1))
    assert [offsets((await connection.answer()).json) for connection in crowd] == [[1]] * 30
    assert journal.reads - reads == 1
    for connection in crowd:
        connection.writer.transport.abort()
    await asyncio.sleep(0)


async def test_whoever_is_woken_for_what_it_has_waits_on(journal, feed, serve, monkeypatch):
    """The look-out waits behind the offset of the first; one who knows the next row already is woken with it."""
    look, noticed = journal.arrival, asyncio.Event()

    async def late(channel, after):
        await look(channel, after)
        await noticed.wait()

    monkeypatch.setattr(journal, "arrival", late)
    server = await serve(feed=feed)
    async with await asking(server, feed, after="k3f9:0", wait=20) as first:
        await journal.append(CHANNEL, rows(1))
        async with await Connection.open(server.port) as second:
            await second.send(request("GET", changes(after="k3f9:1", wait=20)))
            await until(lambda: len(feed._topics[CHANNEL].waiting) == 2)
            noticed.set()
            assert offsets((await first.answer()).json) == [1]
            await until(lambda: feed._topics[CHANNEL].waiting)
            await journal.append(CHANNEL, rows(1, 2))
            assert offsets((await second.answer()).json) == [2]


async def test_a_script_is_sent_away_while_the_server_stops(feed, serve):
    """With a time to come back: answered at once and with nothing, it would ask without a pause."""
    server = await serve(feed=feed)
    feed.close()
    answer = await ask(server.port, "GET", changes(wait=20))
    assert answer.status == 503
    assert answer.headers["retry-after"]


async def test_nobody_looks_out_for_nobody(feed, serve):
    """When the last who waited has gone, the journal is not asked any more."""
    server = await serve(feed=feed)
    async with await asking(server, feed, wait=20):
        lookout = feed._topics[CHANNEL].lookout
        assert not lookout.done()
    await until(lookout.done)
    assert feed._topics[CHANNEL].lookout is None
