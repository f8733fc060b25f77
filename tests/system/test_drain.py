"""Draining a worker harms no session, and a client is told why the appliance ends it."""

from __future__ import annotations

import re

import psutil
import pytest
from playwright.sync_api import Error, sync_playwright

from appliance.grid.records import WorkerInfo
from appliance.grid.values import WorkerStatus
from appliance.request_errors import StoreUnavailable
from tests.support.appliance import TIMINGS, Appliance, StartGrid
from tests.support.waiting import until

FILL_600_MIB = "window.kept = new Uint8Array(600 * 2 ** 20).fill(1); 0"


def entry(grid: Appliance, worker: WorkerInfo) -> WorkerInfo | None:
    """Return what Redis knows of a worker now; None if that is nothing, or Redis is away."""
    try:
        return next((found for found in grid.state.workers() if found.id == worker.id), None)
    except StoreUnavailable:
        return None


def test_a_drained_worker_finishes_its_session_while_a_spare_takes_the_new_ones(
    start_grid: StartGrid, site: str
) -> None:
    grid = start_grid(SPARE_WORKERS=1, STARTUP_STAGGER=0.1)
    (drained,) = grid.available(1)
    with sync_playwright() as playwright:
        browser = playwright.chromium.connect(grid.endpoint)
        page = browser.new_page()
        page.goto(site)
        grid.applctl("workers", "drain", drained.name)
        (successor,) = grid.available(1)
        assert successor.id != drained.id
        playwright.chromium.connect(grid.endpoint).close()
        assert page.title() == "A real page"
        browser.close()
    until(lambda: drained.id not in {worker.id for worker in grid.state.workers()}, "the drained worker is gone")
    until(lambda: len(grid.state.workers()) == 2, "its successor is there, which stands by")
    assert grid.applctl("workers", "drain", "chromium-99", check=False).returncode == 1


def test_a_client_is_told_in_words_when_the_appliance_shuts_down(start_grid: StartGrid) -> None:
    grid = start_grid(SHUTDOWN_GRACE=1)
    with sync_playwright() as playwright:
        browser = playwright.chromium.connect(grid.endpoint)
        page = browser.new_page()
        grid.down()
        with pytest.raises(Error, match="appliance is shutting down"):
            page.title()


def test_a_draining_worker_stays_so_when_redis_forgets_it_or_it_misses_a_heartbeat(
    start_grid: StartGrid, site: str
) -> None:
    grid = start_grid(CHROMIUM_WORKERS=2, STARTUP_STAGGER=0.1, WORKER_TTL=15)
    with sync_playwright() as playwright:
        browser = playwright.chromium.connect(grid.endpoint)
        page = browser.new_page()
        (session,) = grid.state.sessions()
        drained, other = sorted(grid.available(2), key=lambda worker: worker.id != session.worker)
        grid.applctl("workers", "drain", drained.name)
        heard = entry(grid, drained).heartbeat_ms  # a worker remembers what its last heartbeat was told
        until(lambda: entry(grid, drained).heartbeat_ms > heard, "the next heartbeat tells its lifetime")
        grid.process("redis").kill()
        for worker in (drained, other):
            until(lambda: "event=worker.registers_again" in grid.log(worker.name), "it is known again")  # noqa: B023
        as_before = (WorkerStatus.DRAINING, 1, 1)

        def is_as_before() -> bool:
            known = entry(grid, drained)
            return bool(known and (known.status, known.lifetime, known.active) == as_before)

        until(is_as_before, "it drains again, and its session counts again")
        served = [event["worker"] for event in grid.state.events() if event["event"] == "worker.promoted"]
        assert drained.id not in served, "it was available for a moment"
        pause_beyond(TIMINGS["HEARTBEAT_INTERVAL"], grid, drained, other)
        until(is_as_before, "it drains still")
        playwright.chromium.connect(grid.endpoint).close()
        assert entry(grid, other).lifetime == 1, "the new session went to the worker that drains"
        page.goto(site)
        assert page.title() == "A real page"
        browser.close()
    until(lambda: not entry(grid, drained), "the drained worker is gone")
    assert other.id in {worker.id for worker in grid.available(2)}


def test_a_draining_worker_waits_for_a_session_that_redis_forgot_with_its_proxy_away(
    start_grid: StartGrid, site: str
) -> None:
    grid = start_grid(CHROMIUM_WORKERS=1, SHUTDOWN_GRACE=30)  # in which its proxy is awaited
    with sync_playwright() as playwright:
        browser = playwright.chromium.connect(grid.endpoint)
        page = browser.new_page()
        (worker,) = grid.available(1)
        grid.applctl("workers", "drain", worker.name)
        proxy = grid.process("proxy")
        proxy.suspend()
        grid.process("redis").kill()
        until(lambda: "event=worker.awaits_proxy" in grid.log(worker.name), "no session of its is known")
        proxy.resume()
        page.goto(site)
        assert page.title() == "A real page"
        until(lambda: (known := entry(grid, worker)) and known.active == 1, "the session is known again")
        browser.close()
    until(lambda: not entry(grid, worker), "the drained worker is gone")
    grid.available(1)


def pause_beyond(seconds: float, grid: Appliance, paused: WorkerInfo, other: WorkerInfo) -> None:
    """Pause a worker until it is so much longer unheard than another, and let it go on until it is heard again."""
    heard = lambda worker: entry(grid, worker).heartbeat_ms  # noqa: E731
    worker = psutil.Process(paused.pid)
    worker.suspend()
    last = heard(paused)
    try:
        until(lambda: heard(other) - last > seconds * 1000, "it misses its heartbeat")
    finally:
        worker.resume()
    until(lambda: heard(paused) > last, "it is heard again")


def test_a_draining_worker_that_was_reaped_comes_back_only_to_end(start_grid: StartGrid) -> None:
    grid = start_grid(CHROMIUM_WORKERS=2, STARTUP_STAGGER=0.1)
    with sync_playwright() as playwright:
        page = playwright.chromium.connect(grid.endpoint).new_page()
        (session,) = grid.state.sessions()
        drained = next(worker for worker in grid.available(2) if worker.id == session.worker)
        grid.applctl("workers", "drain", drained.name)
        worker = psutil.Process(drained.pid)
        worker.suspend()
        try:
            until(lambda: not entry(grid, drained), "it is reaped")
            with pytest.raises(Error, match=f"worker {drained.name} stopped answering"):
                until(lambda: page.title() == "never", "the client is told")
        finally:
            worker.resume()

    def has_come_and_gone() -> bool:
        known = entry(grid, drained)
        assert not known or known.status == WorkerStatus.DRAINING
        return not known and "event=worker.registers_again" in grid.log(drained.name)

    until(has_come_and_gone, "it registers again, and ends")
    assert drained.id not in {worker.id for worker in grid.available(2)}


def test_a_worker_that_grows_past_its_limit_finishes_its_session_and_starts_anew(start_grid: StartGrid) -> None:
    grid = start_grid(CHROMIUM_WORKERS=2, STARTUP_STAGGER=0.1, WORKER_MAX_MEMORY="500MiB")
    with sync_playwright() as playwright:
        browser = playwright.chromium.connect(grid.endpoint)
        page = browser.new_page()
        (session,) = grid.state.sessions()
        grown = next(worker for worker in grid.available(2) if worker.id == session.worker)
        page.evaluate(FILL_600_MIB)
        until(lambda: entry(grid, grown).status == WorkerStatus.DRAINING, "it drains")
        (drain,) = [event for event in grid.state.events() if event["event"] == "worker.draining"]
        assert drain["worker"] == grown.id
        assert re.fullmatch(r"grew to \d{3,4} MiB of memory, past WORKER_MAX_MEMORY", drain["reason"])
        playwright.chromium.connect(grid.endpoint).close()
        assert entry(grid, grown).lifetime == 1, "the new session went to the worker that drains"
        assert page.evaluate("window.kept.length") == 600 * 2**20
        browser.close()
    until(lambda: not entry(grid, grown), "the grown worker is gone")
    assert grown.name in {worker.name for worker in grid.available(2)}
