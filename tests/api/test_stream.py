from __future__ import annotations

import asyncio
import json
import random
import socket

import pytest

import api.server
from api.feed import Feed
from api.stream import NO_ROOM_MS
from journal.errors import JournalError
from journal.filter import Filters
from journal.shared import PAGE_EVENTS
from journal.texts import RECONNECT_MS, event_text
from journal.types import GAP, UPDATE, Change, Transaction
from tests.api.client import Connection, ask, request
from tests.api.events import Events, Sent, changes, stream
from tests.waiting import until

CHANNEL = "cctv_updates"


def rows(count, first=1, pad=""):
    return [json.dumps({"id": n, "cctv_id": n % 3, "pad": pad}).encode() for n in range(first, first + count)]


def names(events):
    return [event.name for event in events]


@pytest.fixture
def feed(journal):
    return Feed(journal)


async def test_a_row_comes_as_it_goes_over_websocket(journal, feed, serve):
    """First where it begins, then that it is live, then each row word for word, its cursor as id."""
    await journal.append(CHANNEL, rows(2))
    server = await serve(feed=feed)
    async with await Events.open(server.port, stream()) as events:
        assert events.answer.headers["content-type"] == "text/event-stream"
        assert events.answer.headers["cache-control"] == "no-store"
        told = {"type": "subscribed", "subscription": CHANNEL, "epoch": "k3f9", "offset": 2, "recovered": True}
        assert await events.take() == Sent("subscribed", json.dumps(told, separators=(",", ":")), "k3f9:2")
        assert RECONNECT_MS[0] <= events.retry <= RECONNECT_MS[1]
        live = await events.take()
        assert (live.name, live.json, live.id) == (
            "live",
            {"type": "live", "subscription": CHANNEL, "offset": 2},
            "k3f9:2",
        )
        (event,) = await journal.append(CHANNEL, rows(1, 3))
        assert await events.take() == Sent("message", event_text(event).decode(), "k3f9:3")
        await journal.append("scraped_updates", rows(1))  # of another channel: not here
        (event,) = await journal.append(CHANNEL, [b'{"id":3}'], UPDATE)
        assert (await events.take()).id == "k3f9:4"
    await until(lambda: feed.stats.streams == 0)


@pytest.mark.parametrize(
    ("query", "resumed", "expected"),
    [
        ({"after": "0"}, None, 5),
        ({"after": "k3f9:3"}, None, 2),
        ({"after": "k3f9:5"}, None, 0),
        ({"last": 2}, None, 2),
        ({"last": 9}, None, 5),
        ({}, "k3f9:3", 2),
        ({"last": 5}, "k3f9:4", 1),
        ({"after": "0"}, "k3f9:4", 1),
        ({"last": 1}, "", 1),
    ],
)
async def test_where_it_begins(journal, serve, query, resumed, expected):
    """Behind a cursor, with the newest, with everything; a browser that comes back says more than its address."""
    await journal.append(CHANNEL, rows(5))
    server = await serve(feed=Feed(journal))
    headers = {} if resumed is None else {"last_event_id": resumed}
    async with await Events.open(server.port, stream(**query), **headers) as events:
        seen = await events.take_until("live")
        assert [event.json["offset"] for event in seen[1:-1]] == list(range(6 - expected, 6))
        assert seen[0].json["offset"] == 5 - expected
        assert seen[-1].id == "k3f9:5"


async def test_only_what_passes_the_filter(journal, feed, serve):
    """The same filters as over WebSocket, replayed and live; ids are the rows' own."""
    await journal.append(CHANNEL, rows(9))
    server = await serve(feed=feed)
    where = {"cctv_id": [1, 2], "id": {"gt": 3}}
    async with await Events.open(server.port, stream(after="0", where=where)) as events:
        seen = await events.take_until("live")
        assert [event.id for event in seen[1:]] == ["k3f9:4", "k3f9:5", "k3f9:7", "k3f9:8", "k3f9:9"]
        await journal.append(CHANNEL, rows(3, 10))
        assert await events.offsets(2) == [10, 11]


async def test_a_filter_that_hides_everything_still_moves_the_cursor(journal, serve):
    """With the heartbeat it is told how far it has come, so that nobody has to look through it all again."""
    server = await serve(feed=Feed(journal, heartbeat=0.05))
    async with await Events.open(server.port, stream(where={"cctv_id": 7})) as events:
        await events.take_until("live")
        await journal.append(CHANNEL, rows(20))
        progress = (await events.take_until("progress"))[-1]
        assert progress.json == {"type": "progress", "subscription": CHANNEL, "offset": 20}
        assert progress.id == "k3f9:20"
        assert (await events.take()).name == ":"  # and not again


async def test_what_was_hidden_behind_a_row_is_told_too(journal, serve):
    """The last row that passed is not where the cursor stands."""
    server = await serve(feed=Feed(journal, heartbeat=0.05))
    async with await Events.open(server.port, stream(where={"id": 1})) as events:
        await events.take_until("live")
        await journal.append(CHANNEL, rows(20))
        seen = await events.take_until("progress")
        assert [event.id for event in seen if event.name != ":"] == ["k3f9:1", "k3f9:20"]


async def test_silence_is_filled_with_comments(journal, serve):
    """A proxy sees that the stream is alive; a browser passes it over."""
    server = await serve(feed=Feed(journal, heartbeat=0.02))
    async with await Events.open(server.port, stream()) as events:
        await events.take_until("live")
        assert names([await events.take() for _ in range(3)]) == [":"] * 3
        await journal.append(CHANNEL, rows(1))
        assert (await events.take_until("message"))[-1].id == "k3f9:1"


async def test_heartbeats_come_while_a_filter_hides_what_happens(journal, serve):
    """Rows that are hidden are no sign of life."""
    server = await serve(feed=Feed(journal, heartbeat=0.05))
    async with await Events.open(server.port, stream(where={"cctv_id": 7})) as events:
        await events.take_until("live")
        heard = asyncio.create_task(events.take_until("progress"))
        while not heard.done():
            await journal.append(CHANNEL, rows(1))
        assert set(names(heard.result())) <= {":", "progress"}


async def test_a_gap_of_the_source_is_told_in_its_place(journal, feed, serve):
    """It takes an offset like a row, and passes every filter."""
    await journal.append(CHANNEL, rows(1))
    await journal.append(CHANNEL, [b'{"reason":"purged"}'], GAP)
    server = await serve(feed=feed)
    gap = {"type": "gap", "subscription": CHANNEL, "after": 1, "before": 3, "reason": "purged"}
    for where in ({"cctv_id": 1}, {"cctv_id": 5}):
        async with await Events.open(server.port, stream(after="0", where=where)) as events:
            seen = await events.take_until("gap")
            assert (seen[-1].json, seen[-1].id) == (gap, "k3f9:2")


@pytest.mark.parametrize(
    ("cursor", "gap"),
    [
        ("k3f9:1", {"after": 1, "before": 4, "reason": "retention"}),
        ("k3f9:0", {"after": 0, "before": 4, "reason": "retention"}),
        ("m2aa:5", {"after": 0, "before": 4, "reason": "epoch"}),
        ("k3f9:6", {"after": 0, "before": 4, "reason": "epoch"}),
        (f"k3f9:{2**63 - 1}", {"after": 0, "before": 4, "reason": "epoch"}),
    ],
)
async def test_what_cannot_be_had_any_more_is_a_gap(journal, feed, serve, cursor, gap):
    """Below the floor, of another epoch, above the head: each is said, and what is kept follows."""
    await journal.append(CHANNEL, rows(3))
    await journal.append(CHANNEL, rows(2, 4))
    await journal.trim(CHANNEL, 4)
    server = await serve(feed=feed)
    async with await Events.open(server.port, stream(), last_event_id=cursor) as events:
        subscribed = await events.take()
        assert (subscribed.json["recovered"], subscribed.json["offset"], subscribed.id) == (False, 3, "")
        told = await events.take()
        assert told.json == {"type": "gap", "subscription": CHANNEL, **gap}
        assert told.id == "k3f9:3"
        assert await events.offsets(2) == [4, 5]
    assert feed.stats.gaps == 1


async def test_retention_that_overtakes_a_reader_is_a_gap(journal, feed, serve):
    """Where events go while a page waits, the stream says so in their place."""
    await journal.append(CHANNEL, rows(3))
    await journal.append(CHANNEL, rows(2, 4))
    journal.open_gate.clear()
    server = await serve(feed=feed)
    async with await Events.open(server.port, stream(after="0")) as events:
        await events.take()
        await until(lambda: journal.reads == 1)
        await journal.trim(CHANNEL, 4)
        journal.open_gate.set()
        gap = await events.take()
        assert (gap.name, gap.json["after"], gap.json["before"], gap.id) == ("gap", 0, 4, "k3f9:3")
        assert await events.offsets(2) == [4, 5]


async def test_a_client_that_is_ahead_comes_back(journal, serve):
    """It may be right: the journal is asked, and if it doubts itself nothing is answered in the name of this epoch."""
    await journal.append(CHANNEL, rows(2))
    asked = []
    server = await serve(feed=Feed(journal, ahead=lambda *claim: asked.append(claim) or True))
    async with await Events.open(server.port, stream(), last_event_id="k3f9:7") as events:
        (farewell,) = await events.rest()
        assert (farewell.name, farewell.json) == ("drain", {"type": "drain", "reconnect_ms": list(RECONNECT_MS)})
        assert farewell.id == ""
    assert asked == [(CHANNEL, 7)]


async def test_a_new_epoch_ends_the_stream(journal, feed, serve):
    """Nothing of it is sent under the old name; who comes back is told."""
    await journal.append(CHANNEL, rows(1))
    server = await serve(feed=feed)
    async with await Events.open(server.port, stream()) as events:
        await events.take_until("live")
        journal.epoch = "m2aa"
        await journal.append(CHANNEL, rows(1, 2))
        assert names(await events.rest()) == ["drain"]
        assert events.id == "k3f9:1"
    async with await Events.open(server.port, stream(), last_event_id=events.id) as events:
        seen = await events.take_until("live")
        assert names(seen) == ["subscribed", "gap", "message", "message", "live"]
        assert seen[1].json["reason"] == "epoch"


async def test_line_breaks_between_the_parts_of_a_json_column(journal, feed, serve):
    """A row is one event and the same JSON, whatever white space it was stored with."""
    messages = [b'{"a":\n1}', b'{"a":\r\n2}', b'{"a":\r3,\n\n"b":"x\\ny"}']
    await journal.append(CHANNEL, messages)
    server = await serve(feed=feed)
    async with await Events.open(server.port, stream(after="0")) as events:
        await events.take()
        assert [(await events.take()).json["message"] for _ in messages] == [json.loads(one) for one in messages]


@pytest.mark.parametrize(
    ("path", "status", "about"),
    [
        (stream("nothing"), 404, "There is no such channel"),
        (stream("nothing", where={"a": 1}), 404, "There is no such channel"),
        (stream(after="1041"), 400, "after: expected epoch:offset"),
        (stream(after="k3f9:-1"), 400, "after: expected epoch:offset"),
        (stream(after="k3f9:x"), 400, "after: expected epoch:offset"),
        (stream(after=":4"), 400, "after: expected epoch:offset"),
        (stream(after=f"k3f9:{2**63}"), 400, "after: expected epoch:offset"),
        (stream(after="k3f9:1", last=4), 400, "last: cannot stand beside after"),
        (stream(last=10001), 400, "last: expected a number from 0 to 10000"),
        (stream(last="-1"), 400, "last: expected a number from 0 to 10000"),
        (f"/api/stream/{CHANNEL}?where=cctv_id", 400, "where: not JSON: "),
        (f'/api/stream/{CHANNEL}?where={{"a":1,"a":2}}', 400, 'where: key "a" stands twice'),
        (f"/api/stream/{CHANNEL}?where={'[' * 20000}", 400, "where: nested too deep"),
        (stream(where=[]), 422, "where: expected an object of columns"),
        (stream(where={"cctv_id": {"gt": None}}), 422, "where.cctv_id.gt: expected a number or text"),
        (stream(where={"colour": 1}), 422, "where.colour: no column colour"),
    ],
)
async def test_what_cannot_be_understood_is_refused(journal, serve, path, status, about):
    """With the place, as over WebSocket, and the same for a poll."""
    filters = Filters(lambda _: {"id", "cctv_id"})
    server = await serve(feed=Feed(journal, filters=filters))
    for each in (path, path.replace("/stream/", "/changes/")):
        answer = await ask(server.port, "GET", each)
        assert answer.status == status, answer
        assert (answer.json["reason"] if status == 422 else answer.json["error"]).startswith(about)


async def test_a_bad_cursor_of_a_browser_is_refused(journal, feed, serve):
    """It would otherwise begin anew, in silence."""
    server = await serve(feed=feed)
    answer = await ask(server.port, "GET", stream(), last_event_id="17")
    assert (answer.status, answer.json["path"]) == (400, "Last-Event-ID")


async def test_too_many_filters_are_for_later(journal, serve):
    """All clients together have a most of them; a browser comes back by itself."""
    filters = Filters()
    server = await serve(feed=Feed(journal, filters=filters))
    held = [filters.get(CHANNEL, {f"c{n}": 1}) for n in range(1000)]
    assert len(held) == 1000
    async with await Events.open(server.port, stream(where={"one_more": 1})) as events:
        assert names(await events.rest()) == ["drain"]
    answer = await ask(server.port, "GET", changes(where={"one_more": 1}))
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")


async def test_a_filter_ends_with_its_last_reader(journal, serve):
    """Pages that are kept for others do not keep it."""
    await journal.append(CHANNEL, rows(9))
    feed = Feed(journal)
    server = await serve(feed=feed)
    async with await Events.open(server.port, stream(after="0", where={"cctv_id": {"gt": 1}})) as events:
        await events.take_until("live")
        assert len(feed.filters._kept) == 1
    await until(lambda: len(feed.filters._kept) == 0)


async def test_a_journal_that_cannot_be_read_is_for_later(journal, feed, serve):
    """What was sent counts; the client comes back behind it."""
    await journal.append(CHANNEL, rows(1))
    server = await serve(feed=feed)
    async with await Events.open(server.port, stream(after="0")) as events:
        await events.take_until("live")
        journal.error = JournalError("/secret/path is away")
        await journal.append(CHANNEL, rows(1, 2))
        assert names(await events.rest()) == ["drain"]
        assert events.id == "k3f9:1"
    answer = await ask(server.port, "GET", changes(after="k3f9:1"))
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert "secret" not in answer.body.decode()


async def test_one_look_at_the_journal_serves_many(journal, feed, serve):
    """A row for forty streams, and a replay for all of them: read once, made once."""
    server = await serve(feed=feed)
    crowd = [await Events.open(server.port, stream()) for _ in range(40)]
    for events in crowd:
        await events.take_until("live")
    reads = journal.reads
    for n in range(5):
        await journal.append(CHANNEL, rows(1, n))
        assert {(await events.take()).id for events in crowd} == {f"k3f9:{n + 1}"}
    assert journal.reads - reads <= 10
    for events in crowd:
        events.connection.writer.transport.abort()
    await until(lambda: feed.stats.streams == 0)


async def test_a_crowd_that_returns_shares_its_pages(journal, feed, serve):
    """All of them behind the same row, with most of what they missed on disk."""
    await journal.append(CHANNEL, rows(4 * PAGE_EVENTS, pad="x" * 100))
    server = await serve(feed=feed)
    journal.open_gate.clear()
    crowd = [await Events.open(server.port, stream(after="k3f9:3")) for _ in range(40)]
    await until(lambda: feed.stats.streams == 40 and journal.reads > 0)
    for events in crowd:
        assert (await events.take()).name == "subscribed"
    assert journal.reads <= 4  # the gateway's replay has its turn at the journal, too
    journal.open_gate.set()
    for events in crowd:
        seen = await events.take_until("live")
        assert [event.json["offset"] for event in seen[:-1]] == list(range(4, 4 * PAGE_EVENTS + 1))
    assert feed.stats.pages < 40
    for events in crowd:
        events.connection.writer.transport.abort()


async def test_a_body_that_nobody_asked_for_is_not_held(journal, feed, serve):
    """A stream lasts for days; what came with its request does not."""
    server = await serve(feed=feed)
    async with await Connection.open(server.port) as connection:
        await connection.send(request("GET", stream(), b"x" * 10_000))
        await until(lambda: feed.stats.streams == 1)
        assert server._app._held == 0


async def test_no_room_for_more(journal, serve):
    """A browser is told to come back later, a script gets 503; who leaves makes room."""
    feed = Feed(journal, max_readers=1)
    server = await serve(feed=feed)
    async with await Events.open(server.port, stream()) as first:
        await first.take_until("live")
        async with await Events.open(server.port, stream()) as second:
            (farewell,) = await second.rest()
            assert farewell.json == {"type": "drain", "reconnect_ms": list(NO_ROOM_MS)}
            assert NO_ROOM_MS[0] <= second.retry <= NO_ROOM_MS[1]
        answer = await ask(server.port, "GET", changes())
        assert (answer.status, answer.json["limit"], answer.headers["retry-after"]) == (503, 1, "1")
    await until(lambda: feed.stats.streams == 0)  # left without a word: noticed at once, not with the next row
    assert (await ask(server.port, "GET", changes())).status == 200
    assert feed.stats.refused == 2


async def test_stopping_ends_streams_and_polls(journal, feed, serve):
    """However much time there is for it, nobody has to be waited for: each is told to come back."""
    server = await serve(feed=feed)
    async with await Events.open(server.port, stream()) as events, await Connection.open(server.port) as poll:
        await events.take_until("live")
        await poll.send(request("GET", changes(wait=60)))
        await until(lambda: feed.stats.polls == 1)
        async with asyncio.timeout(10):
            await server.stop(3600)
        assert names(await events.rest()) == ["drain"]
        assert (await poll.answer()).json["next"] == "k3f9:0"
    assert feed.stats.readers == 0


async def test_a_reader_that_does_not_read_costs_little(journal, feed, serve, monkeypatch):
    """What waits for it is bounded, others get everything meanwhile, and when it reads again so does it."""
    monkeypatch.setattr(api.server, "UNREAD", 600_000)  # not cut off, however slow this machine is
    await journal.append(CHANNEL, rows(500, pad="x" * 2000))
    server = await serve(feed=feed)
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(slow, ("127.0.0.1", server.port))
    await loop.sock_sendall(slow, request("GET", stream(after="0")))
    await until(lambda: feed.stats.streams == 1)
    (lazy,) = server._server.server_state.connections
    async with await Events.open(server.port, stream()) as quick:
        await quick.take_until("live")
        most = 0
        for n in range(10, 50):
            await journal.append(CHANNEL, rows(50, n * 50, "x" * 2000))
            assert await quick.offsets(50) == list(range(n * 50 + 1, n * 50 + 51))
            most = max(most, lazy.transport.get_write_buffer_size())
        assert 0 < most <= 200 * 1024
    lazily = Connection(*await asyncio.open_connection(sock=slow))
    events = Events(lazily, await lazily.answer())
    seen = [event for event in await events.take_until("live") if event.name == "message"]
    while len(seen) < 2500:
        event = await events.take()
        seen += [event] if event.name == "message" else []
    assert [event.json["offset"] for event in seen] == list(range(1, 2501))
    lazily.writer.transport.abort()


async def test_whoever_is_cut_again_and_again_misses_nothing(journal, feed, serve):
    """Cut anywhere, resumed by the last id alone, while rows come: each once, in order."""
    server = await serve(feed=feed)
    chance = random.Random(7)

    async def write():
        for n in range(150):
            await journal.append(CHANNEL, rows(chance.randint(1, 20), n))
            await asyncio.sleep(0)

    writing = asyncio.create_task(write())
    seen, cursor = [], "k3f9:0"
    while not writing.done() or len(seen) < journal.head(CHANNEL):
        async with await Events.open(server.port, stream(), last_event_id=cursor) as events:
            for _ in range(chance.randint(1, 60)):
                event = await events.take()
                if event.name == "message":
                    seen.append(event.json["offset"])
                cursor = events.id
                if writing.done() and len(seen) == journal.head(CHANNEL):
                    break
    assert seen == list(range(1, journal.head(CHANNEL) + 1))
    await writing


async def test_a_transaction_larger_than_a_page_comes_whole(journal, feed, serve):
    """Pages are for memory's sake: one transaction is there with all its rows."""
    server = await serve(feed=feed)
    async with await Events.open(server.port, stream()) as events:
        await events.take_until("live")
        changes_ = [Change(CHANNEL, "insert", row) for row in rows(3000)]
        await journal._journal.append([Transaction(changes_, "here", 0.0)])
        seen = []
        while len(seen) < 3000:
            event = await events.take()
            seen += [event.json["offset"]] if event.name == "message" else []
        assert seen == list(range(1, 3001))


async def test_a_request_behind_it_does_not_hide_that_the_client_has_left(journal, serve, caplog):
    """It ends with the first sign of life that nobody takes, and nothing is logged as an error."""
    feed = Feed(journal, heartbeat=0.05)
    server = await serve(feed=feed)
    async with await Events.open(server.port, stream()) as events:
        await events.take()
        await events.connection.send(request("GET", "/healthz"))
        assert feed.stats.streams == 1
    await until(lambda: feed.stats.streams == 0)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
