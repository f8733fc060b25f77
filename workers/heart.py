"""A worker's heartbeats."""

from __future__ import annotations

import threading
from collections.abc import Callable

from workers.orders import Orders
from workers.registration import Registration

RETRY_S = 1.0  # after a beat that Redis did not hear: its time to live goes on when Redis is back


class Heart:
    """Beats in a thread of its own until it is stopped."""

    def __init__(
        self, registration: Registration, orders: Orders, interval_s: float, memory_bytes: Callable[[], int]
    ) -> None:
        """Set whose heart it is, the seconds between two beats, and what tells the memory that the worker uses."""
        self._registration = registration
        self._orders = orders
        self._interval_s = interval_s
        self._memory_bytes = memory_bytes
        self._begun, self._stopped = threading.Event(), threading.Event()

    def start(self) -> None:
        """Start the thread, before the worker is registered: if none can be had, no session relies on it yet."""
        self._orders.start_thread("heart", self._run)

    def begin(self) -> None:
        """Beat at once and from then on."""
        self._begun.set()

    def stop(self) -> None:
        """Stop the heartbeat."""
        self._stopped.set()
        self._begun.set()
        self._orders.vouched.set()

    def _run(self) -> None:
        self._begun.wait()
        while not self._stopped.is_set():
            was_heard = self._registration.beat(self._memory_bytes(), healthy=self._orders.vouched.is_set())
            self._orders.vouched.clear()
            self._orders.vouched.wait(self._interval_s if was_heard else min(self._interval_s, RETRY_S))
