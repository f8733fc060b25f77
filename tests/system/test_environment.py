"""The shell that starts an appliance: what of it counts, and the settings in place of the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from playwright.sync_api import Page, sync_playwright

from tests.support import upstream
from tests.support.appliance import Appliance, StartGrid, tree

DEAD = "http://127.0.0.1:9"  # nothing listens at the port of "discard"
SHELL = {
    **dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"), DEAD),
    "NO_PROXY": ".corp.example",
    "no_proxy": ".corp.example",
    "TZ": "Asia/Tokyo",
    "LANG": "de_DE.UTF-8",
    "LC_ALL": "de_DE.UTF-8",
    "LANGUAGE": "de",
    "NODE_OPTIONS": "--require=/nowhere.js",
    "DEBUG": "*",
    "PWDEBUG": "1",
    "PLAYWRIGHT_SKIP_NAVIGATION_CHECK": "1",
    "SSLKEYLOGFILE": "/nowhere/keys",
    "LD_PRELOAD": "/nowhere.so",
    "MOZ_LOG": "all:5",
    "CHROME_LOG_FILE": "/nowhere",
    "AWS_SECRET_ACCESS_KEY": "a-key-to-anything",
    "PYTHONDEVMODE": "1",
    "PYTHONWARNINGS": "error",
}
PLACE = """() => ({
  zone: Intl.DateTimeFormat().resolvedOptions().timeZone, language: navigator.language,
  number: (1234.5).toLocaleString(), noon: new Date(0).getHours(),
})"""
HERE = {"zone": "UTC", "language": "en-US", "number": "1,234.5", "noon": 0}


def page_and_request(page: Page, url: str) -> tuple[int, int]:
    """Open a URL in a page, and ask for it by context.request; returns the statuses."""
    response = page.goto(url)
    assert response
    return response.status, page.request.get(url).status


def seen(grid: Appliance, url: str) -> tuple[tuple[int, int], dict[str, Any]]:
    with sync_playwright() as playwright:
        page = playwright.chromium.connect(grid.endpoint).new_page()
        return page_and_request(page, url), page.evaluate(PLACE)


def test_a_grid_is_the_same_whatever_the_shell_has_that_starts_or_restarts_it(
    start_grid: StartGrid, site: str, tmp_path: Path
) -> None:
    grid = start_grid(**SHELL)
    assert seen(grid, site) == ((200, 200), HERE)
    family = tree(grid.state.workers()[0].pid)
    for name in ("worker", "driver", "browser"):
        environment = family[name].environ()
        assert not {one for one in SHELL if environment.get(one) == SHELL[one]}, name
    grid.applctl("restart")
    assert seen(grid, site) == ((200, 200), HERE)
    assert "Hello" in grid.applctl("demo", "-o", str(tmp_path / "demo.png")).stdout


def test_the_doctor_says_that_a_shells_proxy_is_not_used(grid: Appliance, site: str) -> None:
    grid.env |= {"HTTPS_PROXY": "http://me:secret@proxy.corp.example:3128"}
    try:
        said = grid.applctl("doctor", check=False).stdout
    finally:
        del grid.env["HTTPS_PROXY"]
    assert "set BROWSER_PROXY" in said
    assert "secret" not in said


def test_pages_and_requests_use_the_proxy_of_the_settings_but_for_its_exceptions(
    start_grid: StartGrid, site: str
) -> None:
    with upstream.proxy() as (port, asked):
        server = f"http://{upstream.USER}:{quote(upstream.PASSWORD, safe='')}@127.0.0.1:{port}"
        resolving = "'--host-resolver-rules=MAP *.corp.example 127.0.0.1'"
        grid = start_grid(BROWSER_PROXY=server, BROWSER_PROXY_BYPASS="10.0.0.1,.corp.example", BROWSER_ARGS=resolving)
        with sync_playwright() as playwright:
            page = playwright.chromium.connect(grid.endpoint).new_page()
            assert page_and_request(page, site) == (200, 200)
            assert {site, urlsplit(site).netloc} <= {*asked}, "the page's, and by CONNECT the request's"
            page.goto(site.replace("127.0.0.1", "a.corp.example"))
            assert page.title() == "A real page"
            assert not [place for place in asked if "corp.example" in place]
        assert upstream.PASSWORD not in grid.applctl("config").stdout


def test_time_zone_and_language_come_from_the_settings_or_from_the_context(start_grid: StartGrid, site: str) -> None:
    grid = start_grid(BROWSER_TIMEZONE="Europe/Berlin", BROWSER_LANGUAGE="de-DE", BROWSER_ENV="A_VARIABLE='of ours'")
    assert tree(grid.state.workers()[0].pid)["browser"].environ()["A_VARIABLE"] == "of ours"
    with sync_playwright() as playwright:
        browser = playwright.chromium.connect(grid.endpoint)
        page = browser.new_page()
        with page.expect_request(site) as sent:
            page.goto(site)
        assert sent.value.all_headers()["accept-language"].startswith("de-DE")
        found = page.evaluate(PLACE)
        assert (found["zone"], found["language"], found["noon"]) == ("Europe/Berlin", "de-DE", 1)
        other = browser.new_page(locale="fr-FR", timezone_id="America/New_York").evaluate(PLACE)
        assert (other["zone"], other["language"]) == ("America/New_York", "fr-FR")
