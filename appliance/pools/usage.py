"""When each pool on demand was used last: a pool is used while sessions run on its workers or have begun there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from appliance.grid.records import WorkerInfo
from appliance.names import minor_version
from appliance.settings.pools import Pool

Key = tuple[str, str]  # browser and Playwright minor


class Usage:
    """When each pool on demand of this appliance was last used. A new process counts from its own start."""

    def __init__(self, idle_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Set after how many seconds a pool that nobody uses is idle; 0: never."""
        self._idle_s, self._clock = idle_s or float("inf"), clock
        self._used_at: dict[Key, float] = {}
        self._started: dict[Key, int] = {}  # sessions that have begun on the workers that are there
        self._busy: set[Key] = set()

    def note(self, pools: Iterable[Pool], workers: Iterable[WorkerInfo]) -> None:
        """Look at an appliance's pools and its workers."""
        known = {(str(pool.browser), pool.minor): 0 for pool in pools if pool.on_demand}
        active = dict(known)
        for worker in workers:
            key = (worker.browser, minor_version(worker.version))
            if key in known:
                known[key] += worker.lifetime
                active[key] += worker.active
        self._busy = {key for key, count in active.items() if count}
        now = self._clock()
        used = {key for key in known if key in self._busy or self._started.get(key) != known[key]}
        self._used_at = {key: now if key in used else self._used_at.get(key, now) for key in known}
        self._started = known

    def idle(self) -> Key | None:
        """Return a pool that nobody has used for too long, if there is one."""
        over = [key for key in self._least_recent() if self._clock() - self._used_at[key] >= self._idle_s]
        return over[0] if over else None

    def least_recent(self) -> Key | None:
        """Return the pool that makes room for another one: without sessions, and used before all others."""
        return next(iter(self._least_recent()), None)

    def forget(self, key: Key) -> None:
        """Forget a pool that has been ended."""
        self._used_at.pop(key, None)

    def _least_recent(self) -> list[Key]:
        return sorted(self._used_at.keys() - self._busy, key=lambda key: (self._used_at[key], key))
