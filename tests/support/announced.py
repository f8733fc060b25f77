"""Grid for tests: what a proxy announces of its own, and its workers."""

from __future__ import annotations

from typing import Any

from appliance.grid.grid import Grid
from appliance.grid.values import Announcement, WorkerStatus
from appliance.names import Browser
from tests.support.claims import spec


def announcement(appliance: str, **changes: Any) -> Announcement:
    """Return an announcement that differs from the usual one in what is named."""
    fields: dict[str, Any] = {
        "appliance": appliance,
        "run": f"first of {appliance}",
        "drained": False,
        "epoch": 0,
        "stopping": False,
        "proxy": f"{appliance}.abcdef",
        "endpoint": f"ws://{appliance}:8080",
        "address": appliance,
        "port": 8080,
        "certificate": "",
        "version": "1.65.1",
        "pools": {(Browser.CHROMIUM, "1.65"): 1},
        "relayed": 0,
        "admits": False,
        "serves_redis": False,
        "rival": "",
        "settle_ms": 0,
        "ttl_ms": 60_000,
    }
    return Announcement(**(fields | changes))


def register(grid: Grid, worker: str, appliance: str, **changes: Any) -> str:
    """Register a worker of an appliance, beside one spare; it comes to stand by."""
    changes = {"status": WorkerStatus.STANDBY, "spares": 1, "run": f"first of {appliance}"} | changes
    return grid.register_worker(spec(worker, appliance=appliance, **changes))


def statuses(grid: Grid) -> dict[str, str]:
    """Return the status of each worker."""
    return {worker.id: worker.status for worker in grid.workers()}


def status(grid: Grid, name: str = "here") -> str:
    """Return the status of an appliance that is known."""
    return {state.name: state.status.value for state in grid.appliances()}[name]
