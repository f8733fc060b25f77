"""How many sessions use each worker, as the workers' drivers would count their connections.

A session may be relayed in another process than the one that simulates its worker: so each process has a row of
counts in a file that all of them map, and writes only there.
"""

from __future__ import annotations

import mmap
from pathlib import Path

from tests.bench.scale.plan import Plan


class Tally:
    """The counts of all workers."""

    def __init__(self, plan: Plan, process: int) -> None:
        """Take the plan and the number of the process whose row is written."""
        self._plan = plan
        with (Path(plan.folder) / "tally").open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        counts = memoryview(self._map).cast("H")
        self._rows = [counts[n * plan.all_workers : (n + 1) * plan.all_workers] for n in range(plan.processes)]
        self._own = self._rows[process]

    @staticmethod
    def create(plan: Plan) -> None:
        """Make the file, with all counts 0."""
        (Path(plan.folder) / "tally").write_bytes(bytes(2 * plan.processes * plan.all_workers))

    def count(self, worker_id: str) -> int:
        """Give the sessions that use a worker."""
        index = self._index(worker_id)
        return sum(row[index] for row in self._rows)

    def add(self, worker_id: str, change: int) -> int:
        """Count a session in (1) or out (-1); gives how many there are now."""
        self._own[self._index(worker_id)] += change
        return self.count(worker_id)

    def _index(self, worker_id: str) -> int:
        """Find the place of a worker "a<appliance>.chromium-<slot>.<6 hex digits>"."""
        appliance, slot, _ = worker_id.split(".")
        return int(appliance[1:]) * self._plan.workers + int(slot.rpartition("-")[2])
