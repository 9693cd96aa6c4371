"""permessage-deflate: negotiated, made once for everybody, bounded on the way in."""

from __future__ import annotations

import hashlib
import json
import zlib

import pytest
from websockets.frames import Frame, Opcode

from gateway import frames
from gateway.deflate import LEAST, MOST, packed
from gateway.frames import deflated_frame, text_header
from gateway.handshake import Handshake
from gateway.origins import OriginPolicy
from gateway.server import Gateway
from tests.gateway.clients import UPGRADE, RawClient, client, request
from tests.gateway.conftest import MakeGateway
from tests.gateway.stored import StoredJournal
from tests.waiting import until

CCTV = "cctv_updates"
OFFER = {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"}  # what browsers say
AGREED = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
WINDOWS = "server_max_window_bits=12; client_max_window_bits=12"


def row(n: int, size: int = 5000) -> bytes:
    """A row that compresses well."""
    return json.dumps({"id": n, "cctv_id": n % 2, "text": f"row {n} " * (size // 7)}).encode()


def unpacked(payload: bytes) -> bytes:
    """What a client with a window of 4 KB makes of a compressed payload."""
    return zlib.decompressobj(-12).decompress(payload + b"\x00\x00\xff\xff")


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        (OFFER["Sec-WebSocket-Extensions"], AGREED),
        ("permessage-deflate", AGREED),
        (
            "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12",
            f"{AGREED}; server_max_window_bits=12; client_max_window_bits=12",
        ),
        ("permessage-deflate; server_max_window_bits=9", None),
        ("permessage-deflate; server_max_window_bits=9, permessage-deflate", AGREED),
        ("permessage-deflate; server_max_window_bits=7", None),
        ("permessage-deflate; nonsense=1", None),
        ("x-webkit-deflate-frame", None),
    ],
)
def test_offers_are_answered(offer: str, answer: str | None) -> None:
    """An offer whose client takes what we make is accepted, without memory of messages either way; others are not."""
    handshake = Handshake(OriginPolicy(()), lambda: (True, {}))
    head = request(**UPGRADE, **{"Sec-WebSocket-Extensions": offer})
    answered = handshake.answer(head)
    lines = answered.data.decode().split("\r\n")
    said = [line.partition(": ")[2] for line in lines if line.startswith("Sec-WebSocket-Extensions: ")]
    assert (answered.upgraded, answered.deflate) == (True, answer is not None)
    assert said == ([answer] if answer else [])
    off = Handshake(OriginPolicy(()), lambda: (True, {}), compression=False).answer(head)
    assert (off.upgraded, off.deflate, b"permessage" in off.data) == (True, False, False)


@pytest.mark.parametrize("size", [0, LEAST - 1, LEAST, 5000, 100_000, MOST, MOST + 1])
def test_only_what_gains_is_compressed(size: int) -> None:
    """Small and huge texts stay plain; what is compressed comes out as it was, in a window of 4 KB too."""
    text = (hashlib.shake_128(b"").hexdigest(3000).encode() * 100)[:size]  # comes again beyond a window of 4 KB
    frame = deflated_frame(text)
    if LEAST <= size <= MOST:
        assert frame[0] == 0xC1
        payload = frame[-len(packed(text)) :]
        assert unpacked(payload) == text
        assert len(frame) < size * 0.65
    else:
        assert frame[0] == 0x81
        assert frame.endswith(text)


def test_what_would_grow_stays_plain() -> None:
    """Random bytes gain nothing."""
    noise = hashlib.shake_128(b"").digest(2000)
    assert len(packed(noise)) > 2000
    assert deflated_frame(noise) == text_header(2000) + noise


async def test_everybody_reads_the_same(gateway: Gateway, journal: StoredJournal) -> None:
    """With compression or without, filtered or not, live and replayed: each client reads the rows as they are."""
    kept = [row(n) for n in range(100)]
    gateway.publish(await journal.append(CCTV, kept))
    async with client(gateway, compression="deflate") as packing, client(gateway) as plain:
        for where, step in ((None, 1), ({"cctv_id": 0}, 2)):
            for web in (packing, plain):
                await web.ask(type="subscribe", channel=CCTV, where=where, offset=0)
                seen = [frame["message"] for frame in (await web.take_until("live"))[:-1]]
                assert seen == [json.loads(text) for text in kept[::step]]
            new = [row(0), row(1, 10), row(2), row(3)]
            kept += new
            gateway.publish(await journal.append(CCTV, new))
            for web in (packing, plain):
                assert [(await web.take())["message"] for _ in new[::step]] == [
                    json.loads(text) for text in new[::step]
                ]
        assert gateway.stats.deflating == 1
    await until(lambda: gateway.stats.deflating == 0)


async def test_a_frame_is_compressed_once_for_all(
    gateway: Gateway, journal: StoredJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty clients, live and then replaying, with filters and without: each run of events is compressed once."""
    made: list[bytes] = []
    monkeypatch.setattr(frames, "packed", lambda text: made.append(text) or packed(text))
    raws = [await deflating(gateway) for _ in range(20)]
    for n, raw in enumerate(raws):
        await raw.say(type="subscribe", channel=CCTV, where={"cctv_id": 1} if n % 2 else None)
    await until(lambda: len(gateway._shared.hub._topics[CCTV].groups) == 2 and gateway.stats.subscriptions == 20)
    gateway.publish(await journal.append(CCTV, [row(1), row(2)]))
    assert len(made) == 2
    deliveries = gateway.stats.deliveries
    for raw in raws:
        await raw.say(type="subscribe", channel=CCTV, offset=0)
    await until(lambda: gateway.stats.deliveries == deliveries + 40)
    assert len(made) <= 2 + 2 * 4  # once for each worker at most: a page that is being read is nobody's yet


async def test_nothing_is_compressed_for_clients_that_cannot(
    gateway: Gateway, journal: StoredJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a client that negotiated it no time is spent."""
    monkeypatch.setattr(frames, "packed", None)
    async with client(gateway) as web:
        await web.ask(type="subscribe", channel=CCTV)
        gateway.publish(await journal.append(CCTV, [row(1)]))
        assert (await web.take())["type"] == "live"
        assert await web.take_events(1) == [1]


async def deflating(gateway: Gateway) -> RawClient:
    """A raw client that has negotiated compression."""
    raw = await RawClient.connect(gateway)
    await raw.send(request(**UPGRADE, **OFFER))
    assert AGREED.encode() in await raw.head()
    return raw


def asked(text: bytes, opcode: Opcode = Opcode.TEXT, fin: bool = True, rsv1: bool = True) -> bytes:
    """A client's frame with a payload that is compressed already."""
    frame = Frame(opcode, text, fin).serialize(mask=True)
    return bytes([frame[0] | rsv1 << 6]) + frame[1:]


async def test_compressed_requests_are_understood(gateway: Gateway) -> None:
    """In one frame, in fragments, or plain among them; afterwards no window is kept."""
    raw = await deflating(gateway)
    question = packed(b'{"type":"ping","id":1}')
    await raw.send(asked(question))
    await raw.send(asked(question[:5], fin=False) + asked(question[5:], Opcode.CONT, rsv1=False))
    await raw.send(asked(b'{"type":"ping","id":1}', rsv1=False))
    assert [await raw.take() for _ in range(3)] == [{"type": "pong", "id": 1}] * 3
    (connection,) = gateway._shared.connections
    (extension,) = connection._protocol.extensions
    assert not hasattr(extension, "decoder")
    raw.close()


LONG = packed(b" " * 80_000)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (asked(packed(b" " * 65_537)), 1009),
        (asked(zlib.compress(b" " * 50_000_000, 9)[2:-4]), 1009),
        (asked(LONG[:60], fin=False) + asked(LONG[60:], Opcode.CONT, rsv1=False), 1009),
        (asked(b"\xff\xff\xff"), 1002),
        (asked(packed(b"\xff")), 1007),
        (asked(b"", Opcode.PING), 1002),
    ],
    ids=["large", "bomb", "fragments", "garbage", "not-utf-8", "control"],
)
async def test_broken_compression_ends_with_the_right_code(gateway: Gateway, data: bytes, code: int) -> None:
    """A deflate bomb ends at the bound of a message, what cannot be decompressed as a broken frame."""
    raw = await deflating(gateway)
    await raw.send(data)
    assert await raw.close_code() == code
    raw.close()


async def test_compression_that_was_not_agreed_on_is_a_broken_frame(make_gateway: MakeGateway) -> None:
    """Turned off, or not offered, a compressed message ends the connection."""
    for gateway, offer in ((await make_gateway(compression=False), OFFER), (await make_gateway(), {})):
        raw = await RawClient.connect(gateway)
        await raw.send(request(**UPGRADE, **offer))
        assert b"permessage" not in await raw.head()
        await raw.send(asked(packed(b'{"type":"ping"}')))
        assert await raw.close_code() == 1002
        raw.close()
