"""Sessions in a full Chromium, without a window and with one, beside a pool of the headless shell."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

from tests.support.appliance import APPLCTL, Appliance, StartGrid
from tests.support.looks import command_of
from tests.support.waiting import until

FULL = "chromium:1 channel=chromium"
HEADED = f"{FULL} headless=false"


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    """Let `applctl setup` install what the pools name, as an operator would."""
    environment = os.environ | {"POOLS": FULL, "APPLIANCE_ENV": os.devnull}
    done = subprocess.run([APPLCTL, "setup"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def kind(page: Page, url: str) -> dict[str, Any]:
    """Return what a page knows of its browser; the headless shell has no viewer for PDF."""
    page.goto(url)
    assert page.title() == "A real page"
    has_window = not page.evaluate("navigator.userAgent.includes('Headless')")
    return {"is_full": page.evaluate("navigator.pdfViewerEnabled"), "has_window": has_window}


def page_of(browser: Browser) -> Page:
    """Return a new page, in the default context of a browser that is driven by CDP."""
    return browser.contexts[0].new_page() if browser.contexts else browser.new_page()


def programs(grid: Appliance) -> set[str]:
    """Return the names of the programs that the driver has started."""
    return {os.path.basename(command_of(psutil.Process(pid))[0]) for pid in grid.browser_pids()}


@pytest.mark.parametrize(("pools", "has_window"), [(FULL, False), (HEADED, True)])
def test_sessions_of_each_kind_have_a_full_chromium(
    pools: str, has_window: bool, start_grid: StartGrid, playwright: Playwright, site: str, display: str
) -> None:
    grid = start_grid(POOLS=pools, BROWSER_ENV=f"DISPLAY={display}")
    chromium = playwright.chromium
    shared, own = (chromium.connect(f"{grid.endpoint}/?isolation={one}") for one in ("context", "browser"))
    cdp = chromium.connect_over_cdp(f"http://127.0.0.1:{grid.port}")
    for browser in (shared, own, cdp):
        page = page_of(browser)
        assert kind(page, site) == {"is_full": True, "has_window": has_window}
        assert page.screenshot()
    assert len(grid.browser_pids()) >= 3, "a shared browser, and one for each of the others"
    assert programs(grid) == {"chromium"}
    for browser in (shared, own, cdp):
        browser.close()
    until(lambda: len(grid.browser_pids()) == 1, "the browsers of sessions have ended")


def test_a_full_chromium_beside_the_headless_shell_serves_sessions_with_their_own(
    start_grid: StartGrid, playwright: Playwright, site: str
) -> None:
    grid = start_grid(POOLS="chromium:1, chromium/browser:1 channel=chromium max_concurrent_sessions=2")
    chromium = playwright.chromium
    shared, own = (chromium.connect(f"{grid.endpoint}/?isolation={one}") for one in ("context", "browser"))
    cdp = chromium.connect_over_cdp(f"http://127.0.0.1:{grid.port}")
    found = [kind(page_of(browser), site)["is_full"] for browser in (shared, own, cdp)]
    assert found == [False, True, True]
    active = {worker.minor.partition("/")[2]: worker.active for worker in grid.state.workers()}
    assert active == {"": 1, "browser": 2}
    for browser in (shared, own, cdp):
        browser.close()


def test_a_running_pool_gets_another_browser_and_harms_no_session(
    start_grid: StartGrid, playwright: Playwright, site: str
) -> None:
    grid = start_grid()
    before = playwright.chromium.connect(grid.endpoint)
    assert not kind(before.new_page(), site)["is_full"]
    grid.env["APPLIANCE_ENV"] = str(grid.run_dir / "appliance.env")
    grid.applctl("pools", "set", "chromium", "--channel", "chromium")
    after = playwright.chromium.connect(grid.endpoint)
    assert kind(after.new_page(), site)["is_full"]
    assert not kind(before.new_page(), site)["is_full"], "the session goes on where it was"
    before.close()
    after.close()
    until(lambda: [worker.channel for worker in grid.state.workers()] == ["chromium"], "the old worker has ended")
