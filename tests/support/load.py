"""A steady load: stock Playwright clients, each with one session after another."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from traceback import extract_tb

from playwright.async_api import Browser, Error, Playwright, async_playwright

SESSION_MAX_S = 90.0  # by far: one that takes longer hangs
PAUSE_AFTER_FAILURE_S = 0.5  # so that a proxy that is away is not stormed


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
    speaks_cdp: bool = False
    is_agent: bool = False


class Load:
    """Clients that connect again and again, in an event loop in a thread of its own."""

    def __init__(self, endpoints: Mapping[str, str], clients: int, rest_s: float = 0.0, label: str = "load") -> None:
        """Spread the clients over the appliances, which are given by name; each rests between two sessions.

        `label` is what the sessions' names begin with.
        """
        self.outcomes: list[Outcome] = []
        self.is_over = threading.Event()
        self._endpoints, self._clients, self._rest_s, self.label = list(endpoints.items()), clients, rest_s, label
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> Load:
        """Let the clients begin."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Let each client finish the session that it has."""
        self.stop()
        self.join()

    @property
    def served(self) -> int:
        """How many sessions were whole, from the connection to the goodbye."""
        return sum(bool(outcome.ended) and not outcome.error for outcome in self.outcomes)

    @property
    def errors(self) -> list[str]:
        """What the other sessions met."""
        return [outcome.error for outcome in self.outcomes if outcome.error]

    def start(self) -> None:
        """Let the clients begin."""
        self._thread.start()

    def stop(self) -> None:
        """Let no client begin another session; return at once."""
        self.is_over.set()

    def join(self) -> None:
        """Wait until every client is through with its last session."""
        self._thread.join()

    def busy(self) -> list[str]:
        """Name the sessions that have not ended yet."""
        return [f"client {o.name} is still in {o.stage}" for o in self.outcomes if not o.ended and not self.may_wait(o)]

    def may_wait(self, outcome: Outcome) -> bool:
        """Whether a session may last longer than what became of it at the grid."""
        return False

    async def connect(self, playwright: Playwright, endpoint: str, outcome: Outcome) -> Browser:
        """Begin a session that has the outcome's name."""
        return await playwright.chromium.connect(f"{endpoint}/?name={outcome.name}")

    async def use(self, browser: Browser, outcome: Outcome) -> None:
        """Use a session, and note its stages; raises Error if it fails."""
        outcome.stage = "page"
        page = await browser.new_page()
        outcome.stage = "use"
        if await page.evaluate("6 * 7") != 42:
            raise Error("the page cannot multiply")

    async def _run(self) -> None:
        async with async_playwright() as playwright:
            await asyncio.gather(*(self._client(playwright, number) for number in range(self._clients)))

    async def _client(self, playwright: Playwright, number: int) -> None:
        count = 0
        appliance, endpoint = self._endpoints[number % len(self._endpoints)]
        while not self.is_over.is_set():
            count += 1
            outcome = Outcome(f"{self.label}-{number}-{count}", time.time(), appliance=appliance)
            self.outcomes.append(outcome)
            await self._session(playwright, endpoint, outcome)
            await asyncio.sleep(PAUSE_AFTER_FAILURE_S if outcome.error else self._rest_s)

    async def _session(self, playwright: Playwright, endpoint: str, outcome: Outcome) -> None:
        browser: Browser | None = None
        try:
            async with asyncio.timeout(SESSION_MAX_S):
                browser = await self.connect(playwright, endpoint, outcome)
                await self.use(browser, outcome)
                outcome.stage = "close"
                await browser.close()
        except Error as error:
            outcome.error = str(error) or "an error without words"
        except TimeoutError as error:
            seen = "connected" if browser and browser.is_connected() else "not connected"
            outcome.error = f"it hung for {SESSION_MAX_S:g} s, {seen}, in {_inmost(error)}"
        outcome.ended = time.time()
        if outcome.error and browser:
            await _let_go(browser)


def _inmost(error: TimeoutError) -> str:
    """Return the lines at which a call that took too long was cancelled."""
    at = reversed(extract_tb((error.__cause__ or error).__traceback__))
    return " < ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in at)


async def _let_go(browser: Browser) -> None:
    """Close the connection of a session that failed; what that says is of no interest."""
    try:
        async with asyncio.timeout(5):
            await browser.close()
    except (Error, TimeoutError):
        return
