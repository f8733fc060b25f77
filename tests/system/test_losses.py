"""Whatever is lost for a while, sessions that need not end go on, and no slot leaks or is given twice."""

from __future__ import annotations

import http.client
import json
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.error import HTTPError

import psutil
import pytest
from playwright.sync_api import Error, Playwright, sync_playwright

from tests.system.conftest import StartGrid
from tests.system.grid import Grid
from tests.waiting import until


@pytest.fixture
def playwright() -> Playwright:
    with sync_playwright() as playwright:
        yield playwright


def process(grid: Grid, name: str) -> psutil.Process:
    """Give the appliance's redis or proxy."""
    if name == "redis":
        socket = str(grid.run_dir / "redis.sock")
        return next(p for p in psutil.process_iter() if p.name() == "redis-server" and socket in " ".join(p.cmdline()))
    return next(p for p in grid.processes() if p.cmdline()[-2:] == ["-m", name])


def active(grid: Grid) -> Callable[[], list[int]]:
    return lambda: [worker.active for worker in grid.registry.workers()]


def test_after_redis_restarted_empty_sessions_go_on_and_no_slot_is_given_twice(
    start_grid: StartGrid, site: str, playwright: Playwright
) -> None:
    grid = start_grid(MAX_CONCURRENT_SESSIONS=2, QUEUE_TIMEOUT=2)
    page = playwright.chromium.connect(grid.endpoint).new_page()
    process(grid, "redis").kill()
    page.goto(site)
    second = until(lambda: try_to_connect(playwright, grid), "new sessions are taken again", within_s=15)
    with pytest.raises(Error, match="no chromium slot came free"):
        playwright.chromium.connect(grid.endpoint)
    assert page.title() == "A real page"
    until(lambda: active(grid)() == [2], "both sessions are known again")
    second.close()
    page.context.browser.close()
    until(lambda: active(grid)() == [0], "both slots are free")


def try_to_connect(playwright: Playwright, grid: Grid):
    try:
        return playwright.chromium.connect(grid.endpoint)
    except Error:
        return None


def test_while_redis_is_paused_sessions_go_on_and_new_clients_are_told(
    start_grid: StartGrid, site: str, playwright: Playwright
) -> None:
    grid = start_grid()
    page = playwright.chromium.connect(grid.endpoint).new_page()
    redis = process(grid, "redis")
    redis.suspend()
    try:
        with pytest.raises(Error, match="Redis does not answer"):
            playwright.chromium.connect(grid.endpoint)
        page.goto(site)
        until(lambda: "redis_away" in grid.log("chromium-00"), "heartbeats are missed", within_s=20)
        page.wait_for_timeout(10_000)  # longer than every TTL, through the session itself
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
    process(grid, "proxy").kill()
    for page in pages:
        with pytest.raises(Error):
            page.goto(site)
    until(lambda: active(grid)() == [0], "the leases expire", within_s=10)
    until(lambda: try_to_connect(playwright, grid), "the proxy is back").close()


def test_a_proxy_that_was_paused_past_its_leases_keeps_its_sessions(
    start_grid: StartGrid, site: str, playwright: Playwright
) -> None:
    grid = start_grid()
    browser = playwright.chromium.connect(grid.endpoint)
    page = browser.new_page()
    (session,) = grid.registry.sessions()
    proxy = process(grid, "proxy")
    proxy.suspend()
    leases = grid.registry.store.key("leases")
    expiry_ms = grid.registry.store.read(("ZSCORE", leases, session.id))[0]

    def expired() -> bool:
        seconds, microseconds = grid.registry.store.read(("TIME",))[0]
        return int(seconds) * 1000 + int(microseconds) // 1000 > expiry_ms + 1000

    until(expired, "the lease has expired")
    proxy.send_signal(signal.SIGCONT)
    page.goto(site)
    assert page.title() == "A real page"
    until(lambda: active(grid)() == [1], "the session is known")
    browser.close()
    until(lambda: active(grid)() == [0], "the slot is free")


def test_a_hung_driver_is_avoided_and_its_worker_reaped_only_with_its_heartbeat(
    start_grid: StartGrid, playwright: Playwright
) -> None:
    grid = start_grid(CHROMIUM_WORKERS=2, MAX_CONCURRENT_SESSIONS=1, STARTUP_STAGGER=0.1)
    first = grid.registry.workers()[0]
    driver = next(c for c in psutil.Process(first.pid).children() if "launch-server" in c.cmdline())
    driver.suspend()
    try:
        browser = playwright.chromium.connect(grid.endpoint)
        (session,) = grid.registry.sessions()
        assert session.worker != first.id
        browser.close()
    finally:
        driver.resume()


def test_a_paused_workers_sessions_end_in_words(start_grid: StartGrid, site: str, playwright: Playwright) -> None:
    grid = start_grid(CHROMIUM_WORKERS=1)
    page = playwright.chromium.connect(grid.endpoint).new_page()
    worker = psutil.Process(grid.registry.workers()[0].pid)
    worker.suspend()
    try:
        until(lambda: not grid.registry.workers(), "the worker is reaped")
        with pytest.raises(HTTPError, match="503"):
            grid.get("/readyz")
        with pytest.raises(Error, match="worker chromium-00 stopped answering"):
            until(lambda: page.title() == "never", "the client is told")
    finally:
        worker.resume()
    grid.available(1)


def test_a_redis_that_refuses_for_a_while_does_no_lasting_harm(
    start_grid: StartGrid, site: str, playwright: Playwright
) -> None:
    grid = start_grid()
    browser = playwright.chromium.connect(grid.endpoint)
    store = grid.registry.store
    store.read(("CONFIG", "SET", "maxmemory", 1))
    until(lambda: "redis_away" in grid.log("chromium-00") and "redis.away" in grid.log("proxy"), "both are refused")
    with pytest.raises(Error, match="Redis refuses"):
        playwright.chromium.connect(grid.endpoint)
    store.read(("CONFIG", "SET", "maxmemory", 0))
    until(lambda: "redis_back" in grid.log("chromium-00") and "redis.back" in grid.log("proxy"), "both go on")
    playwright.chromium.connect(grid.endpoint).close()
    browser.close()
    until(lambda: active(grid)() == [0], "both slots are free")


def test_right_after_redis_lost_everything_a_client_is_not_told_that_there_is_no_chromium(
    start_grid: StartGrid, playwright: Playwright
) -> None:
    grid = start_grid(HEARTBEAT_INTERVAL=2, WORKER_TTL=6, LEASE_RENEW_INTERVAL=20, LEASE_TTL=60)
    grid.registry.store.read(("FLUSHALL",))
    playwright.chromium.connect(grid.endpoint).close()


def test_at_shutdown_running_sessions_finish_and_waiting_clients_are_refused_at_once(
    start_grid: StartGrid, site: str, playwright: Playwright
) -> None:
    grid = start_grid(MAX_CONCURRENT_SESSIONS=1, SHUTDOWN_GRACE=20)
    browser = playwright.chromium.connect(grid.endpoint)
    page = browser.new_page()
    with ThreadPoolExecutor(1) as pool:
        waiter = pool.submit(raw_connect, grid)
        until(lambda: len(grid.registry.sessions()) == 2, "a second client waits")
        process(grid, "proxy").terminate()
        assert waiter.result(5) == (503, "the appliance is shutting down")
    with pytest.raises(HTTPError, match="503"):
        grid.get("/readyz")
    page.goto(site)
    assert page.title() == "A real page"
    browser.close()


def raw_connect(grid: Grid) -> tuple[int, str]:
    """Ask for a session and give the status and message of the refusal."""
    connection = http.client.HTTPConnection("127.0.0.1", grid.port, timeout=30)
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    connection.request("GET", "/", headers=upgrade | {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="})
    answer = connection.getresponse()
    return answer.status, json.load(answer)["error"]["message"]
