from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

from falcon import testing

from api.changes import DEFAULT_LIMIT, MAX_LIMIT, MAX_WAIT, MOST_BYTES
from api.errors import Failure
from api.feed import Feed
from api.stream import MEDIA_EVENTS, NO_ROOM_MS
from journal.opening import MAX_LAST
from journal.texts import RECONNECT_MS
from rowcast.settings import Api
from tests.api.client import ask
from tests.api.conftest import make_app
from tests.api.events import Events
from tests.api.stubs import Journal

DOCUMENT = Path(__file__).parents[2] / "docs" / "http.md"
BLOCK = re.compile(r"^```http (request|answer)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RETRY = re.compile(r"^retry: \d+$", re.MULTILINE)
CHECKS = {
    "source": "down: the connection to the server was lost",
    "lag": None,
    "gaps": None,
    "journal": None,
    "process": None,
    "database": None,
}


class Message(NamedTuple):
    """A request or an answer as the document writes it."""

    first: str
    headers: dict[str, str]
    body: str

    @classmethod
    def parse(cls, text):
        """From the text between the fences."""
        head, _, body = text.partition("\n\n")
        first, *lines = head.splitlines()
        return cls(first, dict(line.split(": ", 1) for line in lines), body)


def examples():
    """The requests of the document, each with the answer that follows it, if one does."""
    pairs = []
    for kind, text in BLOCK.findall(DOCUMENT.read_text()):
        if kind == "request":
            pairs.append([Message.parse(text), None])
        else:
            pairs[-1][1] = Message.parse(text)
    return pairs


async def test_every_example_is_answered_as_written(make_writer, serve):
    """The requests of docs/http.md, one after the other, get the answers that stand below them."""
    server = await serve(results=await make_writer(), readiness=lambda: (False, CHECKS))
    asked = examples()
    assert any(expected and expected.headers.get("Content-Type") == MEDIA_EVENTS for _, expected in asked)
    assert len(asked) >= 8
    for question, expected in asked:
        method, path = question.first.split()
        headers = {name.replace("-", "_").lower(): value for name, value in question.headers.items()}
        answer = await ask(server.port, method, path, question.body.strip("\n").encode(), **headers)
        if expected is None:
            assert answer.status == 201, answer
            continue
        assert answer.status == int(expected.first.split()[0]), answer
        assert {name: answer.headers[name.lower()] for name in expected.headers} == expected.headers
        if answer.headers["content-type"] == MEDIA_EVENTS:
            await compare(server.port, path, expected.body)
        else:
            assert answer.json == json.loads(expected.body)


async def compare(port, path, written):
    """A stream begins as it is written, but for the random ``retry``."""
    async with await Events.open(port, path) as events:
        await events.take_until("live")
        assert RETRY.sub("retry: N", events.text) == RETRY.sub("retry: N", written.strip("\n") + "\n\n")


def test_every_path_stands_in_the_document():
    """What the OpenAPI document lists is explained to people too."""
    paths = testing.TestClient(make_app()).simulate_get("/openapi.json").json["paths"]
    text = DOCUMENT.read_text()
    assert [path for path in paths if path not in text] == []


def test_every_key_of_a_failure_stands_in_the_document():
    """Clients can look up each key that they may meet."""
    text = DOCUMENT.read_text()
    assert [name for name in Failure.__struct_fields__ if f"`{name}`" not in text] == []


def test_the_bounds_of_reading_are_ours():
    """Numbers in the text are those of the code."""
    text = DOCUMENT.read_text()
    assert f"`limit=` (1 to {MAX_LIMIT}, else {DEFAULT_LIMIT})" in text
    assert f"`wait=` (0 to {MAX_WAIT}, else 0)" in text
    assert f"about {MOST_BYTES // 1024} KiB at most" in text
    assert f"`last=` (0 to {MAX_LAST:,})" in text
    assert f"{RECONNECT_MS[0] / 1000:g} to {RECONNECT_MS[1] / 1000:g} seconds" in text
    assert f"{NO_ROOM_MS[0] // 1000} to {NO_ROOM_MS[1] // 1000} seconds" in text
    assert f"every {Feed(Journal()).heartbeat:g} seconds" in text
    assert f"| {Api().max_readers}, then `drain` or 503 |" in text
