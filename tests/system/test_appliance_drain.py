"""One appliance is drained: it stays so whatever is lost or restarted, until it is told to serve or started anew."""

from __future__ import annotations

import json
import re
from urllib.error import HTTPError

import pytest
from playwright.sync_api import Error, sync_playwright

from appliance.grid.records import WorkerInfo
from appliance.request_errors import StoreUnavailable
from tests.support.appliance import Appliance, StartGrid
from tests.support.waiting import until
from tests.support.wire import BareClient


def why_not_ready(grid: Appliance) -> str:
    """Return why /readyz fails, "" if it does not."""
    try:
        grid.get("/readyz")
    except HTTPError as error:
        return str(json.load(error)["error"]["message"])
    except OSError as error:
        return str(error)
    return ""


def listed(grid: Appliance) -> dict[str, object]:
    (appliance,) = json.loads(grid.applctl("appliances", "--json").stdout)
    return appliance


def test_a_drain_lets_sessions_finish_and_outlives_redis_and_the_processes(start_grid: StartGrid, site: str) -> None:
    grid = start_grid(MAX_CONCURRENT_SESSIONS=1, SPARE_WORKERS=1, STARTUP_STAGGER=0.1, DRAIN_NOTICE=30)
    (served,) = grid.available(1)
    with sync_playwright() as playwright:
        page = playwright.chromium.connect(grid.endpoint).new_page()
        waiter = BareClient(grid)
        until(lambda: len(grid.state.sessions()) == 2, "a second client waits")
        grid.applctl("appliance", "drain")
        assert waiter.answer() == (503, "The appliance is drained.")
        assert why_not_ready(grid) == "The appliance is drained."
        with pytest.raises(Error, match="The appliance is drained"):
            playwright.chromium.connect(grid.endpoint)
        assert not grid.get("/api/v1/appliance")["safe_to_stop"]

        grid.process("redis").kill()
        until(lambda: served.id in {worker.id for worker in workers(grid)}, "Redis knows the workers again")
        assert not [worker for worker in workers(grid) if worker.status == "available"]
        until(lambda: len(grid.state.sessions()) == 1, "and the session")
        page.goto(site)
        assert page.title() == "A real page"
        failed = grid.applctl("appliance", "drain", "--wait", "--timeout", "0", check=False)
        assert re.search("was not drained within 0 s: 1 session left", failed.stderr)
        page.context.browser.close()
    grid.applctl("appliance", "drain", "--wait", "--timeout", "60")
    assert grid.applctl("doctor", check=False).returncode == 0, "a worker that starts anew is no fault of a drained one"
    shown = grid.applctl("up", "--no-setup").stdout
    assert ("undrain" in shown, "The grid is ready" in shown) == (True, False)
    assert grid.get("/api/v1/appliance")["safe_to_stop"]

    grid.process("proxy").kill()
    until(lambda: why_not_ready(grid) == "The appliance is drained.", "the new proxy remembers it")
    until(lambda: listed(grid)["workers"] == {"standby": 2, "available": 0, "draining": 0}, "both workers stand by")
    assert listed(grid)["status"] == "drained"
    assert grid.lasting_differences() == []
    grid.applctl("appliance", "undrain")
    grid.available(1)
    until(lambda: why_not_ready(grid) == "", "it serves")

    grid.applctl("appliance", "drain")
    grid.applctl("restart")
    until(lambda: why_not_ready(grid) == "", "a new run is not drained")
    unknown = grid.applctl("appliance", "drain", "nobody", check=False)
    assert re.search(f"no appliance nobody\n.*: {grid.env['APPLIANCE_NAME']}", unknown.stderr)


def workers(grid: Appliance) -> list[WorkerInfo]:
    """Return the workers that Redis knows, while it may be away."""
    try:
        return grid.state.workers()
    except StoreUnavailable:
        return []
