"""A real Firefox, served by the driver of another Playwright version than the appliance's own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Error, sync_playwright

from tests.support.appliance import APPLCTL, StartGrid
from tests.support.viewers import JPEG, viewer

CLIENT = """
import sys
from playwright.sync_api import Error, sync_playwright
with sync_playwright() as playwright:
    browser = playwright.firefox.connect(sys.argv[1])
    page = browser.new_page()
    page.goto(sys.argv[2])
    print(page.title())
    try:
        page.goto("file:///etc/passwd")
    except Error as error:
        print(error.message.partition(",")[0], flush=True)
    input()
    browser.close()
"""


@pytest.mark.parametrize("how", ["the appliance's own driver", "a pool with a driver of its own"])
def test_firefox_serves_its_clients_and_tells_those_of_another_version(
    how: str, start_grid: StartGrid, site: str, older_playwright: Path, drivers_dir: Path
) -> None:
    (driver,) = older_playwright.glob("lib/python*/site-packages/playwright/driver")
    if how == "a pool with a driver of its own":
        chosen = {"CHROMIUM_WORKERS": "1", "POOLS": "firefox@1.62:1", "DRIVERS_DIR": str(drivers_dir)}
    else:
        chosen = {"CHROMIUM_WORKERS": "0", "FIREFOX_WORKERS": "1", "PLAYWRIGHT_DRIVER": str(driver)}
    settings = {**chosen, "DEFAULT_BROWSER_TYPE": "firefox", "FIREFOX_CHANNEL": "moz-firefox"}
    setup = subprocess.run(
        ["env", *(f"{name}={value}" for name, value in settings.items()), APPLCTL, "setup"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert setup.returncode == 0, setup.stderr
    grid = start_grid(**settings)
    python = older_playwright / "bin/python"
    command = [python, "-c", CLIENT, grid.endpoint, site]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout
        said = [client.stdout.readline() for _ in range(2)]
        assert said == ["A real page\n", "Page.goto: This grid does not open file: addresses\n"]
        (session,) = grid.state.sessions()
        with viewer(grid, session.id) as look:
            assert [look.picture()[:2] for _ in range(2)] == [JPEG, JPEG]
        client.communicate("\n")
    assert client.returncode == 0
    with sync_playwright() as playwright, pytest.raises(Error, match=r"Served: 1\.62"):
        playwright.firefox.connect(grid.endpoint)
