from __future__ import annotations

import asyncio
import json

import pytest
from websockets.exceptions import ConnectionClosed

from gateway import heartbeat
from gateway.limits import Timing
from gateway.server import Gateway
from journal.errors import JournalError, UnknownChannel
from tests.gateway.clients import RawClient, client, request
from tests.gateway.conftest import DEFAULTS, MakeGateway
from tests.gateway.stored import StoredJournal
from tests.waiting import until

CCTV = "cctv_updates"


# Start


async def test_a_taken_port_is_an_error(gateway: Gateway, make_gateway: MakeGateway) -> None:
    """Somebody else's port raises OSError from start."""
    with pytest.raises(OSError, match="in use"):
        await make_gateway(port=gateway.port)


async def test_a_channel_the_journal_lacks_is_an_error(journal: StoredJournal) -> None:
    """A channel that no journal holds cannot be served."""
    with pytest.raises(UnknownChannel):
        await Gateway(journal, channels=["nope"], **DEFAULTS).start()


async def test_starting_on_a_full_journal(make_gateway: MakeGateway, journal: StoredJournal) -> None:
    """After a restart the head is where the journal left off."""
    await journal.append(CCTV, [b"{}"] * 5)
    gateway = await make_gateway()
    async with client(gateway) as web:
        assert (await web.ask(type="subscribe", channel=CCTV, last=1))["offset"] == 4
        assert (await web.take())["offset"] == 5
        await web.take_until("live")
        gateway.publish(await journal.append(CCTV, [b"{}"]))
        assert (await web.take())["offset"] == 6


async def test_events_that_were_never_published_are_read_from_the_journal(
    gateway: Gateway, journal: StoredJournal
) -> None:
    """Should a publish be left out, everybody live goes back to the journal and misses nothing."""
    async with client(gateway) as web:
        await web.ask(type="subscribe", channel=CCTV)
        await web.take()
        await journal.append(CCTV, [b"{}"] * 3)
        gateway.publish(await journal.append(CCTV, [b"{}"] * 2))
        assert await web.take_events(5) == [1, 2, 3, 4, 5]
        assert (await web.take())["type"] == "live"


# Plain HTTP


@pytest.mark.parametrize(("path", "status"), [("/healthz", 200), ("/readyz", 503), ("/else", 426)])
async def test_health_over_a_socket(make_gateway: MakeGateway, path: str, status: int) -> None:
    """Health checks are answered on the gateway's port, and the connection ends after the answer."""
    gateway = await make_gateway(readiness=lambda: (False, {"journal": "disk full"}))
    raw = await RawClient.connect(gateway)
    await raw.send(request(f"GET {path} HTTP/1.1", Host="x"))
    head, _, body = (await raw.receive_all()).partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    if path == "/readyz":
        assert json.loads(body) == {"ready": False, "checks": {"journal": "disk full"}}
    raw.close()
    await until(lambda: not gateway._doors)
    assert gateway.stats.refused == (status == 426)


async def test_an_answered_request_does_not_linger(make_gateway: MakeGateway) -> None:
    """A client that got its answer and stays is closed; what it sends meanwhile is thrown away."""
    gateway = await make_gateway(timing=Timing(handshake=0.2, sweep=0.05))
    raw = await RawClient.connect(gateway)
    await raw.send(request("GET /healthz HTTP/1.1") * 2)
    await raw.head()
    await raw.send(request("GET /healthz HTTP/1.1"))
    assert await raw.receive_all() == b'{"status":"ok"}'
    await until(lambda: not gateway._doors)
    assert gateway.stats.slow_handshakes == 0
    raw.close()


# The source's state


async def test_everybody_is_told_at_once_when_the_state_changes(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Subscribed or not, every client gets a heartbeat for each change, and none while the state stays."""
    monkeypatch.setattr(gateway._telling, "_at_once", 2)
    async with client(gateway) as a, client(gateway) as b, client(gateway) as c:
        await until(lambda: gateway.stats.connections == 3)
        gateway.set_source("live", 99)
        gateway.set_source("down", 0)
        for web in (a, b, c):
            assert await web.take() == {"type": "heartbeat", "source": "down", "lag_ms": 0}
        gateway.set_source("catching_up", 5000)
        for web in (a, b, c):
            assert await web.take() == {"type": "heartbeat", "source": "catching_up", "lag_ms": 5000}
            assert await web.ask(type="ping") == {"type": "pong"}


async def test_who_subscribes_while_the_source_is_away_is_told(gateway: Gateway) -> None:
    """A subscriber learns right after `subscribed` that nothing new can come."""
    async with client(gateway) as web:
        await web.ask(type="ping")
        gateway.set_source("stalled", 700)
        assert (await web.take())["source"] == "stalled"
        frames = [await web.ask(type="subscribe", channel=CCTV), await web.take(), await web.take()]
        assert [frame["type"] for frame in frames] == ["subscribed", "heartbeat", "live"]
        assert frames[1]["lag_ms"] == 700


async def test_the_source_may_speak_before_the_start(journal: StoredJournal) -> None:
    """A state set before the gateway listens is the one its first clients are told."""
    gateway = Gateway(journal, channels=[CCTV], **DEFAULTS)
    gateway.set_source("catching_up", 3)
    await gateway.start()
    async with client(gateway) as web:
        await web.say(type="subscribe", channel=CCTV)
        assert (await web.take_until("live"))[1]["source"] == "catching_up"
    await gateway.drain(0)


async def test_before_the_capture_has_spoken_the_source_is_down(journal: StoredJournal) -> None:
    """A gateway that knows nothing of the source does not claim that it lives."""
    gateway = Gateway(journal, channels=[CCTV], **DEFAULTS)
    await gateway.start()
    async with client(gateway) as web:
        await web.say(type="subscribe", channel=CCTV)
        assert (await web.take_until("live"))[1]["source"] == "down"
    await gateway.drain(0)


async def test_heartbeats_come_regularly(make_gateway: MakeGateway) -> None:
    """Without any event a client hears of the gateway again and again, with the newest lag."""
    gateway = await make_gateway(timing=Timing(heartbeat=0.05))
    async with client(gateway) as web:
        await web.take()
        gateway.set_source("live", 77)
        while (await web.take())["lag_ms"] != 77:
            pass


async def test_a_round_goes_through_in_slices() -> None:
    """Many are visited a few in each turn of the loop; starting anew gives up what is left."""
    seen: list[int] = []
    rounds = heartbeat.Round(seen.append, at_once=3)
    rounds.start(range(10))
    assert seen == [0, 1, 2]
    await asyncio.sleep(0)
    assert seen == [0, 1, 2, 3, 4, 5]
    rounds.start([100, 101])
    assert 100 not in seen  # its turn comes; one chain of turns is enough
    await until(lambda: 101 in seen)
    await asyncio.sleep(0)
    assert seen == [0, 1, 2, 3, 4, 5, 100, 101]


# Silence


async def test_a_silent_client_is_pinged_and_lives(make_gateway: MakeGateway) -> None:
    """A client that answers pings may say nothing else for as long as it likes."""
    gateway = await make_gateway(timing=Timing(ping=0.1, silence=0.4, sweep=0.02))
    async with client(gateway, ping_interval=None) as web:
        await asyncio.sleep(1.0)  # the only way to be silent for more than twice the limit
        assert await web.ask(type="ping") == {"type": "pong"}
    assert gateway.stats.silent == 0


async def test_a_dead_client_is_cut(make_gateway: MakeGateway) -> None:
    """A client that does not even answer pings is dropped, and its descriptor freed."""
    gateway = await make_gateway(timing=Timing(ping=0.1, silence=0.3, sweep=0.02))
    dead = await RawClient.open(gateway)
    await until(lambda: gateway.stats.silent == 1 and gateway.stats.connections == 0)
    assert await dead.receive_all() == b"\x89\x00"  # the one ping it got
    dead.close()


async def test_a_sweep_passes_over_who_has_gone(gateway: Gateway) -> None:
    """A connection that ended after its round began is left alone."""
    async with client(gateway):
        await until(lambda: gateway.stats.connections == 1)
        (connection,) = gateway._shared.connections
    await until(lambda: gateway.stats.connections == 0)
    connection.sweep(asyncio.get_running_loop().time() + 10_000)
    assert gateway.stats.silent == 0


async def test_taking_data_is_a_sign_of_life(make_gateway: MakeGateway, journal: StoredJournal) -> None:
    """A slow reader whose pongs are stuck behind its data is not taken for dead."""
    gateway = await make_gateway(max_buffer=1 << 20, timing=Timing(ping=0.1, silence=0.5, sweep=0.02))
    gateway.publish(await journal.append(CCTV, [b'{"x":"%b"}' % (b"x" * 50_000)] * 400))
    slow = await RawClient.open(gateway, receive_buffer=4096)
    await slow.say(type="subscribe", channel=CCTV, offset=0)
    clock = asyncio.get_running_loop().time
    end = clock() + 1.5
    while clock() < end:  # longer than the silence allowed, never answering a ping
        assert await slow.receive(20_000)
        await asyncio.sleep(0.01)
    assert gateway.stats.connections == 1
    await until(lambda: gateway.stats.silent == 1)
    slow.close()


# A journal in trouble


async def test_a_journal_that_cannot_be_read_closes_with_come_back(gateway: Gateway, journal: StoredJournal) -> None:
    """Close code 4000 sends the client into its reconnect; live clients are not touched."""
    gateway.publish(await journal.append(CCTV, [b"{}"] * 3))
    async with client(gateway) as live, client(gateway) as behind:
        await live.ask(type="subscribe", channel=CCTV)
        await live.take()
        journal.error = JournalError("disk on fire")
        await behind.ask(type="subscribe", channel=CCTV, offset=0)
        assert await behind.closed() == 4000
        gateway.publish(await journal.append(CCTV, [b"{}"]))
        assert (await live.take())["offset"] == 4


async def test_a_client_ahead_of_us_is_sent_away(make_gateway: MakeGateway, journal: StoredJournal) -> None:
    """A client that may be right is told nothing in an epoch that is about to end, only to come back."""
    gateway = await make_gateway(ahead=lambda channel, offset: (channel, offset) == (CCTV, 9))
    gateway.publish(await journal.append(CCTV, [b"{}"] * 3))
    async with client(gateway) as wrong, client(gateway) as right:
        assert (await wrong.ask(type="subscribe", channel=CCTV, epoch="k3f9", offset=8))["recovered"] is False
        await right.ask(type="subscribe", channel=CCTV)
        await right.take()
        await right.say(type="subscribe", channel=CCTV, epoch="k3f9", offset=9)
        assert await right.closed() == 4001
        assert (await wrong.take())["type"] == "gap"


async def test_a_new_epoch_sends_everybody_away(gateway: Gateway, journal: StoredJournal) -> None:
    """Nobody is sent an event of the new epoch who has not been told of it; whoever comes back is served."""
    async with client(gateway) as live:
        await live.ask(type="subscribe", channel=CCTV)
        await live.take()
        events = await journal.append(CCTV, [b"{}"])
        gateway.new_epoch()
        gateway.publish(events)
        assert await live.take() == {"type": "drain", "reconnect_ms": [200, 5000]}
        assert await live.closed() == 4001
    async with client(gateway) as back:
        assert (await back.ask(type="subscribe", channel=CCTV, epoch="older", offset=7))["recovered"] is False


# The end


async def test_drain_sends_everybody_away(gateway: Gateway, journal: StoredJournal) -> None:
    """Each client gets what was published, the drain frame with the spread, and close code 1012."""
    async with client(gateway) as live, client(gateway) as idle:
        await live.ask(type="subscribe", channel=CCTV)
        await live.take()
        await idle.ask(type="ping")
        gateway.publish(await journal.append(CCTV, [b"{}"]))
        draining = asyncio.create_task(gateway.drain(5))
        assert (await live.take())["offset"] == 1
        for web in (live, idle):
            assert await web.take() == {"type": "drain", "reconnect_ms": [200, 5000]}
            assert await web.closed() == 1012
        await draining
    assert gateway.stats.connections == 0
    with pytest.raises(OSError, match=r"refused|Connect"):
        await RawClient.connect(gateway)


async def test_a_restart_loses_nothing(make_gateway: MakeGateway, journal: StoredJournal) -> None:
    """A client that was sent away resumes at the next gateway, and sees what was written in between."""
    first = await make_gateway()
    async with client(first) as web:
        await web.ask(type="subscribe", channel=CCTV)
        await web.take()
        first.publish(await journal.append(CCTV, [b"{}"] * 3))
        assert await web.take_events(3) == [1, 2, 3]
        draining = asyncio.create_task(first.drain(5))
        await web.closed()
        await draining
    await journal.append(CCTV, [b"{}"] * 2)
    second = await make_gateway()
    async with client(second) as web:
        assert (await web.ask(type="subscribe", channel=CCTV, epoch="k3f9", offset=3))["recovered"] is True
        assert await web.take_events(2) == [4, 5]
        assert (await web.take())["type"] == "live"


async def test_drain_ends_at_its_deadline(make_gateway: MakeGateway, journal: StoredJournal) -> None:
    """Clients that do not take their leave are dropped, half-open ones at the door too."""
    gateway = await make_gateway()
    gateway.publish(await journal.append(CCTV, [b'{"x":"%b"}' % (b"x" * 50_000)] * 400))
    stuck = await RawClient.open(gateway, receive_buffer=4096)
    await stuck.say(type="subscribe", channel=CCTV, offset=0)
    door = await RawClient.connect(gateway)
    await until(lambda: gateway._doors and any(c.paused for c in gateway._shared.connections))
    clock = asyncio.get_running_loop().time
    began = clock()
    await gateway.drain(0.2)
    assert clock() - began < 5
    assert gateway.stats.connections == 0
    assert await door.receive() == b""
    stuck.close()
    door.close()


async def test_nothing_begins_while_draining(gateway: Gateway, journal: StoredJournal) -> None:
    """A request that arrives after the drain frame is not answered any more, and no data follows the close."""
    gateway.publish(await journal.append(CCTV, [b"{}"] * 10))
    raw = await RawClient.open(gateway)
    await until(lambda: gateway.stats.connections == 1)
    draining = asyncio.create_task(gateway.drain(0.5))
    assert (await raw.take())["type"] == "drain"
    await raw.say(type="subscribe", channel=CCTV, offset=0)
    gateway.publish(await journal.append(CCTV, [b"{}"]))
    assert await raw.close_code() == 1012
    await draining
    raw.close()


async def test_after_a_drain_nobody_reads_the_journal(gateway: Gateway, journal: StoredJournal) -> None:
    """When drain returns the journal may be closed: no page is on its way."""
    gateway.publish(await journal.append(CCTV, [b"{}"] * 10))
    journal.open_gate.clear()
    async with client(gateway) as web:
        await web.ask(type="subscribe", channel=CCTV, offset=0)
        await until(lambda: journal.reads == 1)
        await gateway.drain(0.1)
        assert not gateway._shared.replay._workers


async def test_a_connection_in_use_sees_the_close(gateway: Gateway) -> None:
    """The library's client raises its ordinary exception, with our code and reason."""
    async with client(gateway) as web:
        await web.ask(type="ping")
        draining = asyncio.create_task(gateway.drain(5))
        await web.take()
        with pytest.raises(ConnectionClosed) as closed:
            await web.take()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1012, "the server restarts")
        await draining
