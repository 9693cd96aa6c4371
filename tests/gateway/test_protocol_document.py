"""docs/protocol.md is executed: every example is a real frame."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gateway import limits, wire
from gateway.connection import NEW_EPOCH, UNREAD
from gateway.replay import JOURNAL_FAILED
from gateway.server import Gateway
from gateway.session import Rules, Session
from journal.opening import Bounds
from journal.texts import RECONNECT_MS, Data, encode, event_text
from journal.types import INSERT, Event
from tests.gateway.clients import client
from tests.gateway.recorder import Recorder
from tests.gateway.stored import StoredJournal

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "protocol.md").read_text()
CHANNEL = "cctv_updates"


def examples(kind: str) -> Iterator[str]:
    """The lines of all fenced blocks marked ``json KIND``."""
    for block in re.findall(rf"^```json {kind}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL):
        yield from block.splitlines()


def keys(line: str) -> list[str]:
    return list(json.loads(line))


@pytest.mark.parametrize("line", list(examples("client")))
def test_client_frames_are_understood(line: str) -> None:
    """Each request in the document is decoded, with every key it shows known, and encodes to the same again."""
    request = wire.decode(line)
    known = {field.encode_name for field in msgspec.structs.fields(request)} | {"type"}
    assert set(keys(line)) <= known
    again = json.loads(encode(request))
    assert {key: value for key, value in again.items() if value is not None} == json.loads(line)


@pytest.mark.parametrize("line", list(examples("server")))
def test_server_frames_are_ours(line: str) -> None:
    """Each frame of the server is exactly what the gateway writes: keys, their order, and no others."""
    if "channel" in keys(line):
        data = msgspec.json.decode(line, type=Data)
        old = b"" if data.old is None else encode(data.old)
        event = Event(data.channel, data.offset, data.op or INSERT, bytes(data.message), 0.0, old)
        assert event_text(event).decode() == line
        order = ["channel", "offset", "op", "old", "message"]
        assert keys(line) == [key for key in order if key in keys(line)]
    else:
        assert encode(msgspec.json.decode(line, type=wire.Control)).decode() == line


@pytest.mark.parametrize("code", ["bad_request", "unknown_channel", "bad_filter"])
def test_refusals_are_refused(code: str) -> None:
    """Each request that the document calls wrong gets the error code it says."""
    lines = list(examples(f"refused {code}"))
    assert lines
    bounds = {CHANNEL: Bounds("k3f9", 1, 5000)}
    for line in lines:
        (error,) = Session(Rules(bounds.get, 64), Recorder()).receive(line).replies
        assert isinstance(error, wire.Error)
        assert (error.code, line) == (code, line)


async def test_the_conversation_happens(gateway: Gateway, journal: StoredJournal) -> None:
    """The conversation in the document is had with a real gateway, word for word."""
    for ids in (range(101, 105), range(105, 107)):
        gateway.publish(await journal.append(CHANNEL, [b'{"id":%d}' % n for n in ids]))
    await journal.trim(CHANNEL, 5)
    lines = list(examples("conversation"))
    assert len(lines) > 8
    async with client(gateway) as web:
        for line in lines:
            direction, frame = line[:2], line[2:]
            if direction == "> ":
                await web.connection.send(frame)
            else:
                assert await web.connection.recv() == frame


def test_every_frame_is_shown() -> None:
    """No type of frame is missing from the document, in either direction, and no error code or source state."""
    shown = {json.loads(line)["type"] for line in examples("client")}
    assert shown == {request.__struct_config__.tag for request in wire.REQUESTS}
    shown = {json.loads(line).get("type", "data") for line in examples("server")}
    assert shown == {control.__struct_config__.tag for control in wire.CONTROLS} | {"data"}
    for literal in (*wire.ErrorCode.__args__, *wire.SourceState.__args__):  # type: ignore[attr-defined]
        assert f"`{literal}`" in TEXT


def test_the_numbers_are_ours() -> None:
    """Bounds and times in the text are those of the code."""
    timing, bounds = limits.Timing(), limits.Limits()
    assert f"0 to {wire.MAX_LAST:,}" in TEXT
    assert str(wire.MAX_OFFSET) in TEXT
    assert f"every {timing.heartbeat:.0f} seconds" in TEXT
    assert f"After {timing.ping:.0f} seconds" in TEXT
    assert f"after {timing.silence:.0f} seconds of silence" in TEXT
    assert f"closed after {timing.unread:.0f} seconds" in TEXT
    assert f"within {timing.handshake:.0f} seconds" in TEXT
    assert f"at most {limits.MAX_HEAD // 1024} KiB" in TEXT
    assert f"{limits.CONTROL_ALLOWANCE // 1024} KiB beyond" in TEXT
    assert f"more than {bounds.max_buffer >> 20} MiB" in TEXT
    assert f"at most {bounds.max_message // 1024} KiB (`gateway.max_message`)" in TEXT
    assert f"up to {bounds.max_subscriptions} subscriptions" in TEXT
    assert json.dumps(RECONNECT_MS).replace(" ", "") in TEXT
    for code in (JOURNAL_FAILED, NEW_EPOCH, UNREAD):
        assert f"| {code} |" in TEXT
