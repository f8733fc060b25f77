"""`?session=NAME&keep=SECONDS`: a client comes back to the browser that it left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, Playwright, sync_playwright

from appliance.grid.records import SessionInfo
from appliance.request_errors import StoreUnavailable
from tests.support.appliance import Appliance, StartGrid, free_port, tree
from tests.support.killed_client import killed_client
from tests.support.looks import runs
from tests.support.pages import said_to
from tests.support.viewers import viewer
from tests.support.waiting import until
from tests.support.wire import UPGRADE, Wire, request

CLIENTS = Path(__file__).parent / "clients"
KEPT = "?session=cart&keep=60"
AFTER = "?session=cart&keep=0"


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def grid() -> Iterator[Appliance]:
    """Return an appliance with one worker of two slots."""
    with Appliance(MAX_LIFETIME_SESSIONS=0, SPARE_WORKERS=0, MAX_CONCURRENT_SESSIONS=2) as grid:
        yield grid


@pytest.fixture(autouse=True)
def _nothing_is_left(grid: Appliance) -> Iterator[None]:
    yield
    until(lambda: not grid.state.sessions(), "no session is left")
    until(lambda: len(grid.browser_pids()) == 1, "the shared browser alone is left")


def connect(playwright: Playwright, grid: Appliance, query: str = KEPT, protocol: str = "playwright") -> Browser:
    if protocol == "cdp":
        return playwright.chromium.connect_over_cdp(f"{grid.endpoint}/cdp{query}")
    return playwright.chromium.connect(f"{grid.endpoint}/{query}")


def write(browser: Browser, text: str) -> None:
    context = browser.contexts[0] if browser.contexts else browser.new_context()
    (context.pages or [context.new_page()])[0].set_content(text)


def read(browser: Browser) -> str:
    (context,) = browser.contexts
    (page,) = context.pages
    return page.inner_text("body")


def the_session(grid: Appliance, status: str = "kept") -> SessionInfo:
    """Return the only session, once it has that status."""
    until(lambda: [session.status for session in grid.state.sessions()] == [status], f"it is {status}")
    return grid.state.sessions()[0]


def last_end(grid: Appliance) -> str:
    until(lambda: not grid.state.sessions(), "it has ended")
    return [event["reason"] for event in grid.state.events() if event["event"] == "session.ended"][-1]


@pytest.mark.parametrize("protocol", ["playwright", "cdp"])
def test_a_client_finds_what_it_left(grid: Appliance, playwright: Playwright, protocol: str) -> None:
    first = connect(playwright, grid, protocol=protocol)
    write(first, "three apples")
    assert the_session(grid, "active").kept_as == "cart"
    assert grid.audit() == []
    first.close()
    kept = the_session(grid)
    assert kept.kept_since_ms > 0
    assert grid.audit() == []
    (listed,) = json.loads(grid.applctl("sessions", "list", "--json").stdout)
    assert (listed["status"], listed["kept_as"], listed["id"]) == ("kept", "cart", kept.id)
    looks = ExitStack()
    look = looks.enter_context(viewer(grid, kept.id))
    assert look.picture(), "nobody drives it, and it is looked at"
    for _ in range(3):
        again = connect(playwright, grid, protocol=protocol)
        assert read(again) == "three apples"
        write(again, "three apples ")
        assert look.picture()
        assert the_session(grid, "active").id == kept.id
        again.close()
        the_session(grid)
    looks.close()
    last = connect(playwright, grid, AFTER, protocol)
    assert read(last) == "three apples"
    last.close()
    assert last_end(grid) == "closed"


def test_a_client_that_is_killed_comes_back_to_its_page(grid: Appliance, playwright: Playwright) -> None:
    script = f"""
from playwright.sync_api import sync_playwright
with sync_playwright() as playwright:
    page = playwright.chromium.connect("{grid.endpoint}/{KEPT}").new_page()
    page.set_content("half a form")
    print("ready", flush=True)
    input()
"""
    with killed_client(script):
        pass
    again = connect(playwright, grid, AFTER)
    assert read(again) == "half a form"
    again.close()


def test_contexts_keep_their_cookies_routes_go_with_their_client(
    grid: Appliance, playwright: Playwright, site: str
) -> None:
    first = connect(playwright, grid)
    context = first.new_context()
    page = context.new_page()
    page.goto(site)
    page.evaluate("document.cookie = 'basket=7'")
    page.route("**/*", lambda route: route.fulfill(body="routed"))
    page.goto(site)
    assert page.inner_text("body") == "routed"
    first.close()
    again = connect(playwright, grid, AFTER)
    page = again.contexts[0].pages[0]
    page.goto(site)
    assert page.title() == "A real page"
    assert "basket=7" in page.evaluate("document.cookie")
    again.close()


def test_devtools_sessions_go_with_their_client(grid: Appliance, playwright: Playwright, site: str) -> None:
    first = connect(playwright, grid)
    page = first.new_page()
    devtools = page.context.new_cdp_session(page)
    devtools.send("Network.setUserAgentOverride", {"userAgent": "another"})
    devtools.send("Fetch.enable")
    first.new_browser_cdp_session().send("Fetch.enable")
    first.close()
    again = connect(playwright, grid, AFTER)
    page = again.contexts[0].pages[0]
    page.goto(site)
    assert page.evaluate("navigator.userAgent") != "another"
    again.close()


@pytest.mark.usefixtures("node_modules")
def test_puppeteer_comes_back(grid: Appliance, site: str) -> None:
    command = ["node", str(CLIENTS / "reconnecting.mjs"), f"{grid.endpoint}/cdp{KEPT}", site]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[1, "A real page"]] * 3
    assert last_end(grid) == "closed"


def test_a_client_comes_back_with_its_own_network(grid: Appliance, playwright: Playwright, site: str) -> None:
    for query in (KEPT, KEPT, AFTER):
        browser = playwright.chromium.connect(f"{grid.endpoint}/{query}", expose_network="<loopback>")
        page = browser.contexts[0].pages[0] if browser.contexts else browser.new_page()
        page.goto(site.replace("127.0.0.1", "localhost"))
        assert page.title() == "A real page"
        browser.close()


def test_a_session_that_is_kept_ends_after_the_time_that_its_url_sets(grid: Appliance) -> None:
    with Wire(grid.port) as client:
        client.send_upgrade(f"/{KEPT}&timeout=2")
        until(grid.state.sessions, "it has begun")
        assert last_end(grid) == "session limit of 2 s reached, as its URL says"


@pytest.mark.parametrize("protocol", ["playwright", "cdp"])
def test_the_newest_client_takes_over(grid: Appliance, playwright: Playwright, protocol: str) -> None:
    first = connect(playwright, grid, AFTER, protocol)
    write(first, "three apples")
    page = first.contexts[0].pages[0]
    second = connect(playwright, grid, AFTER, protocol)
    assert read(second) == "three apples"
    said = said_to(page)
    assert ("another client took over this session" in said) == (protocol == "playwright")  # a CDP client says less
    until(lambda: 'reason="another client took over this session"' in grid.log("proxy"), "the log says so")
    second.close()
    assert last_end(grid) == "closed"


def test_several_that_come_at_once_take_over_from_each_other(grid: Appliance) -> None:
    (worker,) = grid.state.workers()
    driver = tree(worker.pid)["driver"]
    with ExitStack() as open_ones:
        wires = [open_ones.enter_context(Wire(grid.port)) for _ in range(3)]
        driver.suspend()
        try:
            for wire in wires:
                wire.socket.sendall(request(f"/{AFTER}", UPGRADE))
                the_session(grid, "active")
        finally:
            driver.resume()
        assert [wire.answer(has_body=False).status for wire in wires] == [101, 101, 101]
        until(lambda: grid.log("proxy").count("another client took over this session") >= 2, "one is left")


def test_each_name_and_each_protocol_has_a_session_of_its_own(grid: Appliance, playwright: Playwright) -> None:
    first, second = connect(playwright, grid), connect(playwright, grid, "?session=other&keep=60")
    write(first, "three apples")
    assert second.contexts == []
    first.close()
    until(lambda: "kept" in {session.status for session in grid.state.sessions()}, "one is kept")
    with pytest.raises(Error, match="Session 'cart' is a session of Playwright's connect\\(\\) with chromium"):
        connect(playwright, grid, protocol="cdp")
    second.close()
    grid.applctl("sessions", "kill", "--all")


def test_a_client_that_asks_for_other_options_is_refused(grid: Appliance, playwright: Playwright) -> None:
    proxied = {"x-playwright-launch-options": json.dumps({"proxy": {"server": "http://127.0.0.1:9"}})}
    first = playwright.chromium.connect(f"{grid.endpoint}/{KEPT}", headers=proxied)
    write(first, "proxied")
    first.close()
    other = {"x-playwright-launch-options": json.dumps({"proxy": {"server": "http://127.0.0.1:10"}})}
    with pytest.raises(Error, match="was launched with other options"):
        playwright.chromium.connect(f"{grid.endpoint}/{AFTER}", headers=other)
    again = playwright.chromium.connect(f"{grid.endpoint}/{AFTER}", headers=proxied)
    assert read(again) == "proxied"
    again.close()


@pytest.mark.parametrize("protocol", ["playwright", "cdp"])
def test_nobody_comes_back(grid: Appliance, playwright: Playwright, protocol: str) -> None:
    connect(playwright, grid, "?session=cart&keep=1", protocol).close()
    assert last_end(grid) == "no client came back within 1 s"


@pytest.mark.parametrize("is_there", [True, False])
@pytest.mark.parametrize("protocol", ["playwright", "cdp"])
def test_an_operator_ends_it(grid: Appliance, playwright: Playwright, protocol: str, is_there: bool) -> None:
    browser = connect(playwright, grid, protocol=protocol)
    write(browser, "three apples")
    if not is_there:
        browser.close()
        the_session(grid)
    grid.applctl("sessions", "kill", "--all")
    assert last_end(grid) == "session closed by operator"
    if is_there:
        said = said_to(browser.contexts[0].pages[0])
        assert ("session closed by operator" in said) == (protocol == "playwright")  # a CDP client says less


@pytest.mark.parametrize("is_there", [True, False])
@pytest.mark.parametrize("protocol", ["playwright", "cdp"])
def test_its_browser_is_killed(grid: Appliance, playwright: Playwright, protocol: str, is_there: bool) -> None:
    shared = grid.browser_pids()
    browser = connect(playwright, grid, protocol=protocol)
    write(browser, "three apples")
    (pid,) = grid.browser_pids() - shared
    if not is_there:
        browser.close()
        the_session(grid)
    os.kill(pid, signal.SIGKILL)
    assert last_end(grid) == "the browser of this session crashed (signal 9)"
    fresh = connect(playwright, grid, AFTER, protocol)
    assert not any(page.url.startswith("http") for context in fresh.contexts for page in context.pages)
    fresh.close()


def test_a_handshake_that_the_driver_refuses_leaves_no_browser(grid: Appliance) -> None:
    for path in (f"/{KEPT}", f"/cdp{KEPT}"):
        with Wire(grid.port) as client:
            refused = {"Sec-WebSocket-Protocol": ",", "x-playwright-proxy": None}
            assert client.upgrade(path, **refused).status == 400
    # `_nothing_is_left` waits for the end of the browsers


def test_a_client_that_goes_at_once_does_not_disturb_the_next_one(grid: Appliance, playwright: Playwright) -> None:
    write(first := connect(playwright, grid, protocol="cdp"), "three apples")
    first.close()
    for query in [KEPT] * 5 + [AFTER]:
        with Wire(grid.port) as hasty:
            assert hasty.upgrade(f"/cdp{KEPT}", **{"x-playwright-proxy": None}).status == 101
        again = connect(playwright, grid, query, "cdp")
        assert read(again) == "three apples"
        again.close()


def test_a_browser_that_hangs_when_its_client_comes_back_is_ended(grid: Appliance, playwright: Playwright) -> None:
    shared = grid.browser_pids()
    first = connect(playwright, grid, protocol="cdp")
    (pid,) = grid.browser_pids() - shared
    os.kill(pid, signal.SIGSTOP)
    first.close()
    the_session(grid)
    with Wire(grid.port) as client:
        assert client.upgrade(f"/cdp{KEPT}", **{"x-playwright-proxy": None}).status == 101
    assert last_end(grid) == "the browser of this session has not answered in 10 s"


@pytest.mark.parametrize("is_there", [True, False])
def test_its_driver_is_killed(grid: Appliance, playwright: Playwright, is_there: bool) -> None:
    browser = connect(playwright, grid)
    write(browser, "three apples")
    if not is_there:
        browser.close()
        the_session(grid)
    (worker,) = grid.state.workers()
    tree(worker.pid)["driver"].send_signal(signal.SIGKILL)
    assert last_end(grid) == "the driver of worker chromium-00 ended: signal 9"
    grid.successor(worker)


@pytest.mark.parametrize("is_there", [True, False])
def test_its_proxy_is_killed(grid: Appliance, playwright: Playwright, is_there: bool) -> None:
    shared = grid.browser_pids()
    browser = connect(playwright, grid)
    if not is_there:
        browser.close()
        the_session(grid)
    grid.process("proxy").kill()
    until(lambda: grid.browser_pids() == shared, "its browser goes with what holds it")
    until(lambda: grid.is_ready(), "the proxy is back")


def test_redis_forgets_everything(grid: Appliance, playwright: Playwright) -> None:
    browser = connect(playwright, grid)
    write(browser, "three apples")
    browser.close()
    kept = the_session(grid)
    redis = grid.process("redis")
    redis.kill()
    until(lambda: not runs(redis), "it has ended, and another one begins empty")
    until(lambda: [session.id for session in sessions_there(grid)] == [kept.id], "it is known again")
    until(lambda: grid.is_ready(), "so is its worker")
    again = connect(playwright, grid, AFTER)
    assert read(again) == "three apples"
    again.close()


def sessions_there(grid: Appliance) -> list[SessionInfo]:
    try:
        return grid.state.sessions()
    except StoreUnavailable:
        return []


def test_it_is_kept_through_another_appliance(start_grid: StartGrid, playwright: Playwright) -> None:
    port = free_port()
    first = start_grid(REDIS_LISTEN=f"127.0.0.1:{port}", REDIS_PASSWORD="shared-0123456789", MAX_LIFETIME_SESSIONS=0)
    second = start_grid(REDIS_URL=f"redis://:shared-0123456789@127.0.0.1:{port}", CHROMIUM_WORKERS=0)
    browser = connect(playwright, second)
    write(browser, "three apples")
    assert second.audit() + first.audit() == []
    browser.close()
    kept = the_session(first)
    for member in (first, second, first):
        browser = connect(playwright, member)
        assert read(browser) == "three apples"
        assert the_session(first, "active").id == kept.id
        assert second.audit() + first.audit() == []
        browser.close()
        the_session(first)
    page = connect(playwright, first).contexts[0].pages[0]
    second.applctl("sessions", "kill", "--all")
    assert last_end(first) == "session closed by operator"
    assert "session closed by operator" in said_to(page), "its client is told, in the other proxy"
    browser = connect(playwright, first)
    write(browser, "four pears")
    browser.close()
    the_session(first)
    page = connect(playwright, second).contexts[0].pages[0]
    (worker,) = first.available(1)
    tree(worker.pid)["driver"].kill()
    assert said_to(page) == "the driver of worker chromium-00 ended: signal 9", "its client is told, as others are"


def test_one_that_waits_is_in_use_and_down_waits_for_nobody_to_come_back(
    start_grid: StartGrid, playwright: Playwright
) -> None:
    settings = {"CHROMIUM_WORKERS": 1, "MAX_CONCURRENT_SESSIONS": 1, "MAX_LIFETIME_SESSIONS": 0, "SPARE_WORKERS": 0}
    grid = start_grid(SHUTDOWN_GRACE=60, **settings)
    taken = playwright.chromium.connect(grid.endpoint)
    with Wire(grid.port) as client:
        client.socket.sendall(request(f"/{KEPT}", UPGRADE))
        until(lambda: "waiting" in {session.status for session in grid.state.sessions()}, "it waits")
        with pytest.raises(Error, match="Session 'cart' is in use"):
            connect(playwright, grid)
        taken.close()
        assert client.answer(has_body=False).status == 101
    the_session(grid)
    began = time.monotonic()
    assert "Waiting" not in grid.applctl("down").stdout
    assert time.monotonic() - began < 50
