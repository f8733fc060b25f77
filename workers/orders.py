"""What a worker has been told, and by what: a signal, a message, a heartbeat's answer, a crash.

Each side only notes what it knows. The worker's one straight line waits for what it needs to go on.

Every thread of a worker is started here, so that none can end unnoticed: a worker without its heart or its watch would
live on, and be of no use to anybody.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from appliance import logs
from appliance.grid.values import CrashCause, DrainCause
from workers import reasons

log = logs.get_logger()


class Stopped(Exception):
    """The worker was told to stop before it had registered."""


class Crashed(Exception):
    """The worker cannot go on; the message says why, for clients to read, and `crash` what crashed, in one word."""

    def __init__(self, reason: str, crash: CrashCause) -> None:
        """Set both."""
        super().__init__(reason)
        self.crash = crash


class Orders:
    """The state of a worker's orders; every change wakes whoever waits."""

    def __init__(self, worker_name: str) -> None:
        """Begin with nothing told; `worker_name` names the worker in its reasons."""
        self.worker_name = worker_name
        self._changed = threading.Condition()
        self.terminations = 0
        self.drain_reason = ""
        self.drain_cause = DrainCause.STOP
        self.is_drained = False
        self.crash = ""
        self.crash_cause = CrashCause.WORKER
        self.doubted = threading.Event()  # somebody could not reach the browser
        self.vouched = threading.Event()  # it was then seen to answer

    def start_thread(self, name: str, work: Callable[[], object]) -> None:
        """Start a thread. If its work ends by an exception, the worker ends, with that as its reason."""

        def run() -> None:
            try:
                work()
            except Exception as error:
                self.crashed(reasons.of_worker(self.worker_name, name, error), CrashCause.WORKER)
                log.exception("worker.thread_failed", thread=name)

        threading.Thread(target=run, name=name, daemon=True).start()

    def terminate(self, *_: object) -> None:
        """Record a SIGTERM: the first asks for a drain, the second for an end at once."""
        with self._changed:
            self.terminations += 1
            self._changed.notify_all()

    def drain(self, reason: str, cause: DrainCause) -> None:
        """Record that the worker must drain; the first reason stays, with its cause."""
        with self._changed:
            if not self.drain_reason:
                self.drain_reason, self.drain_cause = reason, cause
            self._changed.notify_all()

    def drained(self) -> None:
        """Record that the last session has ended."""
        with self._changed:
            self.is_drained = True
            self._changed.notify_all()

    def occupied(self) -> None:
        """Record that there are sessions again: their proxy was cut off from Redis, and has asserted them."""
        with self._changed:
            self.is_drained = False
            self._changed.notify_all()

    def crashed(self, what: str, cause: CrashCause) -> None:
        """Record what crashed first, in words and in one word; what follows from it is not recorded."""
        with self._changed:
            if not self.crash:
                self.crash, self.crash_cause = what, cause
            self._changed.notify_all()

    def wake(self) -> None:
        """Wake those who wait, to check their conditions again."""
        with self._changed:
            self._changed.notify_all()

    def wait(self, condition: Callable[[], object], timeout_s: float | None = None) -> bool:
        """Wait until a condition holds; False if it does not within `timeout_s`. Raises Crashed."""
        with self._changed:
            held = self._changed.wait_for(lambda: self.crash or condition(), timeout_s)
        if self.crash:
            raise Crashed(self.crash, self.crash_cause)
        return bool(held)

    def look_for(self, condition: Callable[[], object], timeout_s: float) -> bool:
        """Wait until a condition holds, also while all else ends; False if it does not within `timeout_s`."""
        with self._changed:
            return bool(self._changed.wait_for(condition, timeout_s))

    def pause(self, seconds: float) -> None:
        """Sleep. Raises Stopped on SIGTERM, and Crashed."""
        if self.wait(lambda: self.terminations, seconds):
            raise Stopped
