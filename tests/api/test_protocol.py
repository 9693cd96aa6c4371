from __future__ import annotations

import asyncio

from api.protocol import WholeAnswers

HEAD = b"HTTP/1.1 201 Created\r\n\r\n"


class Transport:
    """Remembers what is done to it."""

    def __init__(self) -> None:
        self.done: list[object] = []

    def write(self, data: bytes) -> None:
        """Remember it."""
        self.done.append(data)

    def close(self) -> None:
        """Remember it."""
        self.done.append("close")

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return "close" in self.done

    def get_extra_info(self, name: str) -> str:
        """Its name."""
        return name


def whole():
    transport = Transport()
    return transport, WholeAnswers(transport, asyncio.get_running_loop())


async def test_head_and_body_go_out_together():
    """One write for an answer, and one for each later part of its body."""
    transport, answers = whole()
    answers.write(HEAD)
    answers.write(b"body")
    answers.write(b"more")
    answers.write(HEAD)
    answers.write(b"")
    await asyncio.sleep(0)
    assert transport.done == [HEAD + b"body", b"more", HEAD]


async def test_a_head_alone_goes_out_in_the_next_turn():
    """A stream begins with its head, however late the first event comes."""
    transport, answers = whole()
    answers.write(HEAD)
    assert transport.done == []
    await asyncio.sleep(0)
    assert transport.done == [HEAD]
    answers.write(b"event")
    assert transport.done == [HEAD, b"event"]


async def test_what_waits_goes_out_before_the_end():
    """A close loses nothing, and the rest of the transport is as it was."""
    transport, answers = whole()
    answers.write(HEAD)
    answers.close()
    await asyncio.sleep(0)
    assert transport.done == [HEAD, "close"]
    assert answers.is_closing()
    assert answers.get_extra_info("peername") == "peername"
