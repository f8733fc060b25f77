"""A supervisord that is killed takes its processes along, and what it leaves is no obstacle."""

from __future__ import annotations

import psutil
from playwright.sync_api import sync_playwright

from appliance.machine.supervisor import Supervisor
from tests.support.appliance import Appliance, StartGrid
from tests.support.waiting import until


def kill_supervisord(grid: Appliance) -> None:
    supervisord = psutil.Process(Supervisor(grid.run_dir).pid())
    supervisord.kill()
    until(lambda: not Supervisor(grid.run_dir).running(), "supervisord is gone")


def test_up_starts_a_whole_grid_after_supervisord_was_killed(start_grid: StartGrid, site: str) -> None:
    grid = start_grid()
    kill_supervisord(grid)
    status = grid.applctl("status", check=False)
    assert status.returncode == 3
    assert "redis-server" in status.stdout, "what is left is not named"
    grid.up()
    with sync_playwright() as playwright, playwright.chromium.connect(grid.endpoint) as browser:
        page = browser.new_page()
        page.goto(site)
        assert page.title() == "A real page"


def test_proxy_and_workers_end_by_themselves_and_down_removes_the_rest(start_grid: StartGrid) -> None:
    grid = start_grid()
    kill_supervisord(grid)
    until(lambda: not grid.processes(), "proxy, worker and browser have ended")
    grid.applctl("down")
    assert not list(grid.run_dir.glob("supervisor*.*")), "socket or pid file are left behind"
