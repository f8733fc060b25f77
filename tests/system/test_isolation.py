"""Sessions that share a browser share nothing else."""

from __future__ import annotations

from playwright.sync_api import Browser, sync_playwright

from tests.system.grid import Grid
from tests.waiting import until

READ = "[document.cookie, localStorage.getItem('secret')]"


def pages_in(browser: Browser) -> int:
    """Count the pages of all sessions of a browser, as the browser itself counts them."""
    targets = browser.new_browser_cdp_session().send("Target.getTargets")["targetInfos"]
    return sum(target["type"] == "page" for target in targets)


def test_two_clients_of_one_worker_see_nothing_of_each_other(grid: Grid, site: str) -> None:
    with sync_playwright() as playwright:
        one, other = (playwright.chromium.connect(grid.endpoint) for _ in range(2))
        page, unrelated = one.new_page(), other.new_page()
        page.goto(site)
        page.evaluate("document.cookie = 'secret=1'; localStorage.setItem('secret', '1')")
        unrelated.goto(site)
        assert page.evaluate(READ) == ["secret=1", "1"]
        assert unrelated.evaluate(READ) == ["", None]
        assert (len(one.contexts), len(other.contexts)) == (1, 1)
        assert {session.worker for session in grid.registry.sessions()} == {grid.registry.workers()[0].id}
        one.close()
        other.close()


def test_contexts_are_gone_when_their_client_is(grid: Grid, site: str) -> None:
    with sync_playwright() as playwright:
        watcher = playwright.chromium.connect(grid.endpoint)
        before = pages_in(watcher)
        leaver = playwright.chromium.connect(grid.endpoint)
        for _ in range(2):
            leaver.new_context().new_page().goto(site)
        assert pages_in(watcher) == before + 2
        leaver.close()
        until(lambda: pages_in(watcher) == before, "the contexts are closed")
        watcher.close()
    until(lambda: not grid.registry.sessions(), "the slots are free")
