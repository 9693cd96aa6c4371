"""Clients that are slow, greedy, broken or hostile: the gateway's memory stays bounded and others are served."""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import tracemalloc
from contextlib import AsyncExitStack
from random import Random

import pytest
from websockets.frames import Close, Opcode
from websockets.http11 import Request

from gateway.connection import UNREAD
from gateway.door import Door
from gateway.frames import control_frame
from gateway.limits import Timing
from gateway.server import Gateway
from gateway.subscription import Mode
from gateway.wire import Pong
from tests.gateway.clients import UPGRADE, RawClient, client, masked, request
from tests.gateway.conftest import MakeGateway
from tests.gateway.stored import StoredJournal
from tests.waiting import until

CCTV = "cctv_updates"
ROOM = 128 * 1024
LARGE = b'{"text":"%b"}' % (b"x" * 20_000)


def buffered(gateway: Gateway) -> int:
    """Bytes waiting in all write buffers."""
    return sum(connection._transport.get_write_buffer_size() for connection in gateway._shared.connections)


def full_up(gateway: Gateway) -> bool:
    """Whether a write buffer has no room for more."""
    return any(connection.paused for connection in gateway._shared.connections)


async def still_served(gateway: Gateway) -> None:
    """Somebody else gets an answer."""
    async with client(gateway) as web:
        assert await web.ask(type="ping") == {"type": "pong"}


async def test_a_client_that_does_not_read_loses_nothing(make_gateway: MakeGateway, journal: StoredJournal) -> None:
    """It is demoted, its buffer stays within bounds, others are served at once, and reading again it gets all."""
    gateway = await make_gateway(max_buffer=ROOM)
    slow = await RawClient.open(gateway, receive_buffer=4096)
    await slow.say(type="subscribe", channel=CCTV)
    assert (await slow.take())["type"] == "subscribed"
    assert (await slow.take())["type"] == "live"
    async with client(gateway) as quick:
        await quick.ask(type="subscribe", channel=CCTV)
        await quick.take()
        most = 0
        for n in range(1000):
            gateway.publish(await journal.append(CCTV, [LARGE]))
            assert await quick.take_events(1) == [n + 1]
            most = max(most, buffered(gateway))
    assert gateway.stats.demotions >= 1
    assert len(LARGE) < most <= ROOM
    seen: list[int] = []
    while len(seen) < 1000:
        frame = await slow.take()
        if "channel" in frame:
            seen.append(frame["offset"])
    assert seen == list(range(1, 1001))
    assert await slow.take() == {"type": "live", "subscription": CCTV, "offset": 1000}
    gateway.publish(await journal.append(CCTV, [b"{}"]))
    assert (await slow.take())["offset"] == 1001
    slow.close()


async def test_small_frames_that_wait_are_within_the_bound_with_all_they_take(make_gateway: MakeGateway) -> None:
    """Each write that waits takes memory beside its bytes, which counts; when they are gone it counts no more."""
    gateway = await make_gateway(max_buffer=8 * ROOM, timing=PATIENT)
    slow = await RawClient.open(gateway, receive_buffer=4096)
    (connection,) = gateway._shared.connections
    tracemalloc.start()
    try:
        while not connection.paused:
            connection.send(control_frame(Pong(id="x" * 100)))
            await asyncio.sleep(0)
        waiting = buffered(gateway)
        traces = tracemalloc.take_snapshot().filter_traces(
            [tracemalloc.Filter(True, f"*/gateway/{name}.py") for name in ("connection", "backlog", "frames", "wire")]
        )
    finally:
        tracemalloc.stop()
    assert sum(trace.size for trace in traces.statistics("filename")) <= 8 * ROOM
    assert 0 < waiting < 2 * ROOM
    while connection.paused or buffered(gateway):
        await slow.receive()
    connection.send(control_frame(Pong()))
    assert connection._backlog is None
    assert connection._transport.get_write_buffer_limits()[1] == 6 * ROOM
    slow.close()


PATIENT = Timing(heartbeat=3600.0, ping=3600.0, silence=7200.0, sweep=3600.0)


async def full(gateway: Gateway, journal: StoredJournal, **subscribe: object) -> RawClient:
    """A client that has stopped reading, with its buffer over the bound."""
    slow = await RawClient.open(gateway, receive_buffer=4096)
    await slow.say(type="subscribe", channel=CCTV, **subscribe)
    await until(lambda: gateway.stats.subscriptions == 1)
    while not full_up(gateway):
        gateway.publish(await journal.append(CCTV, [LARGE]))
    return slow


async def test_a_client_that_never_reads_again_is_closed(make_gateway: MakeGateway, journal: StoredJournal) -> None:
    """After its time it is closed, never having cost more than the bound; the others get everything meanwhile."""
    gateway = await make_gateway(max_buffer=ROOM, timing=PATIENT)
    slow = await full(gateway, journal, id=1)
    sent = journal.head(CCTV)
    async with AsyncExitStack() as stack:
        others = [await stack.enter_async_context(client(gateway)) for _ in range(20)]
        for other in others:
            await other.ask(type="subscribe", channel=CCTV)
            assert (await other.take())["type"] == "live"
        most = 0
        for n in range(100):
            gateway.publish(await journal.append(CCTV, [LARGE]))
            most = max(most, *(each._transport.get_write_buffer_size() for each in gateway._shared.connections))
            assert [await other.take_events(1) for other in others] == [[sent + n + 1]] * 20
        now = gateway._shared.now()
        for later in (0, 29, 31):
            assert gateway.stats.unread == 0
            for connection in list(gateway._shared.connections):
                connection.sweep(now + later)
        assert gateway.stats.unread == 1
        assert len(LARGE) < most <= ROOM
        for other in others:
            assert await other.ask(type="ping") == {"type": "pong"}
    received = 0
    while (frame := await slow.frame()) is not None and frame.opcode is Opcode.TEXT:
        received = json.loads(bytes(frame.data)).get("offset", 0)
    assert frame is not None
    close = Close.parse(frame.data)
    assert close.code == UNREAD
    assert close.reason == f"nothing was read for too long; sent up to {CCTV} k3f9:{received}"
    slow.close()


async def test_a_client_that_reads_a_little_is_kept(make_gateway: MakeGateway, journal: StoredJournal) -> None:
    """Whoever takes anything within the time stays, as often as need be, and gets everything in the end."""
    gateway = await make_gateway(max_buffer=ROOM, timing=PATIENT)
    slow = await full(gateway, journal)
    (connection,) = gateway._shared.connections
    now = gateway._shared.now()
    seen: list[int] = []
    for later in range(0, 200, 25):
        connection.sweep(now + later)
        waited = buffered(gateway)
        while buffered(gateway) >= waited and gateway._shared.hub.published(CCTV) > len(seen):
            seen += [frame["offset"] for frame in [await slow.take()] if "channel" in frame]
        gateway.publish(await journal.append(CCTV, [LARGE] * 3))
    while len(seen) < journal.head(CCTV):
        seen += [frame["offset"] for frame in [await slow.take()] if "channel" in frame]
    assert seen == list(range(1, journal.head(CCTV) + 1))
    assert (gateway.stats.unread, gateway.stats.connections) == (0, 1)
    slow.close()


async def test_the_farewell_fits_its_frame(make_gateway: MakeGateway, journal: StoredJournal) -> None:
    """However long the channels' names, the reason says of as many as a close frame has room for."""
    gateway = await make_gateway()
    async with client(gateway) as web:
        await web.say(type="subscribe", channel=CCTV)
        await web.say(type="subscribe", channel="scraped_updates")
        await until(lambda: gateway.stats.subscriptions == 2)
        (connection,) = gateway._shared.connections
        said = connection._farewell()
        assert said.endswith("sent up to cctv_updates k3f9:0 scraped_updates k3f9:0")
        for subscription in connection._session.subscriptions:
            subscription.offset = 10**30
            subscription.mode = Mode.REPLAYING
        assert len(connection._farewell()) <= 123
        for subscription in connection._session.subscriptions:
            subscription.mode = Mode.CLOSED


async def test_a_slow_replay_is_paged(make_gateway: MakeGateway, journal: StoredJournal) -> None:
    """A client that asks for much and reads nothing has one page read for it, and no worker kept."""
    gateway = await make_gateway(max_buffer=ROOM)
    gateway.publish(await journal.append(CCTV, [LARGE] * 2000))
    slow = await RawClient.open(gateway, receive_buffer=4096)
    await slow.say(type="subscribe", channel=CCTV, offset=0)
    await until(lambda: buffered(gateway) > 0 and not gateway._shared.replay._workers)
    reads = journal.reads
    assert reads < 40
    assert buffered(gateway) < ROOM + 300 * 1024
    await still_served(gateway)
    assert journal.reads == reads
    slow.close()


async def test_heartbeats_are_left_out_for_full_buffers(make_gateway: MakeGateway, journal: StoredJournal) -> None:
    """However often the source's state changes, a full buffer does not grow by it."""
    gateway = await make_gateway(max_buffer=ROOM)
    gateway.publish(await journal.append(CCTV, [LARGE] * 2000))
    slow = await RawClient.open(gateway, receive_buffer=4096)
    await slow.say(type="subscribe", channel=CCTV, offset=0)
    await until(lambda: full_up(gateway) and not gateway._shared.replay._workers)
    full = buffered(gateway)
    for _ in range(100):
        gateway.set_source("down", 0)
        gateway.set_source("live", 0)
        await asyncio.sleep(0)
    assert buffered(gateway) <= full
    slow.close()


@pytest.mark.parametrize("flood", ["pings", "requests", "errors"])
async def test_asking_without_reading_ends_the_connection(make_gateway: MakeGateway, flood: str) -> None:
    """Answers pile up only to the bound and a little more, then the connection is dropped."""
    gateway = await make_gateway(max_buffer=ROOM)
    greedy = await RawClient.open(gateway, receive_buffer=4096)
    question = {
        "pings": masked(b"x" * 125, Opcode.PING),
        "requests": masked(b'{"type":"ping","id":"%b"}' % (b"x" * 1000)),
        "errors": masked(b"?"),
    }[flood]
    waiting: list[int] = []
    await greedy.pour(question * 50, lambda: waiting.append(buffered(gateway)))
    assert max(waiting) < ROOM + 64 * 1024 + 60_000
    await until(lambda: gateway.stats.connections == 0)
    assert gateway.stats.overruns == 1
    greedy.close()
    await still_served(gateway)


async def test_asking_and_reading_goes_on_for_ever(make_gateway: MakeGateway, journal: StoredJournal) -> None:
    """Answers behind a full buffer count only until it has drained: a slow client may ask again and again."""
    gateway = await make_gateway(max_buffer=ROOM)
    gateway.publish(await journal.append(CCTV, [LARGE] * 50))
    slow = await RawClient.open(gateway, receive_buffer=4096)
    for n in range(3):
        await slow.say(type="subscribe", channel=CCTV, offset=0)
        await until(lambda: full_up(gateway) and not gateway._shared.replay._workers)
        await slow.send(masked(b'{"type":"ping","id":"%b"}' % (b"x" * 1000)) * 40)
        await slow.say(type="ping", id=n)
        while await slow.take() != {"type": "pong", "id": n}:
            pass
        while (await slow.take()).get("type") != "live":
            pass
    assert gateway.stats.overruns == 0


async def test_subscribe_churn(gateway: Gateway, journal: StoredJournal) -> None:
    """Thousands of subscribes in one go leave one subscription and one replay, whose answers come in order."""
    gateway.publish(await journal.append(CCTV, [b"{}"] * 100))
    raw = await RawClient.open(gateway)
    frame = masked(b'{"type":"subscribe","channel":"cctv_updates","offset":0}')
    await raw.send(frame * 2000)
    for _ in range(2000):
        while (await raw.take()).get("type") != "subscribed":
            pass
    assert [(await raw.take())["offset"] for _ in range(101)] == [*range(1, 101), 100]
    assert gateway.stats.subscriptions == 1
    raw.close()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (masked(b"x" * 65_537), 1009),
        (b"\x81\xff" + (1 << 30).to_bytes(8, "big") + b"mask", 1009),
        (b"\x81\xff" + b"\xff" * 8 + b"mask", 1009),
        (masked(b"x" * 40_000, fin=False) + masked(b"x" * 40_000, Opcode.CONT), 1009),
        (masked(b'{"type":"\xff"}'), 1007),
        (masked(b'{"type":"ping","id":"\xc3', fin=False) + masked(b'("}', Opcode.CONT), 1007),
        (b"\xc1\x80mask", 1002),
        (b"\x83\x80mask", 1002),
        (b"\x81\x02hi", 1002),
        (b"\x80\x80mask", 1002),
        (masked(b"a", fin=False) + masked(b"b"), 1002),
        (b"\x89\xfe\x00\x80mask" + b"x" * 128, 1002),
        (masked(b"\x03", Opcode.CLOSE), 1002),
        (masked(b"\x03\xe8", Opcode.CLOSE), 1000),
        (masked(b"", Opcode.CLOSE), 1005),
    ],
    ids=itertools.count(),  # the masks are random, names must not be: processes that share the tests compare them
)
async def test_broken_frames_end_with_the_right_code(gateway: Gateway, data: bytes, code: int) -> None:
    """Frames against the rules are answered with their close code, and the connection ends."""
    raw = await RawClient.open(gateway)
    await raw.say(type="subscribe", channel=CCTV)
    await raw.send(data)
    assert await raw.close_code() == code
    raw.close()
    await until(lambda: gateway.stats.connections == 0)
    assert gateway.stats.subscriptions == 0


async def test_nothing_is_answered_after_a_fatal_frame(gateway: Gateway) -> None:
    """A request that came in one piece with broken text is not carried out: the close frame is all that comes."""
    raw = await RawClient.open(gateway)
    await raw.send(masked(b"\xff") + masked(b'{"type":"ping"}') + masked(b"x", Opcode.PING))
    frames = []
    while (frame := await raw.frame()) is not None:
        frames.append(frame.opcode)
    assert Opcode.TEXT not in frames
    assert frames[-1] is Opcode.CLOSE


async def test_a_flood_of_fragments_ends_within_its_bound(gateway: Gateway) -> None:
    """Fragments count together; empty ones cost nothing, however many."""
    raw = await RawClient.open(gateway)
    await raw.send(masked(b'{"type":"ping"', fin=False))
    for _ in range(20):
        await raw.send(masked(b"", Opcode.CONT, fin=False) * 1000)
    await raw.send(masked(b"}", Opcode.CONT))
    assert await raw.take() == {"type": "pong"}
    await raw.send(masked(b"[", fin=False) + masked(b"x" * 1000, Opcode.CONT, fin=False) * 100)
    assert await raw.close_code() == 1009
    raw.close()


async def test_the_close_frame_outlives_unread_input(gateway: Gateway) -> None:
    """A client still busy sending when it is closed finds the close frame, not a reset connection."""
    raw = await RawClient.open(gateway)
    await raw.send(b"\x81\xff" + (1 << 40).to_bytes(8, "big") + b"mask")
    for _ in range(20):
        await raw.send(b"x" * 10_000)
        await asyncio.sleep(0.005)
    assert await raw.close_code() == 1009


async def test_input_after_a_fatal_frame_is_thrown_away(make_gateway: MakeGateway) -> None:
    """A client that goes on sending after it was closed gets its close frame, and is cut off after a while."""
    gateway = await make_gateway(timing=Timing(closing=0.2, sweep=0.05))
    raw = await RawClient.open(gateway)
    await raw.send(b"\x81\xff" + (1 << 40).to_bytes(8, "big") + b"mask")
    await raw.pour(b"x" * 65536)
    await until(lambda: gateway.stats.connections == 0)
    await still_served(gateway)


async def test_slow_handshakes_are_cut(make_gateway: MakeGateway) -> None:
    """Sockets that never finish their request are closed in time, while others are served."""
    gateway = await make_gateway(timing=Timing(handshake=0.3, sweep=0.05))
    silent = [await RawClient.connect(gateway) for _ in range(100)]
    dripping = await RawClient.connect(gateway)
    await dripping.send(b"GET / HTTP/1.1\r\n")
    await still_served(gateway)
    for raw in silent:
        assert await raw.receive() == b""
        raw.close()
    await dripping.pour(b"X: y\r\n")
    dripping.close()
    assert gateway.stats.slow_handshakes == 101
    assert gateway._doors == {}


async def test_an_endless_head_is_refused(gateway: Gateway) -> None:
    """A request head that does not end gets 431 at 16 KiB."""
    raw = await RawClient.connect(gateway)
    await raw.send(b"GET / HTTP/1.1\r\n" + b"X: yyyyyyyyyyyyyyyyyyyyy\r\n" * 700)
    assert (await raw.receive_all()).startswith(b"HTTP/1.1 431 ")
    raw.close()


async def test_garbage_at_the_door(gateway: Gateway) -> None:
    """Random bytes, TLS and half requests end in a refusal or nothing, and never in a log line."""
    random = Random(7)
    for n in range(60):
        raw = await RawClient.connect(gateway)
        await raw.send(random.randbytes(random.randrange(1, 2000)) + b"\r\n\r\n" * (n % 2))
        if n % 2:
            assert (await raw.receive_all()).startswith(b"HTTP/1.1 400 ")
            raw.close()
        else:
            raw.reset()
    await until(lambda: not gateway._doors)
    await still_served(gateway)


async def test_frames_sent_with_the_handshake_are_answered(gateway: Gateway) -> None:
    """A client in a hurry may send its first frames along with its request, whole or cut anywhere."""
    early = masked(b'{"type":"ping","id":1}')
    head = request(**UPGRADE)
    for cut in (len(head) - 2, len(head), len(head) + 1, len(head) + 5, len(head) + len(early)):
        raw = await RawClient.connect(gateway)
        await raw.send((head + early)[:cut])
        await asyncio.sleep(0.01)
        await raw.send((head + early)[cut:])
        assert (await raw.head()).startswith(b"HTTP/1.1 101 ")
        assert await raw.take() == {"type": "pong", "id": 1}
        raw.close()


async def test_clients_that_vanish_while_events_pour(gateway: Gateway, journal: StoredJournal) -> None:
    """Resets at any moment, in the middle of publishing too, disturb nobody and leave nothing behind."""
    random = Random(11)
    async with client(gateway) as web:
        await web.ask(type="subscribe", channel=CCTV)
        raws = [await RawClient.open(gateway) for _ in range(40)]
        for raw in raws:
            await raw.say(type="subscribe", channel=CCTV, last=random.randrange(3))
        await until(lambda: gateway.stats.subscriptions == 41)
        while raws:
            gateway.publish(await journal.append(CCTV, [LARGE] * 30))
            raws.pop(random.randrange(len(raws))).reset()
            if random.random() < 0.5:
                await asyncio.sleep(0)
        await until(lambda: gateway.stats.connections == 1)
        frames = []
        while not frames or frames[-1]["offset"] < 1200:  # each has one: it may fall behind, and be told `live` again
            frames.append(await web.take())
        assert [frame["offset"] for frame in frames if "channel" in frame] == list(range(1, 1201))


async def test_idle_connections_are_small(gateway: Gateway) -> None:
    """An idle subscribed connection is a handful of objects: no task, no queue, no handshake kept."""
    raws = [await RawClient.open(gateway) for _ in range(20)]
    for raw in raws:
        await raw.say(type="subscribe", channel=CCTV)
    await until(lambda: gateway.stats.subscriptions == 20)
    gc.collect()
    assert len(asyncio.all_tasks()) == 1  # this test
    assert not [thing for thing in gc.get_objects() if isinstance(thing, (Request, Door))]
    assert not any(hasattr(connection, "__dict__") for connection in gateway._shared.connections)
