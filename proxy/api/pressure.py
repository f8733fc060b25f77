"""Whether another session can be opened: are slots free, and has this appliance's machine memory and CPU left.

A session that comes all the same is served, or waits in the queue. This is for those who would rather go elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import psutil

from appliance.grid.records import PoolCapacity
from appliance.names import Browser, Isolation, without_beside

BUSY = 0.95  # of memory or CPU: what a page then waits for is the machine
LOOK_S = 1.0  # a shorter look at the processors says little

ANY = "any"


class Gauge:
    """How much of the machine is in use, as shares from 0 to 1."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin to look."""
        self._clock = clock
        self._looked_at = clock()
        self._cpu = 0.0
        psutil.cpu_percent()  # the first one is meaningless

    def memory(self) -> float:
        """Return the share of memory that is not available to new processes."""
        memory = psutil.virtual_memory()
        return round(1 - memory.available / memory.total, 3)

    def cpu(self) -> float:
        """Return the share of all processors since the last look, which is LOOK_S ago at least."""
        if self._clock() - self._looked_at >= LOOK_S:
            self._looked_at, self._cpu = self._clock(), round(psutil.cpu_percent() / 100, 3)
        return self._cpu


def pressure(
    pools: Iterable[PoolCapacity], browser: Browser, version: str, isolation: Isolation, memory: float, cpu: float
) -> dict[str, Any]:
    """Return whether a session of this kind, of any version if that is "", can be opened, and if not, why."""
    of_browser = [pool for pool in pools if pool.browser == browser and version in ("", without_beside(pool.version))]
    matching = _serving(of_browser, isolation)
    slots, free, waiting = (sum(getattr(pool, name) for pool in matching) for name in ("slots", "free", "waiting"))
    kind = f"{browser}{f' of Playwright {version}' if version else ''}"
    limit, reason = "", ""
    if not slots:
        limit, reason = "slots", f"No worker of {kind} is available."
    elif not free or waiting:
        limit, reason = "slots", f"All {slots} slots of {kind} are taken, and {waiting} sessions wait."
    elif memory > BUSY:
        limit, reason = "memory", f"This appliance's machine has {1 - memory:.0%} of its memory left."
    elif cpu > BUSY:
        limit, reason = "cpu", f"This appliance's machine uses {cpu:.0%} of its processors."
    return {
        "is_available": not limit,
        "limit": limit,
        "reason": reason,
        "browser": browser.value,
        "version": version,
        "isolation": isolation.value,
        "slots": slots,
        "free": free,
        "waiting": waiting,
        "memory": memory,
        "cpu": cpu,
    }


def _serving(pools: list[PoolCapacity], isolation: Isolation) -> list[PoolCapacity]:
    """Return the pools that serve sessions of an isolation, as lua/pools.lua chooses them, and who waits for any."""
    beside = [pool for pool in pools if pool.version != without_beside(pool.version)]
    if isolation is Isolation.BROWSER and beside:
        return beside + [pool for pool in pools if pool.version == ANY]
    return [pool for pool in pools if pool not in beside]
