"""How much memory an appliance takes while it is used, beside what it may take."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import psutil

from appliance.pools.resizing import WORKER_BYTES
from tests.support.appliance import Appliance

MIB = 1 << 20
REST_BYTES = 512 * MIB  # of supervisord, proxy, Redis and the like, as docs/sizing.md has it
LOOK_INTERVAL_S = 0.5


class MemoryWatch:
    """Looks again and again at what all processes of an appliance take, in a thread of its own."""

    def __init__(self, grid: Appliance) -> None:
        """Find supervisord, which is the parent of all of them."""
        self.peak_bytes = 0
        self._top = psutil.Process(int((grid.run_dir / "log" / "supervisord.pid").read_text()))
        self._is_over = threading.Event()
        self._pool = ThreadPoolExecutor(1)

    def __enter__(self) -> MemoryWatch:
        """Begin."""
        self._running = self._pool.submit(self._run)
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._is_over.set()
        self._running.result()

    def require_within(self, workers: int) -> None:
        """Fail if so many workers and the rest ever took more than the appliance reckons with for them."""
        bound = workers * WORKER_BYTES + REST_BYTES
        assert 0 < self.peak_bytes <= bound, f"{self.peak_bytes // MIB} MiB of {bound // MIB} MiB"

    def _run(self) -> None:
        while not self._is_over.wait(LOOK_INTERVAL_S):
            now = sum(map(_bytes_of, [self._top, *self._top.children(recursive=True)]))
            self.peak_bytes = max(self.peak_bytes, now)


def _bytes_of(process: psutil.Process) -> int:
    """Return a process' PSS: of what processes share, each has its part."""
    try:
        return int(process.memory_full_info().pss)
    except psutil.AccessDenied:  # a sandboxed one, to others than root
        memory = process.memory_info()
        return int(memory.rss - memory.shared)
    except psutil.NoSuchProcess:
        return 0
