"""The protocol over real sockets, frame by frame."""

from __future__ import annotations

import asyncio
import json
from random import Random
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from gateway.replay import PAGE_EVENTS
from gateway.server import Gateway
from journal.types import GAP, READ
from tests.gateway.clients import Client, client
from tests.gateway.conftest import MakeGateway
from tests.gateway.stored import StoredJournal
from tests.waiting import until

CCTV, SCRAPED = "cctv_updates", "scraped_updates"


def messages(count: int, first: int = 1) -> list[bytes]:
    return [b'{"id":%d}' % n for n in range(first, first + count)]


async def subscribe(web: Client, **frame: Any) -> dict[str, Any]:
    return await web.ask(type="subscribe", **{"channel": CCTV, **frame})


async def test_live_from_now_on(gateway: Gateway, journal: StoredJournal) -> None:
    """A plain subscribe gets `subscribed`, `live`, and then what is published, as the journal has it."""
    gateway.publish(await journal.append(CCTV, messages(3)))
    async with client(gateway) as web:
        assert await subscribe(web, id="first") == {
            "type": "subscribed",
            "subscription": CCTV,
            "epoch": "k3f9",
            "offset": 3,
            "recovered": True,
            "id": "first",
        }
        assert await web.take() == {"type": "live", "subscription": CCTV, "offset": 3}
        gateway.publish(await journal.append(CCTV, [b'{"id":9,"data":{"a":[1.10]}}']))
        gateway.publish(await journal.append(SCRAPED, messages(1)))
        gateway.publish(await journal.append(CCTV, messages(1), op=READ))
        assert await web.take() == {"channel": CCTV, "offset": 4, "message": {"id": 9, "data": {"a": [1.1]}}}
        assert await web.take() == {"channel": CCTV, "offset": 5, "op": "read", "message": {"id": 1}}


@pytest.mark.parametrize(
    ("asked", "start"),
    [
        ({"last": 2}, 8),
        ({"last": 100}, 4),
        ({"last": 0}, 10),
        ({"offset": 0}, 4),
        ({"epoch": "k3f9", "offset": 7}, 7),
        ({"epoch": "k3f9", "offset": 4}, 4),
        ({"epoch": "k3f9", "offset": 10}, 10),
    ],
)
async def test_resuming_within_what_is_kept(
    gateway: Gateway, journal: StoredJournal, asked: dict[str, Any], start: int
) -> None:
    """Every form of subscribe that misses nothing: recovered, the events after its offset, `live`, then on."""
    gateway.publish(await journal.append(CCTV, messages(4)))
    gateway.publish(await journal.append(CCTV, messages(6)))
    await journal.trim(CCTV, 5)
    async with client(gateway) as web:
        answer = await subscribe(web, **asked)
        assert (answer["offset"], answer["recovered"]) == (start, True)
        assert await web.take_events(10 - start) == list(range(start + 1, 11))
        assert await web.take() == {"type": "live", "subscription": CCTV, "offset": 10}
        gateway.publish(await journal.append(CCTV, messages(1)))
        assert await web.take_events(1) == [11]


@pytest.mark.parametrize(
    ("asked", "after", "reason"),
    [
        ({"epoch": "k3f9", "offset": 2}, 2, "retention"),
        ({"epoch": "k3f9", "offset": 0}, 0, "retention"),
        ({"epoch": "k3f9", "offset": 11}, 0, "epoch"),
        ({"epoch": "k3f9", "offset": 2**63 - 1}, 0, "epoch"),
        ({"epoch": "m2aa", "offset": 7}, 0, "epoch"),
    ],
)
async def test_resuming_where_something_is_gone(
    gateway: Gateway, journal: StoredJournal, asked: dict[str, Any], after: int, reason: str
) -> None:
    """A resume that misses something is told so, gets a gap with its reason, and then everything kept."""
    gateway.publish(await journal.append(CCTV, messages(4)))
    gateway.publish(await journal.append(CCTV, messages(6)))
    await journal.trim(CCTV, 5)
    async with client(gateway) as web:
        answer = await subscribe(web, **asked)
        assert (answer["offset"], answer["recovered"]) == (4, False)
        gap = {"type": "gap", "subscription": CCTV, "after": after, "before": 5, "reason": reason}
        assert await web.take() == gap
        assert await web.take_events(6) == list(range(5, 11))
        assert (await web.take())["type"] == "live"
    assert gateway.stats.gaps == 1


async def test_a_foreign_epoch_on_an_empty_channel(gateway: Gateway) -> None:
    """The gap that says "forget what you have" comes even when there is nothing to send instead."""
    async with client(gateway) as web:
        assert (await subscribe(web, epoch="old", offset=9))["recovered"] is False
        gap = {"type": "gap", "subscription": CCTV, "after": 0, "before": 1, "reason": "epoch"}
        assert await web.take() == gap
        assert await web.take() == {"type": "live", "subscription": CCTV, "offset": 0}


async def test_a_gap_event_is_a_gap_live_and_replayed(gateway: Gateway, journal: StoredJournal) -> None:
    """Everybody passes over a gap event at the same place, whether live or later from the journal."""
    gap = {"type": "gap", "subscription": CCTV, "after": 1, "before": 3, "reason": "purged"}
    async with client(gateway) as live, client(gateway) as later:
        await subscribe(live)
        await live.take_until("live")
        gateway.publish(await journal.append(CCTV, messages(1)))
        gateway.publish(await journal.append(CCTV, [b'{"reason":"purged","from":"x"}'], op=GAP))
        gateway.publish(await journal.append(CCTV, messages(1)))
        assert (await subscribe(later, offset=0))["offset"] == 0
        for web in (live, later):
            assert await web.take_events(1) == [1]
            assert await web.take() == gap
            assert await web.take_events(1) == [3]


async def test_a_long_replay_arrives_whole(gateway: Gateway, journal: StoredJournal) -> None:
    """Many pages, while events keep coming, end in one `live` and an unbroken row of offsets."""
    gateway.publish(await journal.append(CCTV, messages(20 * PAGE_EVENTS)))
    async with client(gateway) as web:
        await subscribe(web, offset=0)
        for _ in range(20):
            gateway.publish(await journal.append(CCTV, messages(50)))
            await web.take()
        seen = await web.take_until("live")
        head = 20 * PAGE_EVENTS + 1000
        assert [frame["offset"] for frame in seen[:-1]] == list(range(21, seen[-1]["offset"] + 1))
        assert await web.take_events(head - seen[-1]["offset"]) == list(range(seen[-1]["offset"] + 1, head + 1))


async def test_several_channels_on_one_connection(gateway: Gateway, journal: StoredJournal) -> None:
    """Each channel has its own offsets; unsubscribing one leaves the other."""
    async with client(gateway) as web:
        for channel in (CCTV, SCRAPED):
            await subscribe(web, channel=channel)
            await web.take_until("live")
        gateway.publish([*await journal.append(CCTV, messages(1)), *await journal.append(SCRAPED, messages(1))])
        assert [(frame["channel"], frame["offset"]) for frame in (await web.take(), await web.take())] == [
            (CCTV, 1),
            (SCRAPED, 1),
        ]
        answer = await web.ask(type="unsubscribe", channel=CCTV, id=5)
        assert answer == {"type": "unsubscribed", "subscription": CCTV, "id": 5}
        gateway.publish([*await journal.append(CCTV, messages(1)), *await journal.append(SCRAPED, messages(1))])
        assert (await web.take())["channel"] == SCRAPED
        assert gateway.stats.subscriptions == 1


async def test_subscribing_again_replaces(gateway: Gateway, journal: StoredJournal) -> None:
    """The second subscribe starts over; nothing comes twice from then on."""
    gateway.publish(await journal.append(CCTV, messages(5)))
    async with client(gateway) as web:
        await subscribe(web, offset=0)
        await web.take_until("live")
        assert (await subscribe(web, last=2, id=2))["id"] == 2
        assert await web.take_events(2) == [4, 5]
        assert (await web.take())["type"] == "live"
        gateway.publish(await journal.append(CCTV, messages(1)))
        assert await web.take_events(1) == [6]
        assert (await web.ask(type="ping"))["type"] == "pong"
        assert gateway.stats.subscriptions == 1


async def test_a_bad_filter_is_refused_and_the_subscription_stays(gateway: Gateway, journal: StoredJournal) -> None:
    """A `where` that cannot be used is an error of its own; what was subscribed before goes on."""
    async with client(gateway) as web:
        await subscribe(web)
        await web.take_until("live")
        answer = await subscribe(web, where={"cctv_id": {"is": 3}}, id=8)
        assert (answer["type"], answer["code"], answer["id"]) == ("error", "bad_filter", 8)
        gateway.publish(await journal.append(CCTV, messages(1)))
        assert await web.take_events(1) == [1]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", "bad_request"),
        ("[1]", "bad_request"),
        ('{"type":"shout"}', "bad_request"),
        ('{"type":"ping","type":"ping"}', "bad_request"),
        ('{"type":"ping","x":NaN}', "bad_request"),
        ("[" * 60_000, "bad_request"),
        ('{"type":"subscribe","channel":"cctv_updates","offset":-1}', "bad_request"),
        ('{"type":"subscribe","channel":"nope"}', "unknown_channel"),
        ('{"type":"subscribe","channel":"\\ud800"}', "unknown_channel"),
        ('{"type":"auth","token":"x"}', "bad_request"),
        (b'{"type":"ping"}', "bad_request"),
    ],
)
async def test_nonsense_gets_one_error_and_the_connection_stays(gateway: Gateway, text: str | bytes, code: str) -> None:
    """Text, JSON, keys or a binary frame that mean nothing: one error each, and the next request is answered."""
    async with client(gateway) as web:
        await web.connection.send(text)
        answer = await web.take()
        assert (answer["type"], answer["code"]) == ("error", code)
        assert answer["reason"]
        assert await web.ask(type="ping", id=1) == {"type": "pong", "id": 1}
        assert gateway.stats.errors == 1


async def test_fragmented_messages(gateway: Gateway) -> None:
    """A text message in fragments is one message; a binary one in fragments is one error."""
    async with client(gateway) as web:
        await web.connection.send(['{"type":', '"ping",', '"id":"é"}'])
        assert await web.take() == {"type": "pong", "id": "é"}
        await web.connection.send([b"a", b"b", b"c"])
        assert (await web.take())["code"] == "bad_request"
        assert await web.ask(type="ping") == {"type": "pong"}


async def test_too_many_subscriptions(make_gateway: MakeGateway) -> None:
    """The setting's limit is told by its error code."""
    gateway = await make_gateway(max_subscriptions=1)
    async with client(gateway) as web:
        await subscribe(web)
        await web.take_until("live")
        assert (await subscribe(web, channel=SCRAPED))["code"] == "limit"


async def test_who_leaves_is_forgotten(gateway: Gateway, journal: StoredJournal) -> None:
    """After a connection has ended nothing of it is left, and publishing goes on."""
    async with client(gateway) as web:
        await subscribe(web)
        await until(lambda: gateway.stats.subscriptions == 1)
    await until(lambda: gateway.stats.connections == 0)
    gateway.publish(await journal.append(CCTV, messages(1)))
    assert (gateway.stats.subscriptions, gateway.stats.deliveries) == (0, 0)


async def test_foreign_pages_are_refused(gateway: Gateway) -> None:
    """A browser page of another origin gets 403; one of this machine gets in."""
    url = f"ws://127.0.0.1:{gateway.port}/"
    with pytest.raises(InvalidStatus) as refused:
        await connect(url, origin="http://localhost.evil.example", proxy=None)  # type: ignore[arg-type]
    assert refused.value.response.status_code == 403
    async with client(gateway, origin="http://localhost:3000") as web:
        assert await web.ask(type="ping") == {"type": "pong"}


async def test_a_burst_reaches_three_hundred_clients(gateway: Gateway, journal: StoredJournal) -> None:
    """Every one of many clients sees every event of a burst, once and in order."""
    webs = [client(gateway) for _ in range(300)]
    clients = [await web.__aenter__() for web in webs]
    try:
        for each in clients:
            await subscribe(each)
            await each.take()
        for n in range(50):
            gateway.publish(await journal.append(CCTV, [json.dumps({"n": n}).encode()] * 4))
        for each in clients:
            assert await each.take_events(200) == list(range(1, 201))
    finally:
        for web in webs:
            await web.__aexit__(None, None, None)
    assert gateway.stats.deliveries == 300 * 200


async def test_the_hand_over_under_load(gateway: Gateway, journal: StoredJournal) -> None:
    """Subscribes at any offset and unsubscribes, during a stream of inserts: offsets contiguous, each time."""
    random = Random(5)
    gateway.publish(await journal.append(CCTV, messages(2000)))
    over = asyncio.Event()

    async def insert() -> None:
        while not over.is_set():
            gateway.publish(await journal.append(CCTV, messages(random.randint(1, 40))))

    async def come_and_go() -> None:
        async with client(gateway) as web:
            for _ in range(8):
                behind = random.choice((0, random.randrange(2000)))
                await web.say(type="subscribe", channel=CCTV, epoch="k3f9", offset=journal.head(CCTV) - behind)
                at = (await web.take())["offset"]
                frames = await web.take_until("live")
                frames += [await web.take() for _ in range(random.randrange(200))]
                await web.say(type="unsubscribe", channel=CCTV)
                frames += await web.take_until("unsubscribed")
                offsets = [frame["offset"] for frame in frames if "channel" in frame]
                assert offsets == list(range(at + 1, at + 1 + len(offsets)))

    inserting = asyncio.create_task(insert())
    await asyncio.gather(*(come_and_go() for _ in range(5)))
    over.set()
    await inserting
    assert (gateway.stats.errors, gateway.stats.subscriptions) == (0, 0)
