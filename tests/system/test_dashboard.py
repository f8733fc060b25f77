"""The dashboard in a real browser, through the grid that it shows; its screenshots are kept in pytest's folder."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Playwright, WebSocketRoute, expect, sync_playwright

from tests.support import wire
from tests.support.appliance import Appliance
from tests.support.dashboard_scenes import HOSTILE
from tests.support.waiting import WITHIN_S, until

ROOT = Path(__file__).resolve().parents[2]
RED = (255, 0, 0)
NEAR = 12  # a JPEG's colours are not exact
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1440, "height": 900}


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that keeps the screenshots."""
    return tmp_path_factory.mktemp("dashboard")


@pytest.fixture(scope="module")
def viewing(grid: Appliance, playwright: Playwright) -> Iterator[Browser]:
    """Return the browser that shows the dashboard: a session of the grid."""
    browser = playwright.chromium.connect(f"{grid.endpoint}/?name=viewer&isolation=browser")
    yield browser
    browser.close()
    until(lambda: not grid.state.sessions(), "no session is left")


@pytest.fixture
def page(grid: Appliance, viewing: Browser, pictures: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    """Return the dashboard, live; it must not have failed in a script when the test ends."""
    with viewing.new_context(viewport=DESKTOP) as context:
        page, errors = context.new_page(), []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"http://127.0.0.1:{grid.port}/dashboard")
        expect(page.locator("#link")).to_have_text("Live")
        yield page
        page.screenshot(path=pictures / f"{request.node.name}.png")
        assert errors == []


def connected(playwright: Playwright, grid: Appliance, query: str) -> Browser:
    return playwright.chromium.connect(f"{grid.endpoint}/?{query}")


def test_a_session_appears_and_is_ended_by_its_button(grid: Appliance, playwright: Playwright, page: Page) -> None:
    browser = connected(playwright, grid, "name=doomed&label.build=4711")
    row = page.get_by_role("listitem").filter(has_text="doomed")
    expect(row).to_contain_text("build=4711")
    row.get_by_label("End doomed").click()
    page.get_by_role("button", name="End session").click()
    expect(row).to_have_count(0)
    until(lambda: not browser.is_connected(), "its client is told")
    page.get_by_label("Search the past sessions").fill("build=4711")
    page.keyboard.press("Enter")
    past = page.locator("#history-rows .row").filter(has_text="doomed").first
    expect(past).to_contain_text("operator")
    past.click()
    story = page.locator("#drawer .why li")
    expect(story.first).to_contain_text("slot")
    expect(story.last).to_contain_text("operator")
    page.reload()
    expect(page.locator("#drawer-title")).to_have_text("doomed")
    page.keyboard.press("Escape")
    expect(page).to_have_url(re.compile("/dashboard$"))


def test_who_waits_is_in_the_queue_in_order(grid: Appliance, page: Page) -> None:
    free = grid.state.capacity()[0].free
    with ExitStack() as clients:
        for number in range(free + 2):
            client = clients.enter_context(wire.Wire(grid.port))
            client.socket.sendall(wire.request(f"/?name=crowd-{number}"))
            until(lambda least=number + 2: len(grid.state.sessions()) >= least, "it is there")
        expect(page.locator("#verdict h1")).to_have_text("Every slot is taken")
        queue = page.locator("#queue-rows li")
        expect(queue).to_have_count(2)
        expect(queue.first).to_contain_text(f"crowd-{free}")
        expect(page.locator("#tile-waiting dd")).to_have_text("2")
    expect(page.locator("#queue-empty")).to_have_text("Nobody waits.")


@pytest.mark.parametrize("kind", ["browser", "context", "cdp"])
def test_the_live_view_shows_what_the_browser_shows(
    grid: Appliance, playwright: Playwright, page: Page, kind: str
) -> None:
    name = f"watched-{kind}"  # the page may show a moment longer what ended before
    if kind == "cdp":
        browser = playwright.chromium.connect_over_cdp(f"{grid.endpoint}/cdp?name={name}")
    else:
        browser = connected(playwright, grid, f"name={name}&isolation={kind}")
    shown = browser.new_page()
    shown.set_content("<body style='background: rgb(255, 0, 0)'>")
    page.get_by_label(f"Watch {name}").click()
    canvas = page.locator("#watch canvas")
    until(canvas.is_visible, "the first picture is there")
    until(lambda: is_near(colour_of(page), RED), "the canvas is red")
    browser.new_page().set_content("<body style='background: rgb(0, 0, 255)'>")
    until(lambda: is_near(colour_of(page), (0, 0, 255)), "the newest page is shown")
    page.get_by_role("tab").nth(-2).click()
    until(lambda: is_near(colour_of(page), RED), "the page that was chosen is shown")
    assert shown.evaluate("document.visibilityState") == "visible"
    browser.close()
    expect(page.locator("#watch .say")).to_contain_text("has ended")
    assert grid.lasting_differences() == []


def colour_of(page: Page) -> tuple[int, ...]:
    """Return the colour in the middle of the live view."""
    read = "c => [...c.getContext('2d').getImageData(c.width >> 1, c.height >> 1, 1, 1).data.slice(0, 3)]"
    return tuple(page.locator("#watch canvas").evaluate(read))


def is_near(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return all(abs(a - b) <= NEAR for a, b in zip(one, other, strict=True))


@pytest.fixture(scope="module")
def mock() -> Iterator[str]:
    """Return where the page is served with a mock of its feed."""
    command = [sys.executable, "-m", "tests.support.dashboard_mock"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin
        assert server.stdout
        yield server.stdout.readline().strip()
        server.stdin.close()


@pytest.mark.parametrize("scene", ["full", "dead"])
def test_a_scene_fits_a_desktop_and_a_phone_in_both_themes(
    viewing: Browser, mock: str, scene: str, pictures: Path
) -> None:
    for theme, size in (("light", DESKTOP), ("dark", PHONE)):
        with viewing.new_context(viewport=size, color_scheme=theme) as context:
            page, errors = context.new_page(), []
            page.on("pageerror", lambda error, errors=errors: errors.append(str(error)))
            page.goto(f"{mock}?scene={scene}")
            expect(page.locator("#tile-memory")).to_be_visible()
            assert page.evaluate("document.documentElement.dataset.theme") == theme
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            page.screenshot(path=pictures / f"{scene}-{theme}.png", full_page=True)
            assert errors == []


def test_focus_and_selection_survive_what_changes(viewing: Browser, mock: str) -> None:
    with viewing.new_context(viewport=DESKTOP) as context:
        page = context.new_page()
        page.goto(f"{mock}?scene=half")
        row = page.locator("#session-rows .row").filter(has_text=re.compile(r"^[a-z]+-1\D"))
        row.locator(".name").focus()
        client = row.locator(".where").evaluate("e => (getSelection().selectAllChildren(e), getSelection().toString())")
        first = page.locator("#session-rows .row").first
        newest = first.get_attribute("data-session")
        until(lambda: first.get_attribute("data-session") != newest, "another session has begun")
        assert row.locator(".name").evaluate("e => e === document.activeElement")
        assert page.evaluate("getSelection().toString()") == client


def test_what_clients_send_is_text(viewing: Browser, mock: str) -> None:
    with viewing.new_context() as context:
        page = context.new_page()
        page.goto(f"{mock}?scene=hostile")
        name = page.locator("#session-rows .name").first
        expect(name).to_have_text(HOSTILE)
        name.click()
        expect(page.locator("#drawer-title")).to_have_text(HOSTILE)
        assert page.title() == "Playwright Appliance"
        assert page.locator("main script, dialog script").count() == 0


def test_the_page_connects_again_by_itself_and_says_so(page: Page) -> None:
    sockets: list[WebSocketRoute] = []
    is_away = False

    def route(socket: WebSocketRoute) -> None:
        if is_away:
            socket.close()
        else:
            socket.connect_to_server()
            sockets.append(socket)

    page.route_web_socket("**/dashboard/live", route)
    page.reload()
    expect(page.locator("#link")).to_have_text("Live")
    is_away = True
    sockets[-1].close()
    expect(page.locator("#link")).to_have_text("Reconnecting")
    expect(page.locator("#trouble")).to_contain_text("connects again by itself")
    is_away = False
    expect(page.locator("#link")).to_have_text("Live", timeout=WITHIN_S * 1000)
    expect(page.locator("#trouble")).to_be_hidden()


def test_a_worker_is_drained_from_its_step(grid: Appliance, page: Page) -> None:
    """Last, for the browser that shows the page is on that worker, which ends when the page does."""
    (worker,) = grid.state.workers()
    page.locator(".step").first.click()
    page.locator("#drawer").get_by_role("button", name="Drain").click()
    page.locator("#confirm-yes").click()
    expect(page.locator('.step[data-tone="draining"]')).to_have_count(1)
    assert grid.state.workers()[0].status == "draining"
    assert worker.id == grid.state.workers()[0].id
