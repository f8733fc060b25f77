"""A session with a browser of its own reaches neither the machine nor another session by it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, Playwright

from tests.support.appliance import Appliance
from tests.support.raw_client import RawClient

OWN = "/?isolation=browser"
REFUSAL = r"This grid (opens no|does not open) [a-z]+: addresses"


@pytest.fixture
def browser(grid: Appliance, clients: Playwright) -> Iterator[Browser]:
    with clients.chromium.connect(grid.endpoint + OWN) as browser:
        yield browser


def test_a_context_for_reuse_writes_no_file_outside_its_session(grid: Appliance, tmp_path: Path) -> None:
    with RawClient(grid, OWN) as client:
        browser = client.guid("Browser")
        video = {"dir": str(tmp_path), "size": {"width": 100, "height": 100}}
        context = client.call(browser, "newContextForReuse", recordVideo=video)["context"]["guid"]
        assert "page" in client.call(context, "newPage")
        client.call(context, "close")
        again = client.call(browser, "newContextForReuse", acceptDownloads="internal-browser-default")
        assert "on the grid's machine" in again["error"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("address", ["devtools://devtools/bundled/inspector.html", "chrome://net-export", "file:///"])
def test_no_page_is_opened_that_reads_or_writes_files(browser: Browser, address: str) -> None:
    with pytest.raises(Error, match=REFUSAL):
        browser.new_page().goto(address)
    with pytest.raises(Error, match=REFUSAL):
        browser.new_browser_cdp_session().send("Target.createTarget", {"url": address})
