"""How pools on demand are used: which one is idle, too large or too small, and which one makes room for another.

A pool is used while sessions run on its workers, have begun there, or wait for it. It is crowded while sessions wait
although all its workers serve.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from appliance.grid.records import WorkerInfo
from appliance.grid.values import WorkerStatus
from appliance.names import minor_version
from appliance.settings.pools import Pool

Key = tuple[str, str]  # browser and Playwright minor

_CROWDED_S = 1.0  # sessions that wait for less do not wait for the start of another worker


@dataclass(frozen=True, slots=True)
class _Use:
    """What was seen of a pool. `begun` counts the sessions that have begun on the workers that are there."""

    size: int
    begun: int
    is_busy: bool
    needed: int  # workers
    used_at: float
    needed_at: float  # when it last needed all its workers
    crowded_since: float | None


class Usage:
    """The pools on demand of this appliance. A new process counts from its own start."""

    def __init__(self, idle_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Set after how many seconds a pool that nobody uses is idle; 0: never."""
        self._idle_s, self._clock = idle_s or float("inf"), clock
        self._uses: dict[Key, _Use] = {}

    def note(
        self, pools: Iterable[Pool], workers: Iterable[WorkerInfo], waiting: Mapping[Key, int] | None = None
    ) -> None:
        """Look at an appliance's pools, its workers, and how many sessions wait for each pool."""
        by_key: dict[Key, list[WorkerInfo]] = {}
        for worker in workers:
            by_key.setdefault((worker.browser, minor_version(worker.version)), []).append(worker)
        sizes = {(str(pool.browser), pool.minor): pool.workers for pool in pools if pool.on_demand}
        waiting = waiting or {}
        self._uses = {
            key: self._seen(self._uses.get(key), size, by_key.get(key, []), waiting.get(key, 0))
            for key, size in sizes.items()
        }

    def _seen(self, before: _Use | None, size: int, workers: list[WorkerInfo], waiting: int) -> _Use:
        now = self._clock()
        serving = [worker for worker in workers if worker.status == WorkerStatus.AVAILABLE]
        begun = sum(worker.lifetime for worker in workers)
        wanted = waiting + sum(worker.active for worker in serving)
        needed = max(1, math.ceil(wanted / max((worker.concurrency for worker in serving), default=1)))
        is_busy = waiting > 0 or any(worker.active for worker in workers)
        is_used = is_busy or before is None or before.begun != begun
        is_crowded = waiting > 0 and len(serving) >= size
        since = now if before is None or before.crowded_since is None else before.crowded_since
        return _Use(
            size,
            begun,
            is_busy,
            needed,
            used_at=now if is_used or before is None else before.used_at,
            needed_at=now if needed >= size or before is None else before.needed_at,
            crowded_since=since if is_crowded else None,
        )

    def idle(self) -> Key | None:
        """Return a pool that nobody has used for too long, if there is one."""
        over = [key for key in self._least_recent() if self._clock() - self._uses[key].used_at >= self._idle_s]
        return over[0] if over else None

    def least_recent(self) -> Key | None:
        """Return the pool that makes room for another one: without sessions, and used before all others."""
        return next(iter(self._least_recent()), None)

    def oversized(self) -> tuple[Key, int] | None:
        """Return a pool that has not needed all its workers for too long, and how many it needs now."""
        for key, use in sorted(self._uses.items()):
            if use.needed < use.size and self._clock() - use.needed_at >= self._idle_s:
                return key, use.needed
        return None

    def crowded(self) -> list[Key]:
        """Return the pools that need another worker, the smallest first."""
        now = self._clock()
        found = [(use.size, key) for key, use in self._uses.items()
                 if use.crowded_since is not None and now - use.crowded_since >= _CROWDED_S]  # fmt: skip
        return [key for _, key in sorted(found)]

    def largest(self) -> tuple[Key, int] | None:
        """Return the pool that has most workers, and how many, if it has more than one."""
        size, key = max(((use.size, key) for key, use in self._uses.items()), default=(0, ("", "")))
        return (key, size) if size > 1 else None

    def forget(self, key: Key) -> None:
        """Forget a pool that has been ended."""
        self._uses.pop(key, None)

    def _least_recent(self) -> list[Key]:
        quiet = [key for key, use in self._uses.items() if not use.is_busy]
        return sorted(quiet, key=lambda key: (self._uses[key].used_at, key))
