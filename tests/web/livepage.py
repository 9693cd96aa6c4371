"""Opens the live page in a browser and reads it the way a test can rely on: by its data attributes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import Locator, Page, async_playwright

from devenv.chromium import ARGUMENTS

DEADLINE_MS = 20_000
DETECTIONS = "cctv_updates"


class LivePage:
    """The page, open in a browser. ``complaints`` collects what the browser's console calls an error."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.set_default_timeout(DEADLINE_MS)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda message: message.type == "error" and self.complaints.append(message.text))

    async def until_state(self, state: str) -> None:
        """Wait for `connecting`, `catching_up`, `live`, `source_down`, `offline` or `closed`."""
        await self.page.wait_for_selector(f'body[data-state="{state}"]')

    async def until_row(self, row_id: int, channel: str = DETECTIONS) -> Locator:
        """Wait until the row with this id is in the list, in sight or not."""
        row = self.page.locator(f'#{channel} [data-id="{row_id}"]')
        await row.wait_for(state="attached")
        return row

    async def offsets(self, channel: str = DETECTIONS) -> list[int]:
        """The offsets in the list, oldest first; a gap counts as its own."""
        return [int(row["offset"]) for row in await self.rows(channel)]

    async def rows(self, channel: str = DETECTIONS) -> list[dict[str, Any]]:
        """The data attributes of each row and gap, oldest first."""
        found: list[dict[str, Any]] = await self.page.locator(f"#{channel} .rows > li").evaluate_all(
            "rows => rows.map((row) => ({...row.dataset})).reverse()"
        )
        return found


@asynccontextmanager
async def live_page(chromium: Path, url: str, **context: Any) -> AsyncIterator[LivePage]:
    """Open `url` in a browser of its own; `context` is Playwright's (viewport, color_scheme …)."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        page = LivePage(await browser.new_page(**context))
        try:
            await page.page.goto(url)
            yield page
        finally:
            await browser.close()
