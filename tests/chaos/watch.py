"""Watches an appliance during a run: how long its capacity was not whole, and which browsers it had."""

from __future__ import annotations

import threading
import time

from appliance.errors import StoreUnavailable
from appliance.models import WorkerStatus
from appliance.registry import Registry
from appliance.store import Store
from tests.chaos import calm
from tests.system.grid import Grid

LOOK_INTERVAL_S = 0.2


class CapacityWatch:
    """Looks at the appliance again and again, in a thread of its own."""

    def __init__(self, grid: Grid) -> None:
        """Take the appliance; nothing is watched yet."""
        self.longest_s = 0.0
        self.browsers_sessions: set[int] = set()
        self._grid = grid
        self._registry = Registry(Store(grid.registry.store.url, "grid"))
        self._serving = int(grid.env["CHROMIUM_WORKERS"])
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> CapacityWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        self._registry.store.close()

    def _run(self) -> None:
        whole_at = time.monotonic()
        while not self._stopped.wait(LOOK_INTERVAL_S):
            self.browsers_sessions |= calm.browsers_sessions(self._grid)
            if self._is_whole():
                whole_at = time.monotonic()
            self.longest_s = max(self.longest_s, time.monotonic() - whole_at)

    def _is_whole(self) -> bool:
        try:
            workers = self._registry.workers()
        except StoreUnavailable:
            return False
        available = [w for w in workers if w.status == WorkerStatus.AVAILABLE and not w.suspect and not w.stale]
        return len(available) >= self._serving
