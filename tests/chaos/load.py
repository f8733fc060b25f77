"""The load of a chaos run: clients that open a page of the site, and stay for a while."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping

from playwright.async_api import Browser, Error, Page, Playwright

from tests.support.load import Load, Outcome

HOLD_S = (0.2, 3.0)
LOOK_INTERVAL_S = 0.1  # a session notices its end at its next call
CDP_SESSIONS, OWN_BROWSERS, KEPT = 0.2, 0.2, 0.1  # the parts of the sessions that have a browser of their own


class Visits(Load):
    """Clients that look at the page's title until they leave, which `stop` hastens."""

    def __init__(self, endpoints: Mapping[str, str], url: str, label: str, clients: int) -> None:
        """Use the page to open, beside what any load takes."""
        super().__init__(endpoints, clients, label=label)
        self._url = url

    async def connect(self, playwright: Playwright, endpoint: str, outcome: Outcome) -> Browser:
        """Let some sessions have a browser of their own, and some speak CDP; the same in each run, by their names."""
        drawn = random.Random(f"kind of {outcome.name}").random()
        outcome.speaks_cdp = drawn < CDP_SESSIONS
        if outcome.speaks_cdp:
            return await playwright.chromium.connect_over_cdp(f"{endpoint}/cdp?name={outcome.name}")
        wanted = "isolation=context"
        if drawn < CDP_SESSIONS + OWN_BROWSERS:
            wanted = "isolation=browser"
        elif drawn < CDP_SESSIONS + OWN_BROWSERS + KEPT:
            wanted = f"session={outcome.name}&keep=1"
        return await playwright.chromium.connect(f"{endpoint}/?name={outcome.name}&{wanted}")

    def may_wait(self, outcome: Outcome) -> bool:
        """Whether it is a CDP client that connects: if its connection is lost, it waits for its time-out of 30 s."""
        return outcome.speaks_cdp and outcome.stage == "connect"

    async def use(self, browser: Browser, outcome: Outcome) -> None:
        """Open the page, and stay."""
        outcome.stage = "page"
        page = await (_page_by_cdp(browser) if outcome.speaks_cdp else browser.new_page())
        outcome.stage = "goto"
        await page.goto(self._url)
        outcome.stage = "use"
        until = time.monotonic() + random.Random(outcome.name).uniform(*HOLD_S)
        while time.monotonic() < until and not self.is_over.is_set():
            title = await page.evaluate("document.title")
            if title != "A real page":
                raise Error(f"the page's title is {title!r}")
            await asyncio.sleep(LOOK_INTERVAL_S)


async def _page_by_cdp(browser: Browser) -> Page:
    """Open a page. If the connection is lost meanwhile, Playwright's CDP client waits for ever, with any Chromium."""
    lost = asyncio.Event()
    browser.on("disconnected", lambda _: lost.set())
    opening, losing = asyncio.create_task(browser.new_page()), asyncio.create_task(lost.wait())
    await asyncio.wait({opening, losing}, return_when=asyncio.FIRST_COMPLETED)
    if not opening.done():
        opening.cancel()
        raise Error("Browser has been closed")
    losing.cancel()
    return opening.result()
