import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from gateway.server import Gateway
from journal.sqlite import SqliteJournal
from journal.types import GAP, INSERT, Change, Transaction
from rowcast.errors import UNREACHABLE, USAGE, Failure
from rowcast.tail import Tail
from tests.waiting import until


class Source:
    """A journal with a gateway that can be taken away and brought back on the same port."""

    def __init__(self, journal: SqliteJournal) -> None:
        self.journal = journal
        self.port = 0

    async def start(self) -> None:
        """Bring the gateway (back)."""
        self.gateway = Gateway(
            self.journal,
            channels=["c"],
            host="127.0.0.1",
            port=self.port,
            origins=[],
            readiness=lambda: (True, {}),
        )
        await self.gateway.start()
        self.port = self.gateway.port
        self.gateway.set_source("live", 0)

    async def add(self, *messages: str, op: str = INSERT, old: str = "", live: bool = True) -> None:
        """Append a transaction, and publish it when the gateway is there."""
        changes = [Change("c", op, message.encode(), old.encode()) for message in messages]
        events = await self.journal.append([Transaction(changes, "x", 1.0)])
        if live:
            self.gateway.publish(events)


@pytest.fixture
async def source(tmp_path) -> AsyncIterator[Source]:
    """A running source with an empty channel c."""
    journal = await SqliteJournal.open(tmp_path / "journal.db", ["c"])
    source = Source(journal)
    await source.start()
    yield source
    await source.gateway.drain(0)
    await journal.close()


@pytest.fixture
async def follow(source):
    """Starts following; gives the lists that fill with events and notes."""
    tasks: list[asyncio.Task[None]] = []

    def _follow(last: int = 0) -> tuple[list[str], list[str]]:
        shown: list[str] = []
        noted: list[str] = []
        tail = Tail(f"ws://127.0.0.1:{source.port}/", "c", last, shown.append, noted.append)
        tasks.append(asyncio.create_task(tail.run()))
        return shown, noted

    yield _follow
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_the_newest_then_what_comes(source, follow):
    """`--last` begins in the past; then each new event is shown, one line of JSON each."""
    await source.add('{"n":1}', '{"n":2}', '{"n":3}')
    shown, _ = follow(last=2)
    await until(lambda: len(shown) == 2)
    await source.add('{"n":4}')
    await until(lambda: len(shown) == 3)
    assert [json.loads(line)["message"]["n"] for line in shown] == [2, 3, 4]
    assert json.loads(shown[-1]) == {"channel": "c", "offset": 4, "message": {"n": 4}}


async def test_updates_and_deletes_say_so(source, follow):
    """What was done to the row stands in its line."""
    await source.add('{"n":2}', op="update", old='{"n":1}')
    await source.add('{"n":2}', op="delete")
    shown, _ = follow(last=2)
    await until(lambda: len(shown) == 2)
    assert [json.loads(line) for line in shown] == [
        {"channel": "c", "offset": 1, "op": "update", "old": {"n": 1}, "message": {"n": 2}},
        {"channel": "c", "offset": 2, "op": "delete", "message": {"n": 2}},
    ]


async def test_it_comes_back_where_it_was(source, follow):
    """After a lost connection everything missed is shown, and nothing again."""
    await source.add('{"n":1}')
    shown, noted = follow(last=1)
    await until(lambda: len(shown) == 1)
    await source.gateway.drain(0)
    await until(lambda: any("coming back" in note for note in noted))
    await source.add('{"n":2}', '{"n":3}', live=False)
    await source.start()
    await until(lambda: len(shown) == 3)
    assert [json.loads(line)["offset"] for line in shown] == [1, 2, 3]


async def test_it_waits_with_no_event_seen_yet(source, follow):
    """The place where it subscribed is remembered too: nothing after it is missed, nothing before it shown."""
    await source.add('{"n":0}')
    shown, noted = follow()
    await until(lambda: source.gateway.stats.subscriptions == 1)
    await source.gateway.drain(0)
    await until(lambda: any("coming back" in note for note in noted))
    await source.add('{"n":1}', live=False)
    await source.start()
    await until(lambda: shown)
    assert [json.loads(line)["message"]["n"] for line in shown] == [1]


async def test_gaps_and_the_sources_state_are_notes(source, follow):
    """What is no event is told beside the events."""
    shown, noted = follow()
    await until(lambda: source.gateway.stats.subscriptions == 1)
    source.gateway.set_source("down", 1234)
    await source.add('{"reason":"purged"}', op=GAP)
    await source.add('{"reason":"unreadable","detail":"a write was logged as a statement"}', op=GAP)
    await source.add('{"n":3}')
    await until(lambda: len(shown) == 1)
    assert any("source down, 1234 ms behind" in note for note in noted)
    assert "gap: nothing between 0 and 2: purged" in noted
    assert "gap: nothing between 1 and 3: unreadable (a write was logged as a statement)" in noted


async def test_a_gap_is_passed_once(source, follow):
    """Who comes back right behind a gap is not told of it again."""
    _, noted = follow()
    await until(lambda: source.gateway.stats.subscriptions == 1)
    await source.add('{"reason":"purged"}', op=GAP)
    await until(lambda: any("gap" in note for note in noted))
    await source.gateway.drain(0)
    await source.start()
    shown_before = len(noted)
    await until(lambda: source.gateway.stats.subscriptions == 1)
    await source.add('{"reason":"reset"}', op=GAP)
    await until(lambda: any("reset" in note for note in noted[shown_before:]))
    assert [note for note in noted if "purged" in note] == ["gap: nothing between 0 and 2: purged"]


async def test_an_unknown_channel_is_a_matter_of_usage(source):
    """The gateway's refusal ends it."""
    tail = Tail(f"ws://127.0.0.1:{source.port}/", "nope", 0, print, print)
    with pytest.raises(Failure, match="nope") as caught:
        await tail.run()
    assert caught.value.exit_code == USAGE


async def test_nobody_there_at_first_is_told(free_port):
    """The first connection is not tried for ever."""
    tail = Tail(f"ws://127.0.0.1:{free_port}/", "c", 0, print, print)
    with pytest.raises(Failure, match="cannot be reached") as caught:
        await tail.run()
    assert caught.value.exit_code == UNREACHABLE


async def test_an_address_that_is_none_is_told():
    """http:// is no WebSocket URL."""
    with pytest.raises(Failure, match="is not a WebSocket URL") as caught:
        await Tail("http://127.0.0.1/", "c", 0, print, print).run()
    assert caught.value.exit_code == USAGE
