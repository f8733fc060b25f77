"""What hangs instead of ending is found: a browser, its driver, a worker."""

from __future__ import annotations

from contextlib import suppress
from urllib.error import HTTPError

import psutil
import pytest
from playwright.sync_api import Error, Playwright, sync_playwright

from tests.support.appliance import StartGrid, tree
from tests.support.load import Load
from tests.support.looks import command_of
from tests.support.waiting import until
from tests.support.wire import Wire

HANG_TIMEOUT_S = 4
PIPE_BYTES = 64 * 1024  # pipe(7): what a pipe holds that nobody reads


@pytest.fixture
def playwright() -> Playwright:
    with sync_playwright() as playwright:
        yield playwright


@pytest.mark.parametrize("victim", ["browser", "driver"])
def test_what_hangs_under_load_is_found_and_costs_only_its_own_sessions(victim: str, start_grid: StartGrid) -> None:
    grid = start_grid(
        CHROMIUM_WORKERS=2,
        MAX_CONCURRENT_SESSIONS=2,
        MAX_LIFETIME_SESSIONS=0,
        HANG_TIMEOUT=HANG_TIMEOUT_S,
        STARTUP_STAGGER=0.1,
    )
    hung, spared = grid.available(2)
    with Load({"": grid.endpoint}, clients=4) as load:
        until(lambda: load.served > 8, "both workers are used")
        family = tree(hung.pid)
        hangs = [family["driver"]] if victim == "driver" else [*family.values()][2:]
        for process in hangs:
            with suppress(psutil.NoSuchProcess):  # pages come and go
                process.suspend()
        told = f"{victim} of worker {hung.name} stopped answering"
        until(lambda: told in grid.log(hung.name), "it is found", within_s=2 * HANG_TIMEOUT_S + 30)
        new = grid.successor(hung, within_s=60)
        assert {worker.id for worker in grid.available(2)} == {spared.id, new.id}
        served = load.served
        until(lambda: load.served > served + 8, "both workers are used")
    assert [error for error in load.errors if told not in error] == []
    assert len(load.errors) <= hung.concurrency
    until(lambda: not any(process.is_running() for process in family.values()), "no process is left")


def test_a_hung_driver_is_avoided_and_its_worker_reaped_only_with_its_heartbeat(
    start_grid: StartGrid, playwright: Playwright
) -> None:
    grid = start_grid(CHROMIUM_WORKERS=2, MAX_CONCURRENT_SESSIONS=1, STARTUP_STAGGER=0.1)
    first = grid.state.workers()[0]
    driver = next(c for c in psutil.Process(first.pid).children() if "launch-server" in command_of(c))
    driver.suspend()
    try:
        browser = playwright.chromium.connect(grid.endpoint)
        (session,) = grid.state.sessions()
        assert session.worker != first.id
        browser.close()
    finally:
        driver.resume()


def test_a_paused_workers_sessions_end_in_words(start_grid: StartGrid, site: str, playwright: Playwright) -> None:
    grid = start_grid(CHROMIUM_WORKERS=1)
    page = playwright.chromium.connect(grid.endpoint).new_page()
    worker = psutil.Process(grid.state.workers()[0].pid)
    worker.suspend()
    try:
        until(lambda: not grid.state.workers(), "the worker is reaped")
        with pytest.raises(HTTPError, match="503"):
            grid.get("/readyz")
        with pytest.raises(Error, match="worker chromium-00 stopped answering"):
            until(lambda: page.title() == "never", "the client is told")
    finally:
        worker.resume()
    grid.available(1)


def test_a_supervisord_that_reads_no_logs_holds_up_neither_sessions_nor_pages(start_grid: StartGrid) -> None:
    grid = start_grid(MAX_LIFETIME_SESSIONS=0)
    supervisord = grid.process("proxy").parent()
    assert supervisord
    with sync_playwright() as playwright:
        page = playwright.chromium.connect(grid.endpoint).new_page()
        supervisord.suspend()
        try:
            for _ in range(PIPE_BYTES // 100):
                with Wire(grid.port) as wire:
                    assert wire.upgrade("/nowhere").status == 404  # a line of more than 100 bytes
            assert page.evaluate("6 * 7") == 42
            assert grid.get("/healthz")["status"] == "ok"
            playwright.chromium.connect(grid.endpoint).close()
        finally:
            supervisord.resume()
        assert page.evaluate("6 * 7") == 42
    until(lambda: grid.log("proxy").count("request.refused") == PIPE_BYTES // 100, "no line is lost")
