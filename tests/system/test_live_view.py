"""The live view of sessions whose client drives its browser by CDP: it notices nothing of who looks."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Playwright, sync_playwright

from tests.support.appliance import Appliance
from tests.support.viewers import JPEG, viewer
from tests.support.waiting import until

CLIENTS = Path(__file__).parent / "clients"


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


def the_session(grid: Appliance) -> str:
    (session,) = until(grid.state.sessions, "it is there")
    return session.id


def test_a_playwright_client_notices_nothing_of_a_viewer(grid: Appliance, playwright: Playwright) -> None:
    browser = playwright.chromium.connect_over_cdp(f"{grid.endpoint}/cdp")
    first = browser.contexts[0].pages[0]
    first.set_content("first")
    page = browser.new_context(viewport={"width": 800, "height": 600}).new_page()
    page.set_content("<input id=i>")
    page.focus("#i")
    devtools, heard = browser.new_browser_cdp_session(), list[Any]()
    for event in ("targetCreated", "targetInfoChanged", "targetDestroyed", "attachedToTarget", "detachedFromTarget"):
        devtools.on(f"Target.{event}", lambda params: heard.append(params))
    devtools.send("Target.setDiscoverTargets", {"discover": True, "filter": [{}]})
    targets = devtools.send("Target.getTargets", {"filter": [{}]})
    heard.clear()
    with viewer(grid, the_session(grid)) as look:
        assert look.picture().startswith(JPEG)
        assert sorted(one["id"] for one in look.pages) == [1, 2]
        assert devtools.send("Target.getTargets", {"filter": [{}]}) == targets
        assert page.evaluate("[innerWidth, innerHeight, document.visibilityState, document.activeElement.id]") == [
            800, 600, "visible", "i",
        ]  # fmt: skip
        page.on("dialog", lambda dialog: dialog.accept("said"))
        assert page.evaluate("prompt('')") == "said"
        assert page.screenshot().startswith(b"\x89PNG")
        look.show(1)
        assert look.picture().startswith(JPEG)
        assert grid.audit() == []
    assert first.inner_text("body") == "first"
    assert heard == []
    with viewer(grid, the_session(grid)) as look:
        assert look.picture()
        browser.close()
        while look.picture():
            pass
        assert look.end == (1000, "The session has ended.")


@pytest.mark.usefixtures("node_modules")
def test_puppeteer_notices_nothing_of_a_viewer(grid: Appliance) -> None:
    command = ["node", str(CLIENTS / "watched.mjs"), f"{grid.endpoint}/cdp"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdin
        assert client.stdout
        before = json.loads(client.stdout.readline())
        assert before == {"targets": ["browser", "page", "page"], "pages": 2}
        with viewer(grid, the_session(grid)) as look:
            assert look.picture().startswith(JPEG)
            assert len(look.pages) == 2
            client.stdin.write("go on\n")
            client.stdin.flush()
            after = json.loads(client.stdout.readline())
        assert after == before | {"events": [], "isPng": True}
