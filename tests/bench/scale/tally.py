"""How many sessions use each worker, as the workers' drivers would count their connections.

A session may be relayed in another process than the one that simulates its worker: so each process has a row of
counts in a file that all of them map, and writes only there. A worker's place is that of its name: its
successor comes when it is gone.
"""

from __future__ import annotations

import mmap
import re
from pathlib import Path

from tests.bench.scale.plan import Plan

_ID = re.compile(r"a(\d+)\.\w+-(\d+)\.")  # appliance, worker


class Tally:
    """The counts of all workers."""

    def __init__(self, plan: Plan, process: int) -> None:
        """Use the plan and the number of the process whose row is written."""
        with (Path(plan.folder) / "tally").open("r+b") as file:
            counts = memoryview(mmap.mmap(file.fileno(), 0)).cast("H")
        size = plan.all_workers
        self._workers = plan.workers
        self._rows = [counts[n * size : (n + 1) * size] for n in range(plan.processes)]
        self._own = self._rows[process]

    @staticmethod
    def create(plan: Plan) -> None:
        """Make the file, with all counts 0."""
        with (Path(plan.folder) / "tally").open("wb") as file:
            file.truncate(2 * plan.all_workers * plan.processes)

    def count(self, worker_id: str) -> int:
        """Return the sessions that use a worker."""
        place = self._place(worker_id)
        return sum(row[place] for row in self._rows)

    def add(self, worker_id: str, change: int) -> int:
        """Count a session in (1) or out (-1); returns how many there are now."""
        self._own[self._place(worker_id)] += change
        return self.count(worker_id)

    def _place(self, worker_id: str) -> int:
        found = _ID.match(worker_id)
        assert found, worker_id
        return int(found[1]) * self._workers + int(found[2])
