"""A steady load on a grid: real Playwright clients that each open a page in one session after another."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType

from playwright.async_api import Error, Playwright, async_playwright

from tests.support.appliance import Appliance
from tests.support.cluster import LoadBalancer

PAUSE_S = 0.2  # after an error, so that a proxy that is away is not stormed
SESSION_MAX_S = 60.0  # by far: one that takes longer hangs


class Load:
    """Runs from the beginning of its block to its end, where each client finishes the session that it has."""

    def __init__(self, grid: Appliance | LoadBalancer, clients: int, rest_s: float = 0.0) -> None:
        """Take the grid, how many clients use it at the same time, and how long each rests between two sessions."""
        self.served = 0  # sessions that were whole: from the connection to the goodbye
        self.errors: list[str] = []
        self._grid, self._clients, self._rest_s = grid, clients, rest_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> Load:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        """Let the clients leave."""
        self._over.set()
        self._thread.join()

    async def _run(self) -> None:
        async with async_playwright() as playwright:
            await asyncio.gather(*(self._client(playwright) for _ in range(self._clients)))

    async def _client(self, playwright: Playwright) -> None:
        while not self._over.is_set():
            try:
                async with asyncio.timeout(SESSION_MAX_S):
                    await self._session(playwright)
                self.served += 1
                await asyncio.sleep(self._rest_s)
            except (Error, TimeoutError) as error:
                self.errors.append(str(error) or f"it hung for {SESSION_MAX_S:g} s")
                await asyncio.sleep(PAUSE_S)

    async def _session(self, playwright: Playwright) -> None:
        browser = await playwright.chromium.connect(self._grid.endpoint)
        page = await browser.new_page()
        assert await page.evaluate("6 * 7") == 42
        await browser.close()
