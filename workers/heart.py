"""A worker's heartbeats, with the memory that its process tree takes."""

from __future__ import annotations

import threading

import psutil

from workers.orders import Orders
from workers.registration import Registration

RETRY_S = 1.0  # after a beat that Redis did not hear: its time to live goes on when Redis is back


class Heart:
    """Beats in a greenlet of its own until it is stopped."""

    def __init__(
        self, registration: Registration, orders: Orders, interval_s: float, max_memory_bytes: int | None
    ) -> None:
        """Take whose heart it is, the seconds between two beats, and the memory beyond which it drains."""
        self._registration = registration
        self._orders = orders
        self._max_memory_bytes = max_memory_bytes
        self._interval_s = interval_s
        self._stopped = threading.Event()

    def start(self) -> None:
        """Beat at once and from then on."""
        threading.Thread(target=self._run, daemon=True).start()

    def stop(self) -> None:
        """Let the next beat not come."""
        self._stopped.set()
        self._orders.vouched.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            memory_bytes = tree_memory_bytes()
            was_heard = self._registration.beat(memory_bytes, healthy=self._orders.vouched.is_set())
            self._orders.vouched.clear()
            if self._max_memory_bytes and memory_bytes > self._max_memory_bytes:
                self._orders.drain(f"grew to {memory_bytes >> 20} MiB, past WORKER_MAX_MEMORY")
            self._orders.vouched.wait(self._interval_s if was_heard else min(self._interval_s, RETRY_S))


def tree_memory_bytes() -> int:
    """Give the memory of this process and its descendants: what each has resident and does not share.

    Shared pages are left out because a browser's processes map the same program, hundreds of MB that
    a plain sum would count for each of them. Unlike PSS, this can be read of sandboxed renderers, too.
    """
    this = psutil.Process()
    return sum(_own_bytes(process) for process in [this, *this.children(recursive=True)])


def _own_bytes(process: psutil.Process) -> int:
    try:
        memory = process.memory_info()
    except psutil.NoSuchProcess:  # ended since it was listed
        return 0
    return max(0, int(memory.rss - memory.shared))
