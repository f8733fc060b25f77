"""Steady load: stock Playwright clients, each with one short session after another."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from playwright.async_api import Browser, Error, Playwright, async_playwright

HOLD_S = (0.2, 3.0)
LOOK_INTERVAL_S = 0.1  # a session notices its end at its next call
SESSION_MAX_S = 90.0  # by far: one that takes longer hangs
PAUSE_AFTER_FAILURE_S = 0.5


@dataclass(slots=True)
class Outcome:
    """A session as its client saw it; times in seconds of the clock, `error` "" if all went well.

    `appliance` is whose proxy it was connected to. `stage` is what it did last: connect, page, goto, use, close.
    """

    name: str
    began: float
    ended: float = 0.0
    stage: str = "connect"
    error: str = ""
    appliance: str = ""


class Load:
    """Clients that connect again and again, in an event loop in a thread of its own."""

    def __init__(self, endpoints: Mapping[str, str], url: str, label: str, clients: int) -> None:
        """Take the appliances' endpoints, the page to open, what the sessions' names begin with, how many clients.

        The clients are spread over the appliances.
        """
        self.outcomes: list[Outcome] = []
        self._endpoints, self._url, self._label, self._clients = list(endpoints.items()), url, label, clients
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def start(self) -> None:
        """Let the clients begin."""
        self._thread.start()

    def stop(self) -> None:
        """Let no client begin another session or dwell in the one that it has; return at once."""
        self._stopping.set()

    def join(self) -> None:
        """Wait until every client is through with its last session."""
        self._thread.join()

    def busy(self) -> list[str]:
        """Name the sessions that have not ended yet."""
        return [f"client {o.name} is still in {o.stage}" for o in self.outcomes if not o.ended]

    async def _run(self) -> None:
        async with async_playwright() as playwright:
            await asyncio.gather(*(self._client(playwright, number) for number in range(self._clients)))

    async def _client(self, playwright: Playwright, number: int) -> None:
        count = 0
        appliance, endpoint = self._endpoints[number % len(self._endpoints)]
        while not self._stopping.is_set():
            count += 1
            outcome = Outcome(f"{self._label}-{number}-{count}", time.time(), appliance=appliance)
            self.outcomes.append(outcome)
            await self._session(playwright, endpoint, outcome)
            outcome.ended = time.time()
            if outcome.error:
                await asyncio.sleep(PAUSE_AFTER_FAILURE_S)

    async def _session(self, playwright: Playwright, endpoint: str, outcome: Outcome) -> None:
        browser: Browser | None = None
        try:
            async with asyncio.timeout(SESSION_MAX_S):
                browser = await playwright.chromium.connect(f"{endpoint}/?name={outcome.name}")
                await self._use(browser, outcome)
        except Error as error:
            outcome.error = str(error) or "an error without words"
        except TimeoutError:
            outcome.error = f"it hung for {SESSION_MAX_S:g} s"
        outcome.ended = time.time()
        if outcome.error and browser:
            await self._let_go(browser)

    async def _use(self, browser: Browser, outcome: Outcome) -> None:
        outcome.stage = "page"
        page = await browser.new_page()
        outcome.stage = "goto"
        await page.goto(self._url)
        outcome.stage = "use"
        until = time.monotonic() + random.Random(outcome.name).uniform(*HOLD_S)
        while time.monotonic() < until and not self._stopping.is_set():
            title = await page.evaluate("document.title")
            if title != "A real page":
                raise Error(f"the page's title is {title!r}")
            await asyncio.sleep(LOOK_INTERVAL_S)
        outcome.stage = "close"
        await browser.close()

    async def _let_go(self, browser: Browser) -> None:
        """Close the connection of a session that failed; what that says is of no interest."""
        try:
            async with asyncio.timeout(5):
                await browser.close()
        except (Error, TimeoutError):
            return
