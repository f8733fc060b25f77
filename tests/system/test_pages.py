"""A web page in a grid's own browser can neither open a session nor read what the grid says of itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.support.appliance import Appliance

ATTACKER = "rebound.test"  # a name of the attacker's, which the browser is made to resolve to loopback
PAGES = ("/api/v1/capacity", "/json", "/metrics", "/healthz", "/readyz", "/")

OPEN = """url => new Promise(done => {
  const socket = new WebSocket(url);
  socket.onopen = () => done('open');
  socket.onerror = () => done('refused');
})"""
READ = """url => fetch(url).then(answer => answer.text()).catch(() => null)"""
READ_BLIND = """url => fetch(url, {mode: 'no-cors'}).then(answer => answer.text()).catch(() => null)"""


@pytest.fixture(scope="module")
def grid() -> Iterator[Appliance]:
    """Provide an appliance whose browser resolves the attacker's name to loopback."""
    rules = f"--host-resolver-rules='MAP {ATTACKER} 127.0.0.1'"
    with Appliance(MAX_LIFETIME_SESSIONS=0, BROWSER_ARGS=rules) as grid:
        yield grid


@pytest.fixture(scope="module")
def page(grid: Appliance) -> Iterator[Page]:
    """Provide a page of a session of the grid's."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.connect(grid.endpoint)
        yield browser.new_page()
        browser.close()


@pytest.fixture(params=["127.0.0.1", ATTACKER])
def origin(request: pytest.FixtureRequest, site: str, page: Page) -> str:
    """Go to a page of the site, by its address or by the attacker's name; returns the host in its URL."""
    host: str = request.param
    assert page.goto(f"http://{host}:{urlsplit(site).port}/").status == 200
    return host


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", ATTACKER])
def test_a_pages_websocket_opens_no_session(host: str, origin: str, page: Page, grid: Appliance) -> None:
    for target in ("", "?browser=chromium", "?name=page"):
        assert page.evaluate(OPEN, f"ws://{host}:{grid.port}/{target}") == "refused"
    assert len(grid.state.sessions()) == 1  # the test's own


@pytest.mark.parametrize("host", ["127.0.0.1", ATTACKER])
def test_a_page_reads_nothing_of_another_origin(host: str, origin: str, page: Page, grid: Appliance) -> None:
    for target in PAGES:
        assert page.evaluate(READ, f"http://{host}:{grid.port}{target}") is None
        assert not page.evaluate(READ_BLIND, f"http://{host}:{grid.port}{target}")


@pytest.mark.parametrize("target", ["/api/v1/capacity", "/metrics"])
def test_a_name_that_was_rebound_to_the_grid_is_told_nothing(target: str, page: Page, grid: Appliance) -> None:
    """The page's own origin is then the grid's, so that only the Host header gives the attacker away."""
    answer = page.goto(f"http://{ATTACKER}:{grid.port}{target}")
    assert answer.status >= 400
    said = page.evaluate(READ, target) or ""
    assert "error" in json.loads(said)
    assert page.evaluate(OPEN, f"ws://{ATTACKER}:{grid.port}/") == "refused"
    assert len(grid.state.sessions()) == 1


def test_a_frame_of_the_grids_pages_is_closed_to_the_page_around_it(site: str, page: Page, grid: Appliance) -> None:
    page.goto(f"http://{ATTACKER}:{urlsplit(site).port}/")
    read = """url => new Promise(done => {
      const frame = document.createElement('iframe');
      frame.onload = () => {
        try { done(frame.contentDocument && frame.contentDocument.body.textContent); }
        catch (error) { done(null); }
      };
      frame.src = url;
      document.body.append(frame);
    })"""
    for host in ("127.0.0.1", ATTACKER):
        assert not page.evaluate(read, f"http://{host}:{grid.port}/api/v1/capacity")
