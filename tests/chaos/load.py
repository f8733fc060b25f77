"""The load of a chaos run: clients of all kinds that open a page of the site, and stay for a while."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from playwright.async_api import Browser, Error, Page, Playwright

from tests.chaos.agents import AgentVisit
from tests.support.load import Load, Outcome

HOLD_S = (0.2, 3.0)
LOOK_INTERVAL_S = 0.1  # a session notices its end at its next call
CDP_SESSIONS, OWN_BROWSERS, KEPT = 0.2, 0.2, 0.1  # the parts of the sessions that have a browser of their own
AGENTS = 0.1  # the part of those that are agents'
TITLE = "A real page"
LABEL = "of"  # each session's, whose value is its name


class Visits(Load):
    """Clients that look at the page's title until they leave, which `stop` hastens."""

    def __init__(self, endpoints: Mapping[str, str], url: str, label: str, clients: int) -> None:
        """Use the page to open, beside what any load takes."""
        super().__init__(endpoints, clients, label=label)
        self._url = url

    async def connect(self, playwright: Playwright, endpoint: str, outcome: Outcome) -> Any:
        """Let some sessions have a browser of their own, and some not be Playwright's; always the same ones."""
        drawn = random.Random(f"kind of {outcome.name}").random()
        query = f"?name={outcome.name}&label.{LABEL}={outcome.name}"
        outcome.speaks_cdp, outcome.is_agent = drawn < CDP_SESSIONS, drawn > 1 - AGENTS
        if outcome.speaks_cdp:
            return await playwright.chromium.connect_over_cdp(f"{endpoint}/cdp{query}")
        if outcome.is_agent:
            return await AgentVisit(endpoint, query).begin()
        wanted = "isolation=context"
        if drawn < CDP_SESSIONS + OWN_BROWSERS:
            wanted = "isolation=browser"
        elif drawn < CDP_SESSIONS + OWN_BROWSERS + KEPT:
            wanted = f"session={outcome.name}&keep=1"
        return await playwright.chromium.connect(f"{endpoint}/{query}&{wanted}")

    def may_wait(self, outcome: Outcome) -> bool:
        """Whether it is a CDP client that connects: if its connection is lost, it waits for its time-out of 30 s."""
        return outcome.speaks_cdp and outcome.stage == "connect"

    async def use(self, browser: Any, outcome: Outcome) -> None:
        """Open the page, and stay."""
        title = await (self._as_agent(browser) if outcome.is_agent else self._as_browser(browser, outcome))
        outcome.stage = "use"
        until = time.monotonic() + random.Random(outcome.name).uniform(*HOLD_S)
        while time.monotonic() < until and not self.is_over.is_set():
            if TITLE not in (shown := await title()):
                raise Error(f"the page's title is {shown!r}")
            await asyncio.sleep(LOOK_INTERVAL_S)

    async def _as_browser(self, browser: Browser, outcome: Outcome) -> Callable[[], Awaitable[str]]:
        outcome.stage = "page"
        page = await (_page_by_cdp(browser) if outcome.speaks_cdp else browser.new_page())
        outcome.stage = "goto"
        await page.goto(self._url)
        return lambda: page.evaluate("document.title")

    async def _as_agent(self, agent: AgentVisit) -> Callable[[], Awaitable[str]]:
        """Open the page by the first call, which is also what waits for a slot."""
        await agent.call("browser_navigate", url=self._url)
        return lambda: agent.call("browser_evaluate", function="() => document.title")


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
