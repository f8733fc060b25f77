"""Whatever is lost for a while, sessions that need not end go on, and no slot leaks or is given twice."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from urllib.error import HTTPError

import pytest
from playwright.sync_api import Error, Playwright, sync_playwright

from tests.support.appliance import Appliance, StartGrid
from tests.support.load import Load
from tests.support.waiting import until
from tests.support.wire import BareClient


@pytest.fixture
def playwright() -> Playwright:
    with sync_playwright() as playwright:
        yield playwright


def active(grid: Appliance) -> Callable[[], list[int]]:
    return lambda: [worker.active for worker in grid.state.workers()]


def test_after_redis_restarted_empty_sessions_go_on_and_no_slot_is_given_twice(
    start_grid: StartGrid, site: str, playwright: Playwright
) -> None:
    grid = start_grid(MAX_CONCURRENT_SESSIONS=2, QUEUE_TIMEOUT=2)
    page = playwright.chromium.connect(grid.endpoint).new_page()
    grid.process("redis").kill()
    page.goto(site)
    second = until(lambda: try_to_connect(playwright, grid), "new sessions are taken again")
    with pytest.raises(Error, match="No chromium slot came free"):
        playwright.chromium.connect(grid.endpoint)
    assert page.title() == "A real page"
    until(lambda: active(grid)() == [2], "both sessions are known again")
    second.close()
    page.context.browser.close()
    until(lambda: active(grid)() == [0], "both slots are free")


def try_to_connect(playwright: Playwright, grid: Appliance):
    try:
        return playwright.chromium.connect(grid.endpoint)
    except Error:
        return None


def test_while_redis_is_paused_sessions_go_on_and_new_clients_are_told(
    start_grid: StartGrid, site: str, playwright: Playwright
) -> None:
    grid = start_grid()
    page = playwright.chromium.connect(grid.endpoint).new_page()
    redis = grid.process("redis")
    redis.suspend()
    try:
        with pytest.raises(Error, match="Redis does not answer"):
            playwright.chromium.connect(grid.endpoint)
        page.goto(site)
        until(lambda: "redis_away" in grid.log("chromium-00"), "heartbeats are missed")
        page.wait_for_timeout(4_000)  # longer than every TTL, through the session itself
    finally:
        redis.resume()
    until(lambda: active(grid)() == [1], "the session is still known")
    until(lambda: "redis_back" in grid.log("chromium-00"), "the worker is back")
    playwright.chromium.connect(grid.endpoint).close()
    assert page.title() == "A real page"
    page.context.browser.close()
    until(lambda: active(grid)() == [0], "the slot is free")


def test_a_killed_proxy_gives_its_slots_back(start_grid: StartGrid, site: str, playwright: Playwright) -> None:
    grid = start_grid(MAX_CONCURRENT_SESSIONS=20)
    pages = [playwright.chromium.connect(grid.endpoint).new_page() for _ in range(20)]
    assert active(grid)() == [20]
    grid.process("proxy").kill()
    for page in pages:
        with pytest.raises(Error):
            page.goto(site)
    until(lambda: active(grid)() == [0], "the leases expire")
    until(lambda: try_to_connect(playwright, grid), "the proxy is back").close()


def test_a_proxy_that_was_paused_past_its_leases_keeps_its_sessions(
    start_grid: StartGrid, site: str, playwright: Playwright
) -> None:
    grid = start_grid()
    browser = playwright.chromium.connect(grid.endpoint)
    page = browser.new_page()
    (session,) = grid.state.sessions()
    proxy = grid.process("proxy")
    proxy.suspend()
    leases = grid.state.store.key("leases")
    expiry_ms = grid.state.store.read(("ZSCORE", leases, session.id))[0]

    def expired() -> bool:
        seconds, microseconds = grid.state.store.read(("TIME",))[0]
        return int(seconds) * 1000 + int(microseconds) // 1000 > expiry_ms + 1000

    until(expired, "the lease has expired")
    proxy.send_signal(signal.SIGCONT)
    page.goto(site)
    assert page.title() == "A real page"
    until(lambda: active(grid)() == [1], "the session is known")
    browser.close()
    until(lambda: active(grid)() == [0], "the slot is free")


def test_a_redis_that_refuses_for_a_while_does_no_lasting_harm(
    start_grid: StartGrid, site: str, playwright: Playwright
) -> None:
    grid = start_grid()
    browser = playwright.chromium.connect(grid.endpoint)
    store = grid.state.store
    store.read(("CONFIG", "SET", "maxmemory", 1))
    until(lambda: "redis_away" in grid.log("chromium-00") and "redis.away" in grid.log("proxy"), "both are refused")
    with pytest.raises(Error, match="Redis refuses"):
        playwright.chromium.connect(grid.endpoint)
    store.read(("CONFIG", "SET", "maxmemory", 0))
    until(lambda: "redis_back" in grid.log("chromium-00") and "redis.back" in grid.log("proxy"), "both go on")
    playwright.chromium.connect(grid.endpoint).close()
    browser.close()
    until(lambda: active(grid)() == [0], "both slots are free")


def test_a_client_waits_for_its_browser_right_after_redis_lost_everything(
    start_grid: StartGrid, playwright: Playwright
) -> None:
    grid = start_grid(HEARTBEAT_INTERVAL=2, WORKER_TTL=6, LEASE_RENEW_INTERVAL=20, LEASE_TTL=60)
    grid.state.store.read(("FLUSHALL",))
    playwright.chromium.connect(grid.endpoint).close()


def test_at_shutdown_running_sessions_finish_and_waiting_clients_are_refused_at_once(
    start_grid: StartGrid, site: str, playwright: Playwright
) -> None:
    grid = start_grid(MAX_CONCURRENT_SESSIONS=1, SHUTDOWN_GRACE=60)
    browser = playwright.chromium.connect(grid.endpoint)
    page = browser.new_page()
    waiter = BareClient(grid)
    until(lambda: len(grid.state.sessions()) == 2, "a second client waits")
    grid.process("proxy").terminate()
    until(lambda: waiter.is_answered, "it is answered", within_s=20)
    assert waiter.answer() == (503, "The appliance is shutting down.")
    with pytest.raises(HTTPError, match="503"):
        grid.get("/readyz")
    page.goto(site)
    assert page.title() == "A real page"
    browser.close()


# What a client is told when its proxy is killed, by the proxy's end or by Playwright, or before there is a new one.
CUT_OFF = "ECONNREFUSED|ECONNRESET|socket hang up|Target page, context or browser has been closed|Browser closed"


def test_a_proxy_killed_under_load_costs_only_what_it_had_at_hand(start_grid: StartGrid) -> None:
    grid = start_grid(MAX_CONCURRENT_SESSIONS=3)
    with Load({"": grid.endpoint}, clients=8) as load:
        until(lambda: load.served > 8 and len(grid.state.sessions()) > 3, "some use the grid, and others wait")
        grid.process("proxy").kill()
        until(lambda: load.errors, "clients are told")
        served = load.served
        until(lambda: load.served > served + 8, "new sessions are served", within_s=60)
    assert [error for error in load.errors if not re.search(CUT_OFF, error)] == []
    until(lambda: not grid.state.sessions() and active(grid)() == [0], "all slots are free, nobody waits")


def test_that_redis_forgets_the_library_time_and_again_is_not_noticed(start_grid: StartGrid) -> None:
    grid = start_grid(MAX_CONCURRENT_SESSIONS=3)
    with Load({"": grid.endpoint}, clients=6) as load:
        until(lambda: load.served > 6, "clients use the grid")
        served, flushes = load.served, 0
        while load.served < served + 40 and not load.errors:
            if grid.state.store.read(("FUNCTION", "LIST"))[0]:  # somebody has just loaded it again
                grid.state.store.read(("FUNCTION", "FLUSH"))
                flushes += 1
    assert not load.errors
    assert flushes > 40
    until(lambda: not grid.state.sessions() and active(grid)() == [0], "all slots are free, nobody waits")
