"""Workers to register, and claims on them, for tests of the grid."""

from __future__ import annotations

from typing import Any

from appliance.grid.grid import Grid
from appliance.grid.values import Grant, SessionRequest, WorkerSpec, WorkerStatus
from appliance.names import Browser

CONCURRENCY = 5


def spec(worker: str, *, lifetime: int = 0, quota: int = 20, **changes: object) -> WorkerSpec:
    fields = {
        "id": worker,
        "browser": Browser.CHROMIUM,
        "version": "1.65.1",
        "appliance": "here",
        "name": worker,
        "concurrency": CONCURRENCY,
        "quota": quota,
        "ttl_ms": 60_000,
        "status": WorkerStatus.AVAILABLE,
        "pid": 1,
        "lifetime": lifetime,
    }
    return WorkerSpec(**(fields | changes))  # type: ignore[arg-type]


def claim(
    grid: Grid, session: str, browser: Browser = Browser.CHROMIUM, minor: str = "1.65", **more: Any
) -> dict[str, Any]:
    wanted = SessionRequest(browser, minor, **more)
    return grid.claim(session, wanted, proxy="p", lease_ms=60_000, wait_ms=60_000, queue_max=100)


def fill(grid: Grid, workers: dict[str, tuple[int, int]], quota: int) -> None:
    """Register workers by lifetime and active sessions; `assert` puts a session where it is said to be."""
    for name, (lifetime, active) in workers.items():
        grid.register_worker(spec(name, lifetime=lifetime, quota=quota, target=len(workers)))
        for number in range(active):
            grant = Grant(f"{name}-{number}", name, name, "appliance", 0)
            grid.assert_session(grant, SessionRequest(Browser.CHROMIUM), proxy="p", lease_ms=60_000)
