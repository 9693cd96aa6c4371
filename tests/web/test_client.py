"""client.js under Node against a scripted gateway: whatever happens, each offset reaches the handler once, in order."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.waiting import until
from tests.web.node import NodeProgram
from tests.web.scripted import CHANNEL, Peer, ScriptedGateway

HERE = Path(__file__).parent
Start = Callable[..., NodeProgram]
NEVER_MS = 10_000_000  # a pause that no test outlives


def rows(lines: Sequence[Any]) -> list[tuple[str, int]]:
    """The (epoch, offset) of each call of the handler."""
    return [tuple(line["row"]) for line in lines if "row" in line]


def told(lines: Sequence[Any], name: str) -> list[Any]:
    """What was said under one name: "state", "gap", "error", "live" and so on."""
    return [line[name] for line in lines if name in line]


def offsets(epoch: str, first: int, last: int) -> list[tuple[str, int]]:
    """The cursors from one offset to another, both included."""
    return [(epoch, offset) for offset in range(first, last + 1)]


def saw(*expected: tuple[str, int]) -> Callable[[Sequence[Any]], bool]:
    """True once the last of these rows was handed over (what came before is for the test to compare)."""
    return lambda lines: rows(lines)[-1:] == [expected[-1]]


def is_now(state: str) -> Callable[[Sequence[Any]], bool]:
    """True while this is the newest state."""
    return lambda lines: told(lines, "state")[-1:] == [state]


async def test_newest_rows_then_live(subscriber: Start) -> None:
    """`last` goes out on subscribe, rows arrive with epoch and offset, and the state tells of catching up."""

    async def serve(peer: Peer) -> None:
        asked = await peer.accept("k3f9", 40)
        assert {**asked, "id": 0} == {"type": "subscribe", "channel": CHANNEL, "last": 3, "id": 0}
        await peer.events(41, 43)
        await peer.live(43)
        await peer.event(44)

    async with ScriptedGateway(serve) as gateway, subscriber(gateway.url, subscribe={"last": 3}) as client:
        lines = await client.until(saw(("k3f9", 44)))
    assert rows(lines) == offsets("k3f9", 41, 44)
    assert told(lines, "live") == [{"epoch": "k3f9", "offset": 43}]
    assert told(lines, "state") == ["catching_up", "live"]
    assert [line["op"] for line in lines if "row" in line] == ["insert"] * 4


async def test_updates_and_deletes_are_handed_over(subscriber: Start) -> None:
    """The handler hears what was done to the row, and of an update what was before."""

    async def serve(peer: Peer) -> None:
        await peer.accept("k3f9", 0)
        await peer.event(1)
        await peer.change(2, {"op": "update", "old": {"cctv_id": 9}})
        await peer.change(3, {"op": "delete"})

    async with ScriptedGateway(serve) as gateway, subscriber(gateway.url) as client:
        lines = await client.until(saw(("k3f9", 3)))
    assert [(line["op"], line.get("old")) for line in lines if "row" in line] == [
        ("insert", None),
        ("update", {"cctv_id": 9}),
        ("delete", None),
    ]


async def test_schemas_are_handed_over_to_who_asks(subscriber: Start) -> None:
    """With `onSchema` the client asks for them, again after a reconnect, and hears each between the rows."""

    async def first(peer: Peer) -> None:
        assert (await peer.accept("k3f9", 0))["schema"] is True
        await peer.control("schema", subscription=CHANNEL, columns=[{"name": "a"}])
        await peer.event(1)
        await peer.control("schema", subscription=CHANNEL, columns=[{"name": "a"}, {"name": "b"}])
        await peer.event(2)
        await peer.heard("ping")
        peer.cut()

    async def second(peer: Peer) -> None:
        assert (await peer.accept("k3f9", 2))["schema"] is True
        await peer.control("schema", subscription=CHANNEL, columns=[{"name": "a"}, {"name": "b"}])
        await peer.event(3)

    async with (
        ScriptedGateway(first, second) as gateway,
        subscriber(gateway.url, subscribe={"schema": True}) as client,
    ):
        await client.until(saw(("k3f9", 2)))
        await client.order("show")
        lines = await client.until(saw(("k3f9", 3)))
    story = [line.get("columns", line.get("row")) for line in lines if "row" in line or "columns" in line]
    assert story == [["a"], ["k3f9", 1], ["a", "b"], ["k3f9", 2], ["a", "b"], ["k3f9", 3]]


async def test_without_last_only_from_now_on(subscriber: Start) -> None:
    """A subscription without options asks for nothing but the channel, as the original client did."""

    async def serve(peer: Peer) -> None:
        asked = await peer.accept("k3f9", 40)
        assert asked.keys() == {"type", "channel", "id"}
        await peer.live(40)

    async with ScriptedGateway(serve) as gateway, subscriber(gateway.url) as client:
        await client.until(is_now("live"))


async def test_cut_connection_is_resumed_after_the_last_row(subscriber: Start) -> None:
    """After a cut the cursor goes out, and rows that the server repeats are dropped."""

    async def first(peer: Peer) -> None:
        await peer.accept("k3f9", 0)
        await peer.events(1, 5)
        await peer.live(5)
        await peer.heard("ping")  # the client has read all that
        peer.cut()

    async def second(peer: Peer) -> None:
        asked = await peer.accept("k3f9", 5)
        assert (asked["epoch"], asked["offset"]) == ("k3f9", 5)
        assert "last" not in asked
        await peer.events(3, 9)

    async with ScriptedGateway(first, second) as gateway, subscriber(gateway.url, subscribe={"last": 5}) as client:
        await client.until(is_now("live"))
        await client.order("show")
        lines = await client.until(saw(("k3f9", 9)))
    assert rows(lines) == offsets("k3f9", 1, 9)
    assert "offline" in told(lines, "state")


async def test_cut_before_the_first_row_resumes_where_the_answer_said(subscriber: Start) -> None:
    """The cursor begins with the answer to subscribe: rows committed while away are not missed."""

    async def first(peer: Peer) -> None:
        await peer.accept("k3f9", 7)
        await peer.live(7)
        await peer.heard("ping")
        peer.cut()

    async def second(peer: Peer) -> None:
        asked = await peer.accept("k3f9", 7)
        assert (asked["epoch"], asked["offset"]) == ("k3f9", 7)
        await peer.events(8, 9)

    async with ScriptedGateway(first, second) as gateway, subscriber(gateway.url) as client:
        await client.until(is_now("live"))
        await client.order("show")
        assert rows(await client.until(saw(("k3f9", 9)))) == offsets("k3f9", 8, 9)


async def test_repeated_rows_are_dropped(subscriber: Start) -> None:
    """A row that comes twice on one connection is handed over once."""

    async def serve(peer: Peer) -> None:
        await peer.accept("k3f9", 0)
        for offset in (1, 1, 2, 1, 3, 2, 3, 4):
            await peer.event(offset)

    async with ScriptedGateway(serve) as gateway, subscriber(gateway.url) as client:
        assert rows(await client.until(saw(("k3f9", 4)))) == offsets("k3f9", 1, 4)


async def test_a_hole_is_fetched_again(subscriber: Start) -> None:
    """A missing offset is never passed over: the client comes back with its last good cursor."""

    async def first(peer: Peer) -> None:
        await peer.accept("k3f9", 0)
        await peer.events(1, 2)
        await peer.events(4, 6)

    async def second(peer: Peer) -> None:
        asked = await peer.accept("k3f9", 2)
        assert (asked["epoch"], asked["offset"]) == ("k3f9", 2)
        await peer.events(3, 6)

    async with ScriptedGateway(first, second) as gateway, subscriber(gateway.url) as client:
        lines = await client.until(saw(("k3f9", 6)))
    assert rows(lines) == offsets("k3f9", 1, 6)
    assert told(lines, "error") == ["hole"]


async def test_a_hole_at_the_end_shows_when_the_server_says_live(subscriber: Start) -> None:
    """`live` at an offset that was never seen is a hole too; without it the last row could go missing unseen."""

    async def first(peer: Peer) -> None:
        await peer.accept("k3f9", 0)
        await peer.events(1, 2)
        await peer.live(3)

    async def second(peer: Peer) -> None:
        assert (await peer.accept("k3f9", 2))["offset"] == 2
        await peer.event(3)

    async with ScriptedGateway(first, second) as gateway, subscriber(gateway.url) as client:
        assert rows(await client.until(saw(("k3f9", 3)))) == offsets("k3f9", 1, 3)


async def test_a_gap_is_told_and_passed_over_once(subscriber: Start) -> None:
    """A gap reaches onGap, the cursor moves to its end, and its repetition is dropped like a repeated row."""
    gap = {"subscription": CHANNEL, "after": 2, "before": 10, "reason": "purged"}

    async def first(peer: Peer) -> None:
        await peer.accept("k3f9", 0)
        await peer.events(1, 2)
        await peer.control("gap", **gap)
        await peer.control("gap", **gap)
        await peer.event(10)
        await peer.heard("ping")
        peer.cut()

    async def second(peer: Peer) -> None:
        assert (await peer.accept("k3f9", 10))["offset"] == 10
        await peer.event(11)

    async with ScriptedGateway(first, second) as gateway, subscriber(gateway.url) as client:
        await client.until(saw(("k3f9", 10)))
        await client.order("show")
        lines = await client.until(saw(("k3f9", 11)))
    assert rows(lines) == [("k3f9", 1), ("k3f9", 2), ("k3f9", 10), ("k3f9", 11)]
    assert told(lines, "gap") == [{"type": "gap", **gap}]


async def test_a_gap_as_the_last_thing_seen_moves_the_cursor(subscriber: Start) -> None:
    """Cut right after a gap, the client resumes at the gap's end."""

    async def first(peer: Peer) -> None:
        await peer.accept("k3f9", 2)
        await peer.control("gap", subscription=CHANNEL, after=2, before=10, reason="purged")
        await peer.heard("ping")
        peer.cut()

    async def second(peer: Peer) -> None:
        assert (await peer.accept("k3f9", 9))["offset"] == 9
        await peer.event(10)

    async with ScriptedGateway(first, second) as gateway, subscriber(gateway.url) as client:
        await client.until(lambda lines: bool(told(lines, "gap")))
        await client.order("show")
        await client.until(saw(("k3f9", 10)))


async def test_a_gap_that_begins_beyond_the_cursor_hides_a_hole(subscriber: Start) -> None:
    """Rows between the cursor and a gap are not part of the gap: they are fetched."""

    async def first(peer: Peer) -> None:
        await peer.accept("k3f9", 0)
        await peer.event(1)
        await peer.control("gap", subscription=CHANNEL, after=2, before=10, reason="purged")

    async def second(peer: Peer) -> None:
        assert (await peer.accept("k3f9", 1))["offset"] == 1
        await peer.event(2)
        await peer.control("gap", subscription=CHANNEL, after=2, before=10, reason="purged")
        await peer.event(10)

    async with ScriptedGateway(first, second) as gateway, subscriber(gateway.url) as client:
        lines = await client.until(saw(("k3f9", 10)))
    assert rows(lines) == [("k3f9", 1), ("k3f9", 2), ("k3f9", 10)]
    assert len(told(lines, "gap")) == 1


async def resume_with_loss(subscriber: Start, answer: tuple[str, int], gap: dict[str, Any]) -> list[Any]:
    """Offsets 1 to 5 of k3f9, a cut, then an answer with `recovered: false`, its gap, and one row."""

    async def first(peer: Peer) -> None:
        await peer.accept("k3f9", 0)
        await peer.events(1, 5)
        await peer.heard("ping")
        peer.cut()

    async def second(peer: Peer) -> None:
        await peer.accept(*answer, recovered=False)
        await peer.control("gap", subscription=CHANNEL, **gap)
        await peer.event(gap["before"])
        await peer.live(gap["before"])

    async with ScriptedGateway(first, second) as gateway, subscriber(gateway.url) as client:
        await client.until(saw(("k3f9", 5)))
        await client.order("show")
        return await client.until(is_now("live"))


async def test_resume_below_the_floor(subscriber: Start) -> None:
    """Retention has passed the cursor: one gap, then the oldest row kept. The answer may name either end of the gap."""
    for offset in (5, 100):
        lines = await resume_with_loss(subscriber, ("k3f9", offset), {"after": 5, "before": 101, "reason": "retention"})
        assert rows(lines) == [*offsets("k3f9", 1, 5), ("k3f9", 101)]
        assert [gap["reason"] for gap in told(lines, "gap")] == ["retention"]


async def test_changed_epoch_is_adopted(subscriber: Start) -> None:
    """Offsets of another epoch are other rows: they are handed over though their numbers are lower."""
    lines = await resume_with_loss(subscriber, ("m2aa", 0), {"after": 0, "before": 1, "reason": "epoch"})
    assert rows(lines) == [*offsets("k3f9", 1, 5), ("m2aa", 1)]
    assert [gap["reason"] for gap in told(lines, "gap")] == ["epoch"]


async def test_drain_says_when_to_come_back(subscriber: Start) -> None:
    """After a drain frame and 1012 the client waits as long as it was asked to, not as long as its own back-off."""

    async def first(peer: Peer) -> None:
        await peer.accept("k3f9", 0)
        await peer.event(1)
        await peer.control("drain", reconnect_ms=[300, 400])
        await peer.close(1012)

    async def second(peer: Peer) -> None:
        assert (await peer.accept("k3f9", 1))["offset"] == 1
        await peer.event(2)

    async with (
        ScriptedGateway(first, second) as gateway,
        subscriber(gateway.url, feed={"backoffMs": [NEVER_MS] * 2}) as client,
    ):
        assert rows(await client.until(saw(("k3f9", 2)))) == offsets("k3f9", 1, 2)
    assert gateway.opened[1] - gateway.opened[0] >= 0.3


async def test_close_codes_below_4500_come_back(subscriber: Start) -> None:
    """4000 to 4499 are a pause."""

    async def first(peer: Peer) -> None:
        await peer.accept("k3f9", 0)
        await peer.close(4499, "too slow")

    async def second(peer: Peer) -> None:
        await peer.accept("k3f9", 0)
        await peer.event(1)

    async with ScriptedGateway(first, second) as gateway, subscriber(gateway.url) as client:
        await client.until(saw(("k3f9", 1)))


async def test_close_codes_from_4500_do_not(subscriber: Start) -> None:
    """4500 to 4999 are the end: state closed, an error with code and reason, no further connection."""

    async def serve(peer: Peer) -> None:
        await peer.accept("k3f9", 0)
        await peer.close(4500, "forbidden")

    async with ScriptedGateway(serve) as gateway, subscriber(gateway.url) as client:
        await client.until(is_now("closed"))
        await client.order("online")  # would end any pause
        lines = await client.until(lambda lines: bool(told(lines, "obeyed")))
        assert [(line["error"], line["message"]) for line in lines if "error" in line] == [("4500", "forbidden")]
    assert len(gateway.opened) == 1


async def test_silent_link_is_given_up(subscriber: Start) -> None:
    """Without any frame for `silenceMs` the link counts as dead, and another is made."""

    async def silent(peer: Peer) -> None:
        await peer.accept("k3f9", 0)
        await peer.event(1)

    async def second(peer: Peer) -> None:
        assert (await peer.accept("k3f9", 1))["offset"] == 1
        await peer.event(2)

    async with ScriptedGateway(silent, second) as gateway, subscriber(gateway.url, feed={"silenceMs": 200}) as client:
        assert rows(await client.until(saw(("k3f9", 2)))) == offsets("k3f9", 1, 2)


async def test_going_online_ends_the_pause(subscriber: Start) -> None:
    """The browser's `online` event connects at once, however long the pause was to be."""

    async def first(peer: Peer) -> None:
        await peer.accept("k3f9", 0)
        peer.cut()

    async def second(peer: Peer) -> None:
        await peer.accept("k3f9", 0)
        await peer.event(1)

    async with (
        ScriptedGateway(first, second) as gateway,
        subscriber(gateway.url, feed={"backoffMs": [NEVER_MS] * 2}) as client,
    ):
        await client.until(is_now("offline"))
        await client.order("online")
        await client.until(saw(("k3f9", 1)))


async def test_becoming_visible_ends_the_pause(subscriber: Start) -> None:
    """A tab that is looked at connects at once."""

    async def first(peer: Peer) -> None:
        await peer.accept("k3f9", 0)
        peer.cut()

    async def second(peer: Peer) -> None:
        await peer.accept("k3f9", 0)
        await peer.event(1)

    async with (
        ScriptedGateway(first, second) as gateway,
        subscriber(gateway.url, feed={"backoffMs": [NEVER_MS] * 2}) as client,
    ):
        await client.until(is_now("offline"))
        await client.order("show")
        await client.until(saw(("k3f9", 1)))


async def test_becoming_visible_probes_the_link(subscriber: Start) -> None:
    """Looked at again, the client asks for a sign of life; going out of sight it asks for nothing."""
    heard: list[str] = []

    async def serve(peer: Peer) -> None:
        await peer.accept("k3f9", 0)
        await peer.live(0)
        while heard[-1:] != ["unsubscribe"]:
            heard.append(json.loads(await peer.connection.recv())["type"])

    async with ScriptedGateway(serve) as gateway, subscriber(gateway.url) as client:
        await client.until(is_now("live"))
        for order in ("hide", "show", "hide", "leave"):
            await client.order(order)
        await until(lambda: "unsubscribe" in heard)
    assert heard == ["ping", "unsubscribe"]


async def test_first_connection_may_take_several_attempts(subscriber: Start) -> None:
    """A gateway that is not there yet is found when it comes."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    async def serve(peer: Peer) -> None:
        await peer.accept("k3f9", 0)
        await peer.event(1)

    async with subscriber(f"ws://127.0.0.1:{port}/") as client:
        await client.until(is_now("offline"))
        async with ScriptedGateway(serve, port=port):
            await client.until(saw(("k3f9", 1)))


async def test_handler_that_throws(subscriber: Start) -> None:
    """The page's own mistake is reported and costs no other row; the row counts as handed over."""

    async def serve(peer: Peer) -> None:
        await peer.accept("k3f9", 0)
        await peer.event(1, throws=True)
        await peer.event(2)

    async with ScriptedGateway(serve) as gateway, subscriber(gateway.url) as client:
        lines = await client.until(saw(("k3f9", 2)))
    assert rows(lines) == offsets("k3f9", 1, 2)
    assert told(lines, "error") == ["handler"]
    assert len(gateway.opened) == 1


async def test_filtered_subscription_skips_offsets(subscriber: Start) -> None:
    """With `where` offsets have holes by right; repeats are dropped still; `live` and `progress` move the cursor."""
    where = {"cctv_id": 3}

    async def first(peer: Peer) -> None:
        assert (await peer.accept("k3f9", 0))["where"] == where
        for offset in (2, 7, 7, 2, 9):
            await peer.event(offset)
        await peer.live(20)
        await peer.control("progress", subscription=CHANNEL, offset=25)
        await peer.control("progress", subscription=CHANNEL, offset=23)
        await peer.event(25)
        await peer.event(27)
        await peer.heard("ping")
        peer.cut()

    async def second(peer: Peer) -> None:
        asked = await peer.accept("k3f9", 27)
        assert (asked["where"], asked["offset"]) == (where, 27)
        await peer.event(31)

    async with ScriptedGateway(first, second) as gateway, subscriber(gateway.url, subscribe={"where": where}) as client:
        await client.until(saw(("k3f9", 27)))
        await client.order("show")
        lines = await client.until(saw(("k3f9", 31)))
    assert [offset for _, offset in rows(lines)] == [2, 7, 9, 27, 31]
    assert not told(lines, "error")


async def test_cursor_outlives_the_page(subscriber: Start) -> None:
    """With a storage, a new client resumes where the old one was, and asks no `last`."""

    async def first(peer: Peer) -> None:
        await peer.accept("k3f9", 0)
        await peer.events(1, 3)

    async def second(peer: Peer) -> None:
        asked = await peer.accept("k3f9", 3)
        assert (asked["epoch"], asked["offset"], asked.get("last")) == ("k3f9", 3, None)
        await peer.event(4)

    async with ScriptedGateway(first, second) as gateway:
        async with subscriber(gateway.url, saved={}, subscribe={"last": 3}) as client:
            await client.until(saw(("k3f9", 3)))
            await client.order("close")
            saved = told(await client.until(lambda lines: "close" in told(lines, "obeyed")), "saved")[-1]
        async with subscriber(gateway.url, saved=saved, subscribe={"last": 3}) as client:
            assert rows(await client.until(saw(("k3f9", 4)))) == [("k3f9", 4)]


async def test_cursor_is_stored_while_rows_come(subscriber: Start) -> None:
    """A page that is killed has stored its cursor too, a moment after the row."""

    async def serve(peer: Peer) -> None:
        await peer.accept("k3f9", 0)
        await peer.events(1, 3)

    async with ScriptedGateway(serve) as gateway, subscriber(gateway.url, saved={}) as client:
        await client.until(lambda lines: any('"offset":3' in str(saved) for saved in told(lines, "saved")))


async def test_rows_of_a_replaced_subscription_are_dropped(subscriber: Start) -> None:
    """Rows and answers for a subscription that was closed since are not the next one's."""

    async def serve(peer: Peer) -> None:
        await peer.accept("k3f9", 0)
        await peer.event(1)
        await peer.heard("unsubscribe")
        await peer.event(2)
        asked = await peer.heard("subscribe")
        await peer.control(
            "subscribed", subscription=CHANNEL, id=asked["id"] - 1, epoch="k3f9", offset=2, recovered=True
        )
        await peer.event(3)
        await peer.control("subscribed", subscription=CHANNEL, id=asked["id"], epoch="k3f9", offset=8, recovered=True)
        await peer.event(9)

    async with ScriptedGateway(serve) as gateway, subscriber(gateway.url) as client:
        await client.until(saw(("k3f9", 1)))
        await client.order("again")
        assert rows(await client.until(saw(("k3f9", 9)))) == [("k3f9", 1), ("k3f9", 9)]


async def test_one_subscription_per_channel(subscriber: Start) -> None:
    """A second one would silently replace the first at the server: it is refused at once."""

    async def serve(peer: Peer) -> None:
        await peer.accept("k3f9", 0)

    async with ScriptedGateway(serve) as gateway, subscriber(gateway.url) as client:
        await client.order("twice")
        lines = await client.until(lambda lines: bool(told(lines, "thrown")))
        assert CHANNEL in told(lines, "thrown")[0]


async def test_refused_subscription(subscriber: Start) -> None:
    """The server's error is told; the connection stays, and its state does not wait for that channel."""

    async def serve(peer: Peer) -> None:
        asked = await peer.heard("subscribe")
        await peer.control("error", id=asked["id"], code="unknown_channel", reason="no channel nowhere")

    async with ScriptedGateway(serve) as gateway, subscriber(gateway.url, channel="nowhere") as client:
        lines = await client.until(lambda lines: bool(told(lines, "error")) and is_now("live")(lines))
    assert told(lines, "error") == ["unknown_channel"]
    assert len(gateway.opened) == 1


async def test_source_state_shows(subscriber: Start) -> None:
    """A heartbeat that says the database is away becomes the client's state, until another says it is back."""

    async def serve(peer: Peer) -> None:
        await peer.accept("k3f9", 0)
        await peer.live(0)
        for source in ("down", "catching_up", "live"):
            await peer.control("heartbeat", source=source, lag_ms=12)

    async with ScriptedGateway(serve) as gateway, subscriber(gateway.url) as client:
        lines = await client.until(lambda lines: len(told(lines, "heartbeat")) == 3 and is_now("live")(lines))
    assert told(lines, "state") == ["catching_up", "live", "source_down", "catching_up", "live"]


async def test_nonsense_breaks_the_link_not_the_page(subscriber: Start) -> None:
    """A frame that is not JSON (a proxy's, say) makes the client resume elsewhere."""

    async def first(peer: Peer) -> None:
        await peer.accept("k3f9", 0)
        await peer.event(1)
        await peer.connection.send("<html>")

    async def second(peer: Peer) -> None:
        assert (await peer.accept("k3f9", 1))["offset"] == 1
        await peer.event(2)

    async with ScriptedGateway(first, second) as gateway, subscriber(gateway.url) as client:
        assert rows(await client.until(saw(("k3f9", 2)))) == offsets("k3f9", 1, 2)


async def test_pauses_double_up_to_ten_seconds(node: Start) -> None:
    """With the dice at their highest the pauses are 200 ms, 400 ms … 10 s; at their lowest there is none."""
    for dice, expected in ((1, [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]), (0, [0] * 8)):
        async with node(str(HERE / "pauses.mjs"), str(dice)) as program:
            lines = await program.until(lambda lines: bool(lines) and "ended" in lines[-1])
        assert lines[0] == expected


async def test_gateway_of_a_page(node: Start) -> None:
    """Host and scheme are the page's, the port is the one that the API wrote into it, or the default."""
    pages = [
        ("http:", "localhost", "8090", "ws://localhost:8090/"),
        ("https:", "cams.example", "443", "wss://cams.example:443/"),
        ("http:", "[::1]", "__GATEWAY_PORT__", "ws://[::1]:8080/"),
        ("http:", "127.0.0.1", None, "ws://127.0.0.1:8080/"),
    ]
    async with node(str(HERE / "addresses.mjs"), json.dumps([page[:3] for page in pages])) as program:
        lines = await program.until(lambda lines: bool(lines) and "ended" in lines[-1])
    assert lines[0] == [page[3] for page in pages]
