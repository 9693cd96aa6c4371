from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.handshake import Answer, Handshake
from gateway.origins import OriginPolicy
from gateway.upgrade import ordinary
from tests.gateway.clients import UPGRADE, request

CHROME = {
    "Host": "cams.example.org:8080",
    "Connection": "Upgrade",
    "Pragma": "no-cache",
    "Cache-Control": "no-cache",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0.0.0",
    "Upgrade": "websocket",
    "Origin": "http://cams.example.org:8000",
    "Sec-WebSocket-Version": "13",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Accept-Language": "en-US,en;q=0.9",
    "Cookie": "session=abc; theme=dark",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits",
}
FIREFOX = {
    **CHROME,
    "Connection": "keep-alive, Upgrade",
    "Sec-WebSocket-Extensions": "permessage-deflate",
    "Sec-Fetch-Mode": "websocket",
}
LIBRARY = {  # Python's websockets
    **UPGRADE,
    "Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits",
    "User-Agent": "Python/3.11 websockets/17.4",
}
HANDSHAKES = [
    Handshake(OriginPolicy(()), lambda: (True, {}), compression=True),
    Handshake(OriginPolicy(["https://cams.example.org"]), lambda: (True, {}), compression=False),
]

NAMES = st.sampled_from([*CHROME, "Sec-WebSocket-Protocol", "Content-Length", "Transfer-Encoding", "X-Any", "x y", "é"])
VALUES = st.one_of(
    st.sampled_from(
        [*CHROME.values(), *FIREFOX.values(), "", "0", "5", "8", "chat", "chunked", "null", "http://evil.example"]
    ),
    st.sampled_from(
        [
            "Upgrade, close",
            "WebSocket",
            "h2c",
            "dGhlIHNhbXBsZSBub25jZR==",
            "dGhlIHNhbXBsZSBub25jZQ=",
            "permessage-deflate; server_max_window_bits=9",
            "permessage-deflate; server_max_window_bits=10, permessage-deflate",
            "x-webkit-deflate-frame, permessage-deflate; client_no_context_takeover",
            "permessage-deflate;;",
            "permessage-deflate; nonsense",
            "a\rb",
            "a\x00b",
            "a\nb: c",
            "\x85",
        ]
    ),
    st.text(st.characters(max_codepoint=255), max_size=12),
)
LINES = st.sampled_from(
    ["GET / HTTP/1.1", "GET /?a=b HTTP/1.1", "GET /é HTTP/1.1", "GET / HTTP/1.0", "POST / HTTP/1.1", "GET  / HTTP/1.1"]
)


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """Requests of clients, with some of their lines changed, moved, left out, added or spelt in another way."""
    fields = list(draw(st.sampled_from([UPGRADE, CHROME, FIREFOX, LIBRARY])).items())
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(fields) - 1))
        name, value = fields[place]
        change = draw(st.sampled_from(["value", "name", "add", "drop", "case", "space"]))
        if change == "value":
            fields[place] = (name, draw(VALUES))
        elif change == "name":
            fields[place] = (draw(NAMES), value)
        elif change == "add":
            fields.insert(place, (draw(NAMES), draw(VALUES)))
        elif change == "drop" and len(fields) > 1:
            del fields[place]
        elif change == "case":
            fields[place] = (name.swapcase(), value.swapcase() if draw(st.booleans()) else value)
        else:
            fields[place] = (name, draw(st.sampled_from([" ", "\t", "\x0b"])) + value + " ")
    line = draw(LINES) if draw(st.integers(0, 4)) == 0 else "GET / HTTP/1.1"
    text = "\r\n".join([line, *(f"{name}:{value}" for name, value in fields), "", ""])
    return text.encode("latin-1", "replace")


def undated(answer: Answer) -> Answer:
    """An answer without the time of day."""
    return answer._replace(data=re.sub(rb"\r\nDate: [^\r]+ GMT\r\n", b"\r\nDate: now\r\n", answer.data))


@settings(max_examples=400, deadline=None)
@given(heads(), st.sampled_from(HANDSHAKES))
@example(request(**CHROME), HANDSHAKES[0])
@example(request(**CHROME), HANDSHAKES[1])
@example(request(**{**UPGRADE, "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ="}), HANDSHAKES[0])
@example(request(**{**UPGRADE, "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZR=="}), HANDSHAKES[0])
def test_what_is_accepted_by_ourselves_the_library_accepts_too(head: bytes, handshake: Handshake) -> None:
    """The same bytes but for the date, and the same agreement on compression."""
    ours = handshake._welcome(head)
    if ours is not None:
        assert undated(ours) == undated(handshake._consider(head))
        assert ours.upgraded
        assert b"\r\nDate: now\r\n" in undated(ours).data


@pytest.mark.parametrize("fields", [UPGRADE, CHROME, FIREFOX, LIBRARY], ids=["bare", "Chrome", "Firefox", "library"])
def test_ordinary_clients_need_no_library(fields: dict[str, str]) -> None:
    """Requests as clients write them are read and answered by ourselves."""
    assert ordinary(request(**fields)) is not None
    assert HANDSHAKES[0]._welcome(request(**fields)) is not None


@pytest.mark.parametrize(
    "head",
    [
        request(**{**UPGRADE, "Sec-WebSocket-Protocol": "chat"}),
        request(**{**UPGRADE, "Content-Length": "0"}),
        request(**UPGRADE, host="127.0.0.1"),
        request(**UPGRADE, x="y" * 8000),
        request(**UPGRADE, **{f"x{number}": "y" for number in range(120)}),
        request(**{**UPGRADE, "Sec-WebSocket-Extensions": "permessage-deflate;;"}),
        request(**{**UPGRADE, "Sec-WebSocket-Extensions": "x" * 300}),
        request(**UPGRADE, Origin="null"),
    ],
    ids=["subprotocol", "body", "twice", "long", "many", "syntax", "long-offer", "origin"],
)
def test_what_is_unusual_is_left_to_the_library(head: bytes) -> None:
    """Anything that most clients do not say gets the library's answer, whatever that is."""
    handshake = HANDSHAKES[0]
    assert handshake._welcome(head) is None
    assert undated(handshake.answer(head)) == undated(handshake._consider(head))
