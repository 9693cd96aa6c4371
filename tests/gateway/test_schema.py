"""The schema frame: for those who ask, in its place in the stream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.server import Gateway
from journal.sqlite import SqliteJournal
from journal.types import GAP, INSERT, Change, Transaction
from tests.gateway.clients import Client, client

CHANNEL = "c"


def described(names: str) -> bytes:
    return msgspec.json.encode([{"name": one, "type": "int", "nullable": True, "key": False} for one in names.split()])


class Source:
    """A journal with a gateway. ``columns`` are those of the rows that are added next, a space between them."""

    def __init__(self, journal: SqliteJournal, gateway: Gateway) -> None:
        self.journal = journal
        self.gateway = gateway

    async def add(self, *batch: int | str) -> None:
        """Append a transaction and publish it: rows by their numbers, and before them columns that they have."""
        changes, columns = [], b""
        for one in batch:
            if isinstance(one, str):
                columns = described(one)
            else:
                changes.append(Change(CHANNEL, INSERT, b'{"n":%d}' % one, columns=columns))
        self.gateway.publish(await self.journal.append([Transaction(changes, "here", 0.0)]))

    async def look(self, columns: str) -> None:
        """The capture has asked the table."""
        told = Transaction((), "here", 0.0, columns={CHANNEL: described(columns)})
        self.gateway.publish(await self.journal.append([told]))


@pytest.fixture
async def clock() -> list[float]:
    """The time of the journal."""
    return [0.0]


@pytest.fixture
async def source(tmp_path: Path, clock: list[float]) -> AsyncIterator[Source]:
    """With little memory, so that replay reads the file too."""
    journal = await SqliteJournal.open(tmp_path / "journal.db", [CHANNEL], tail_bytes=4096, clock=lambda: clock[0])
    gateway = Gateway(journal, channels=[CHANNEL], host="127.0.0.1", port=0, origins=[], readiness=lambda: (True, {}))
    await gateway.start()
    gateway.set_source("live", 0)
    yield Source(journal, gateway)
    await gateway.drain(0)
    await journal.close()


async def told(web: Client, until: object) -> list[Any]:
    """What comes up to this row, type of frame or columns: columns by their names, rows by their numbers."""
    story: list[Any] = []
    while not story or story[-1] != until:
        frame = await web.take()
        if frame.get("type") == "schema":
            story.append(" ".join(column["name"] for column in frame["columns"]))
        else:
            story.append(frame["message"]["n"] if "channel" in frame else frame["type"])
    return story


async def ask(web: Client, **more: Any) -> None:
    await web.say(type="subscribe", channel=CHANNEL, **{"schema": True, **more})


async def test_whoever_replays_is_told_the_shapes_of_then(source: Source) -> None:
    """From the beginning, from the middle of a shape, from its border: each row stands behind its own columns."""
    await source.add("a", 1, 2, "a b", 3, 4, 5)
    await source.add("a b c", *range(6, 2000))
    async with client(source.gateway) as web:
        await ask(web, offset=0)
        expected = ["subscribed", "a", 1, 2, "a b", 3, 4, 5, "a b c", *range(6, 2000), "live"]
        assert await told(web, "live") == expected
        for after, first in ((1, "a"), (2, "a b"), (3, "a b"), (5, "a b c")):
            await ask(web, epoch=source.journal.epoch, offset=after)
            assert (await told(web, "live"))[:3] == ["subscribed", first, after + 1]


async def test_who_is_live_is_told_before_the_first_row_of_another_shape(source: Source) -> None:
    """Once, wherever in a batch it begins; who has not asked gets the rows alone."""
    await source.add("a", 1)
    async with client(source.gateway) as web, client(source.gateway) as plain:
        await ask(plain, schema=False)
        await ask(web)
        assert await told(web, "live") == ["subscribed", "a", "live"]
        await source.add("a", 2)
        await source.add("a", 3, "a b", 4, 5)
        await source.add("a b", 6)
        await source.add("a b", 7, "b", 8, "a b", 9)
        story = await told(web, 9)
        assert [one for one in story if one != "live"] == [2, 3, "a b", 4, 5, 6, 7, "b", 8, "a b", 9]
        assert await told(plain, 9) == ["subscribed", "live", *range(2, 10)]


async def test_a_schema_is_told_before_any_row(source: Source) -> None:
    """At once to those who wait for it, right after `subscribed` to newcomers, and not again with the first row."""
    async with client(source.gateway) as web:
        await ask(web)
        assert await told(web, "live") == ["subscribed", "live"]
        await source.look("a")
        assert await told(web, "live") == ["a", "live"]
        async with client(source.gateway) as newcomer:
            await ask(newcomer)
            assert await told(newcomer, "live") == ["subscribed", "a", "live"]
            await source.look("a")
            await source.add("a", 1)
            assert await told(newcomer, 1) == [1]
        assert await told(web, 1) == [1]


async def test_a_shape_that_no_row_had_is_taken_back(source: Source) -> None:
    """Who was told of it is told of what took its place; who comes later never hears of it."""
    await source.add("a", 1)
    async with client(source.gateway) as web:
        await ask(web)
        await told(web, "live")
        await source.look("b")
        assert await told(web, "live") == ["b", "live"]
        await source.look("c")
        assert await told(web, "live") == ["c", "live"]
        await source.add("a", 2)
        assert [one for one in await told(web, 2) if one != "live"] == ["a", 2]
        await ask(web, offset=0)
        story = await told(web, 2)
        assert story[story.index("subscribed") :] == ["subscribed", "a", 1, 2]


async def test_shapes_with_a_filter(source: Source) -> None:
    """They come in their place, replayed and live, whether or not a row of them passes."""
    await source.add("n", 1, "n b", 2, 3, "n c", 4, 3)
    async with client(source.gateway) as web:
        await ask(web, offset=0, where={"n": 3})
        assert await told(web, "live") == ["subscribed", "n", "n b", 3, "n c", 3, "live"]
        await source.add("n d", 4)
        assert await told(web, "live") == ["n d", "live"]
        await source.add("n d", 3, "n e", 3)
        assert [one for one in await told(web, "live") if one != "live"] == [3, "n e", 3]


async def test_behind_a_gap_the_schema_follows(source: Source, clock: list[float]) -> None:
    """What retention has taken, shapes among it, is a gap; then come the columns of the next row that is kept."""
    await source.add("a", 1)
    await source.add("b", 2)
    clock[0] = 100.0
    await source.add("c", 3)
    await source.journal.trim(50, 1 << 30)
    async with client(source.gateway) as web:
        await ask(web, epoch=source.journal.epoch, offset=0)
        assert await told(web, "live") == ["subscribed", "gap", "c", 3, "live"]


async def test_a_page_kept_in_memory_keeps_its_shapes(source: Source, clock: list[float]) -> None:
    """Somebody else may still read it when retention has taken its rows and shapes."""
    await source.add("a", 1, "b", 2, *range(3, 600))
    async with client(source.gateway) as web, client(source.gateway) as other:
        await ask(web, offset=0)
        await told(web, "live")
        clock[0] = 100.0
        await source.add("c", 600)
        epoch = source.journal.epoch
        await ask(other, epoch=epoch, offset=0)
        await source.journal.trim(50, 1 << 30)
        story = await told(other, "live")
    assert story[:4] in (["subscribed", "a", 1, "b"], ["subscribed", "gap", "c", 600])


async def test_a_gap_of_the_source_has_no_shape(source: Source) -> None:
    """It stands between the rows, and what it says about columns is nothing."""
    await source.add("a", 1)
    gap = Change(CHANNEL, GAP, b'{"reason":"purged"}')
    source.gateway.publish(await source.journal.append([Transaction([gap], "here", 0.0)]))
    await source.add("a", 2)
    async with client(source.gateway) as web:
        await ask(web, offset=0)
        assert await told(web, "live") == ["subscribed", "a", 1, "gap", 2, "live"]


async def test_the_frame_is_told_whole(source: Source) -> None:
    """Name, type, whether it may be NULL, whether it is in the key; a frame with `type` and no `channel`."""
    await source.add("id", 1)
    async with client(source.gateway) as web:
        await ask(web)
        assert (await web.take())["type"] == "subscribed"
        assert await web.connection.recv() == (
            '{"type":"schema","subscription":"c","columns":[{"name":"id","type":"int","nullable":true,"key":false}]}'
        )


async def refusal(web: Client, name: str) -> str | None:
    """Why a filter on this column is refused, if it is."""
    await ask(web, where={name: 1}, id=name)
    frame = await web.take()
    while frame.get("id") != name:
        frame = await web.take()
    assert frame["type"] == "subscribed" or frame["code"] == "bad_filter"
    return frame.get("reason")


async def test_a_filter_on_a_column_that_no_row_has_is_refused(source: Source) -> None:
    """By name; not one that rows still kept had, one that the table has got since, or a place inside a column."""
    async with client(source.gateway) as web:
        assert await refusal(web, "nobody_knows") is None
        await source.add("a", 1, "a b", 2, "a c", 3)
        assert await refusal(web, "d") == "where.d: no column d"
        assert [await refusal(web, name) for name in ("a", "b", "c", "c.d.e")] == [None] * 4
        await source.look("a d")
        assert [await refusal(web, name) for name in ("c", "d")] == [None] * 2


@pytest.mark.parametrize("state", ["catching_up", "down", "stalled"])
async def test_unread_rows_may_have_other_columns(source: Source, state: Any) -> None:
    """While the source is not live nobody knows what the next row has: a filter is believed."""
    await source.add("a", 1)
    source.gateway.set_source(state, 0)
    async with client(source.gateway) as web:
        assert await refusal(web, "b") is None


async def test_rows_of_unknown_shape_may_have_other_columns(source: Source, clock: list[float]) -> None:
    """As those from before an upgrade, for as long as one is kept."""
    await source.add(1)
    clock[0] = 100.0
    await source.add("a", 2)
    async with client(source.gateway) as web:
        assert await refusal(web, "b") is None
        await source.journal.trim(50, 1 << 30)
        assert await refusal(web, "b") is not None
