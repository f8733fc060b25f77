"""Draining a worker harms no session, and a client is told why the appliance ends it."""

from __future__ import annotations

import pytest
from playwright.sync_api import Error, sync_playwright

from tests.system.conftest import StartGrid
from tests.waiting import until


def test_a_drained_worker_finishes_its_session_while_a_spare_takes_the_new_ones(
    start_grid: StartGrid, site: str
) -> None:
    grid = start_grid(SPARE_WORKERS=1, STARTUP_STAGGER=0.1)
    (drained,) = grid.available(1)
    with sync_playwright() as playwright:
        browser = playwright.chromium.connect(grid.endpoint)
        page = browser.new_page()
        page.goto(site)
        grid.applctl("workers", "drain", drained.slot)
        (successor,) = grid.available(1)
        assert successor.id != drained.id
        playwright.chromium.connect(grid.endpoint).close()
        assert page.title() == "A real page"
        browser.close()
    until(lambda: drained.id not in {worker.id for worker in grid.registry.workers()}, "the drained worker is gone")
    until(lambda: len(grid.registry.workers()) == 2, "its slot has a new worker, which stands by")
    assert grid.applctl("workers", "drain", "chromium-99", check=False).returncode == 1


def test_a_client_is_told_in_words_when_the_appliance_shuts_down(start_grid: StartGrid) -> None:
    grid = start_grid(SHUTDOWN_GRACE=1)
    with sync_playwright() as playwright:
        browser = playwright.chromium.connect(grid.endpoint)
        page = browser.new_page()
        grid.applctl("down")
        with pytest.raises(Error, match="appliance is shutting down"):
            page.title()
