"""The live page in a browser, against a scripted gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from tests.web.livepage import LivePage
from tests.web.scripted import CHANNEL, Peer, ScriptedGateway

SCRAPED = "scraped_updates"
OpenPage = Callable[..., AbstractAsyncContextManager[LivePage]]


def detection(camera: int = 1, label: str = "person", confidence: float = 0.9, **more: Any) -> dict[str, Any]:
    """A row's columns besides its id."""
    data = {"label": label, "confidence": confidence, "box": [1, 2, 3, 4]}
    return {"cctv_id": camera, "data": data, "timestamp": "2026-11-23T08:19:33.120", "snapshoot_url": None, **more}


async def welcome(peer: Peer, offset: int, epoch: str = "k3f9") -> dict[str, dict[str, Any]]:
    """Answer the page's two subscriptions, that of detections at this offset; what it asked, by channel."""
    asked = {CHANNEL: await peer.accept(epoch, offset), SCRAPED: await peer.accept(epoch, 0)}
    assert [frame["channel"] for frame in asked.values()] == list(asked)
    await peer.control("live", subscription=SCRAPED, offset=0)
    return asked


async def text_of(page: LivePage, selector: str) -> str:
    """What a reader sees there."""
    return (await page.page.locator(selector).inner_text()).strip()


async def test_newest_rows_then_live_ones(open_page: OpenPage) -> None:
    """On load the newest rows are asked for; each row shows label, confidence, camera and time, the newest on top."""
    go_on = asyncio.Event()

    async def serve(peer: Peer) -> None:
        asked = await welcome(peer, 40)
        assert asked[CHANNEL]["last"] == 100
        await peer.event(41, **detection())
        await peer.live(41)
        await go_on.wait()
        await peer.event(42, **detection(7, "dog", 0.666))

    async with ScriptedGateway(serve) as gateway, open_page(gateway, timezone_id="UTC", locale="en-GB") as page:
        await page.until_state("live")
        await page.until_row(41)
        go_on.set()
        row = await page.until_row(42)
        assert await page.offsets() == [41, 42]
        assert (await row.inner_text()).split("\n")[0].startswith("dog")
        for seen in ("67%", "Camera 7", "08:19"):
            assert seen in await row.inner_text()
        assert "2026-11-23T08:19:33.120" in str(await row.locator("time").get_attribute("title"))
        assert await text_of(page, "#state") == "Live"


async def test_values_are_text_never_markup(open_page: OpenPage) -> None:
    """Markup in any value is shown as it is written; an address that is not http is not followed."""
    attack = '<img src=x onerror="window.struck = true"><script>window.struck = true</script>'

    async def serve(peer: Peer) -> None:
        await welcome(peer, 0)
        await peer.event(
            1, **detection(label=attack, timestamp=attack, snapshoot_url="javascript:window.struck = true")
        )
        await peer.event(2, **detection(camera=attack, confidence=attack, snapshoot_url=attack))  # type: ignore[arg-type]
        await peer.event(3, data=attack)
        await peer.live(3)
        await peer.event(1, SCRAPED, account=attack, url=attack, data={attack: attack}, timestamp=attack)

    async with ScriptedGateway(serve) as gateway, open_page(gateway) as page:
        row = await page.until_row(1)
        await page.until_row(3)
        await page.until_row(1, SCRAPED)
        await page.page.locator(".chips button", has_text="onerror").first.wait_for()
        assert attack in await row.inner_text()
        assert await row.locator("img").count() == 0
        assert await page.page.locator("li script, [onerror], .what img").count() == 0
        await row.locator(".shot").click()
        assert await page.page.locator("#detail").is_visible()
        assert await page.page.evaluate("window.struck") is None
        page.complaints.clear()  # row 2's picture is an address on our own site, where nothing is


async def test_cut_connection_shows_and_mends(open_page: OpenPage) -> None:
    """Cut off, the page says so; back again it shows every row once, those of the meantime included."""
    back = asyncio.Event()

    async def first(peer: Peer) -> None:
        await welcome(peer, 0)
        for offset in (1, 2):
            await peer.event(offset, **detection())
        await peer.live(2)
        await back.wait()
        peer.cut()

    async def refuse(peer: Peer) -> None:
        peer.cut()

    async def second(peer: Peer) -> None:
        asked = await welcome(peer, 2)
        assert (asked[CHANNEL]["epoch"], asked[CHANNEL]["offset"]) == ("k3f9", 2)
        for offset in (2, 3, 4):
            await peer.event(offset, **detection())
        await peer.live(4)

    async with ScriptedGateway(first, refuse, refuse, second) as gateway, open_page(gateway) as page:
        await page.until_state("live")
        await page.until_row(2)
        offline = asyncio.create_task(page.until_state("offline"))
        back.set()
        await offline
        await page.until_row(4)
        await page.until_state("live")
        assert await page.offsets() == [1, 2, 3, 4]
        page.complaints.clear()  # the browser's own word on the refused connections


@pytest.mark.parametrize(
    ("reason", "after", "before", "words"),
    [
        ("retention", 1, 977, "975 older rows"),
        ("purged", 1, 3, "log"),
        ("epoch", 1, 3, "rebuilt"),
        ("new", 1, 3, "missing"),
    ],
)
async def test_gap_stands_between_the_rows(
    open_page: OpenPage, reason: str, after: int, before: int, words: str
) -> None:
    """A gap is a row of its own, at its place, with its reason in words; it is announced to those who do not see it."""

    async def serve(peer: Peer) -> None:
        await welcome(peer, 0)
        await peer.event(1, **detection())
        await peer.control("gap", subscription=CHANNEL, after=after, before=before, reason=reason)
        await peer.event(before, **detection())
        await peer.live(before)

    async with ScriptedGateway(serve) as gateway, open_page(gateway) as page:
        await page.until_row(before)
        assert await page.offsets() == [1, before - 1, before]
        assert [row.get("gap") for row in await page.rows()] == [None, reason, None]
        assert words in await text_of(page, "li.gap")
        assert "missing" in await text_of(page, "#announcement")


async def test_row_read_again_is_shown_once(open_page: OpenPage) -> None:
    """After a loss the server may read a row from the table that was seen before: its id is in the list once."""

    async def serve(peer: Peer) -> None:
        await welcome(peer, 0)
        await peer.event(1, **detection(id=500))
        await peer.event(2, **detection(id=501))
        await peer.event(3, **detection(label="dog", id=500))

    async with ScriptedGateway(serve) as gateway, open_page(gateway) as page:
        await page.page.locator('[data-offset="3"]').wait_for()
        assert [(row["id"], row["offset"]) for row in await page.rows()] == [("501", "2"), ("500", "3")]


async def test_updates_and_deletes_are_marked(open_page: OpenPage) -> None:
    """A row that changed takes the place of what it was, on top; one that was deleted is struck through."""

    async def serve(peer: Peer) -> None:
        await welcome(peer, 0)
        await peer.event(1, **detection(id=500))
        await peer.event(2, **detection(id=501))
        await peer.change(3, {"op": "update", "old": {"data": {}}}, **detection(label="dog", id=500))
        await peer.change(4, {"op": "delete"}, **detection(id=501))

    async with ScriptedGateway(serve) as gateway, open_page(gateway) as page:
        await page.page.locator('[data-offset="4"]').wait_for()
        assert [(row["id"], row["op"]) for row in await page.rows()] == [("500", "update"), ("501", "delete")]
        assert "updated" in await text_of(page, '[data-id="500"]')
        assert "deleted" in await text_of(page, '[data-id="501"]')
        struck = page.page.locator('[data-id="501"] strong')
        assert await struck.evaluate("e => getComputedStyle(e).textDecorationLine") == "line-through"


async def test_source_down(open_page: OpenPage) -> None:
    """While the database is away the page says so, with the lag, and stops saying so when it is back."""
    back = asyncio.Event()

    async def serve(peer: Peer) -> None:
        await welcome(peer, 0)
        await peer.live(0)
        await peer.control("heartbeat", source="down", lag_ms=92_000)
        await back.wait()
        await peer.control("heartbeat", source="live", lag_ms=7)

    async with ScriptedGateway(serve) as gateway, open_page(gateway) as page:
        await page.until_state("source_down")
        assert "will follow" in await text_of(page, "#notice")
        assert await text_of(page, "#lag") == "2 min"
        back.set()
        await page.until_state("live")
        assert not await page.page.locator("#notice").is_visible()
        assert await text_of(page, "#lag") == "7 ms"


async def test_chips_filter_by_camera(open_page: OpenPage) -> None:
    """A chip counts its camera's rows; chosen, only its rows are in sight, new ones too; All brings back the rest."""
    more = asyncio.Event()

    async def serve(peer: Peer) -> None:
        await welcome(peer, 0)
        for offset in range(1, 7):
            await peer.event(offset, **detection(camera=(2, 10)[offset % 2]))
        await peer.live(6)
        await more.wait()
        await peer.event(7, **detection(camera=2))
        await peer.event(8, **detection(camera=10))

    async with ScriptedGateway(serve) as gateway, open_page(gateway) as page:
        chips = page.page.locator(f"#{CHANNEL} .chips button")
        await chips.nth(2).wait_for()
        assert [" ".join(text.split()) for text in await chips.all_inner_texts()] == [
            "All 6",
            "Camera 2 3",
            "Camera 10 3",
        ]
        await chips.nth(2).focus()
        await page.page.keyboard.press("Enter")
        more.set()
        await page.until_row(8)
        in_sight = page.page.locator(f"#{CHANNEL} li:visible")
        assert await in_sight.evaluate_all("rows => rows.map((row) => row.dataset.offset)") == ["8", "5", "3", "1"]
        assert await chips.nth(2).get_attribute("aria-pressed") == "true"
        await chips.nth(0).click()
        assert await in_sight.count() == 8


async def test_pause_holds_the_list_still(open_page: OpenPage) -> None:
    """Paused, nothing moves and the button counts what waits; resumed, all of it is there in order."""
    paused = asyncio.Event()

    async def serve(peer: Peer) -> None:
        await welcome(peer, 0)
        await peer.event(1, **detection())
        await peer.live(1)
        await paused.wait()
        await peer.events(2, 4)

    async with ScriptedGateway(serve) as gateway, open_page(gateway) as page:
        await page.until_row(1)
        button = page.page.locator("#pause")
        await button.click()
        paused.set()
        await page.page.locator("#pause", has_text="3 new").wait_for()
        assert await page.offsets() == [1]
        await button.click()
        await page.until_row(4)
        assert await page.offsets() == [1, 2, 3, 4]
        assert await button.inner_text() == "Pause"


async def test_flood_is_bounded_and_batched(open_page: OpenPage) -> None:
    """3,000 rows change the list at most once per frame and leave the newest 500 in it."""
    watch = """() => {
        window.batches = 0;
        window.frames = 0;
        new MutationObserver(() => window.batches++).observe(document.querySelector('.rows'), {childList: true});
        const count = () => requestAnimationFrame(() => (window.frames++, count()));
        count();
    }"""
    go_on = asyncio.Event()

    async def serve(peer: Peer) -> None:
        await welcome(peer, 0)
        await peer.live(0)
        await go_on.wait()
        for offset in range(1, 3001):
            await peer.event(offset, **detection(camera=offset % 5))

    async with ScriptedGateway(serve) as gateway, open_page(gateway) as page:
        await page.until_state("live")
        await page.page.evaluate(watch)
        go_on.set()
        await page.until_row(3000)
        assert await page.offsets() == list(range(2501, 3001))
        assert await page.page.evaluate("window.batches <= window.frames + 1")


async def test_scraped_results_have_their_own_tab(open_page: OpenPage) -> None:
    """The second tab is reached by the arrow keys and shows account, address and data; its badge counts what is new."""

    async def serve(peer: Peer) -> None:
        await welcome(peer, 0)
        await peer.live(0)
        await peer.event(1, SCRAPED, account="acme", url="https://shop.example/1", data={"price": "12.50"})

    async with ScriptedGateway(serve) as gateway, open_page(gateway) as page:
        await page.page.locator("#tab-scraped_updates .badge", has_text="1").wait_for()
        await page.page.locator("#tab-cctv_updates").focus()
        await page.page.keyboard.press("ArrowRight")
        row = await page.until_row(1, SCRAPED)
        for seen in ("acme", "https://shop.example/1", '{"price":"12.50"}'):
            assert seen in await row.inner_text()
        assert await page.page.locator("#tab-scraped_updates").get_attribute("aria-selected") == "true"
        assert not await page.page.locator(f"#{CHANNEL}").is_visible()


async def test_detail_shows_the_whole_row(open_page: OpenPage) -> None:
    """A click on a picture opens the row with all its columns; Escape closes it."""

    async def serve(peer: Peer) -> None:
        await welcome(peer, 0)
        await peer.event(1, **detection(camera=3))

    async with ScriptedGateway(serve) as gateway, open_page(gateway) as page:
        row = await page.until_row(1)
        await row.locator(".shot").click()
        assert await text_of(page, "#detail-title") == "person · camera 3"
        assert '"box": [ 1, 2, 3, 4 ]' in await text_of(page, "#detail-row")
        await page.page.keyboard.press("Escape")
        assert not await page.page.locator("#detail").is_visible()


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
async def test_nothing_sticks_out(open_page: OpenPage, width: int) -> None:
    """At any width the page scrolls downwards only."""

    async def serve(peer: Peer) -> None:
        await welcome(peer, 0)
        await peer.event(1, **detection(camera=123456, label="a very long label " * 8))
        await peer.event(1, SCRAPED, account="a" * 80, url="https://shop.example/" + "x" * 300, data=["y" * 300])
        await peer.control("heartbeat", source="down", lag_ms=59_900)

    async with ScriptedGateway(serve) as gateway, open_page(gateway, viewport={"width": width, "height": 700}) as page:
        await page.until_row(1)
        for tab in ("#tab-cctv_updates", "#tab-scraped_updates"):
            await page.page.click(tab)
            assert await page.page.evaluate("document.documentElement.scrollWidth") <= width


async def test_empty_page_says_what_to_do(open_page: OpenPage) -> None:
    """Before the first row the page shows a statement to try; the first row takes its place."""
    go_on = asyncio.Event()

    async def serve(peer: Peer) -> None:
        await welcome(peer, 0)
        await peer.live(0)
        await go_on.wait()
        await peer.event(1, **detection())

    async with ScriptedGateway(serve) as gateway, open_page(gateway) as page:
        await page.until_state("live")
        assert "INSERT INTO cctv_detection_results" in await text_of(page, f"#{CHANNEL} .empty")
        go_on.set()
        await page.until_row(1)
        assert not await page.page.locator(f"#{CHANNEL} .empty").is_visible()
