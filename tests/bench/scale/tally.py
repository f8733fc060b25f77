"""How many sessions use each worker, as the workers' drivers would count their connections.

A session may be relayed in another process than the one that simulates its worker: so each process has a row of
counts in a file that all of them map, and writes only there. A worker's place is a hash of its id: of ten thousand
workers, hardly two have the same.
"""

from __future__ import annotations

import mmap
import zlib
from pathlib import Path

from tests.bench.scale.plan import Plan

PLACES = 1 << 22


class Tally:
    """The counts of all workers."""

    def __init__(self, plan: Plan, process: int) -> None:
        """Take the plan and the number of the process whose row is written."""
        with (Path(plan.folder) / "tally").open("r+b") as file:
            counts = memoryview(mmap.mmap(file.fileno(), 0)).cast("H")
        self._rows = [counts[n * PLACES : (n + 1) * PLACES] for n in range(plan.processes)]
        self._own = self._rows[process]

    @staticmethod
    def create(plan: Plan) -> None:
        """Make the file, with all counts 0."""
        with (Path(plan.folder) / "tally").open("wb") as file:
            file.truncate(2 * PLACES * plan.processes)

    def count(self, worker_id: str) -> int:
        """Give the sessions that use a worker."""
        place = zlib.crc32(worker_id.encode()) % PLACES
        return sum(row[place] for row in self._rows)

    def add(self, worker_id: str, change: int) -> int:
        """Count a session in (1) or out (-1); gives how many there are now."""
        self._own[zlib.crc32(worker_id.encode()) % PLACES] += change
        return self.count(worker_id)
