"""Keeps a worker within its bounds of memory and disk, and fetches the exit status of what it adopts."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Collection
from pathlib import Path

from appliance import logs
from appliance.grid.values import CrashCause, DrainCause
from workers import family, reasons
from workers.bounds import Bound, disk_bytes, size
from workers.family import Family
from workers.orders import Orders

log = logs.get_logger()

LOOK_S = 1.0
CLOSE_LOOK_S = 0.2  # near a bound: a page that runs away takes a gigabyte in a second
WHOLE_LOOK_EVERY = 5  # looks; the others are hasty, unless a bound is near


class Ration:
    """Looks at what the worker uses, in a thread of its own."""

    def __init__(self, orders: Orders, folder: Path, memory: Bound, disk: Bound, awaited: Collection[int]) -> None:
        """Set whom to tell, the worker's folder, the bounds, and the children whose end somebody else waits for."""
        self._orders = orders
        self._folder = folder
        self._memory, self._disk = memory, disk
        self._awaited = awaited
        self._family = Family()
        self._looks = 0
        self._is_near = False
        self._stopped = threading.Event()
        self.memory_bytes = 0

    def start(self) -> None:
        """Look at once, and from then on."""
        self.look()
        self._orders.start_thread("ration", self._run)

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()

    def look(self) -> None:
        """Measure what is used, and see to it that it stays within its bounds."""
        hasty = self._looks % WHOLE_LOOK_EVERY > 0 and not self._is_near
        self._looks += 1
        try:
            self.memory_bytes = self._family.memory_bytes(hasty=hasty)
            used = ((self._memory, self.memory_bytes), (self._disk, disk_bytes(self._folder)))
            family.fetch_exit_status(self._awaited)
        except OSError as error:  # of descriptors, say, there are none: this passes, and the worker need not end for it
            log.warning("worker.not_measured", error=str(error))
            return
        for bound, count in used:
            self._heed(bound, count)
        self._is_near = any(count > bound.near for bound, count in used)

    def _run(self) -> None:
        while not self._stopped.wait(CLOSE_LOOK_S if self._is_near else LOOK_S):
            self.look()

    def _heed(self, bound: Bound, count: int) -> None:
        if bound.hard and count > bound.hard:
            reason = reasons.of_excess(self._orders.worker_name, size(bound.hard), bound.kind)
            self._orders.crashed(reason, CrashCause(bound.kind))
            log.warning("worker.exceeds", kind=bound.kind, used=size(count), limit=size(bound.hard))
            self._kill_family()
        elif bound.soft and count > bound.soft:
            reason = f"grew to {size(count)} of {bound.kind}, past {bound.setting}"
            self._orders.drain(reason, DrainCause(bound.kind))

    def _kill_family(self) -> None:
        """Stop the growth at once: the worker's own way to end is told first, and takes its time."""
        for pid in self._family.members():
            if pid != os.getpid():
                _kill(pid)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
