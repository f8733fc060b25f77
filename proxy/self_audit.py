"""An audit of the grid's state from time to time, by which leaked slots are noticed while nobody looks.

It compares what Redis says with itself, as `applctl doctor` does before it looks at processes and sockets: those, a
proxy need not see, whose workers have other accounts.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from prometheus_client.core import Metric

from appliance import logs
from appliance.audit import audit_state
from appliance.grid.grid import Grid
from appliance.settings.config import Settings
from proxy.metrics.families import gauge

log = logs.get_logger()

INTERVAL_S = 60.0
WORKERS_MAX = 300  # of the grid: each costs a read in every proxy


class SelfAudit:
    """Audits now and then, and keeps the last result."""

    def __init__(self, settings: Settings, grid: Grid) -> None:
        """Set what is audited; nothing is, yet."""
        self._settings, self._grid = settings, grid
        self._found: int | None = None
        self._at_s = 0.0

    def look(self) -> None:
        """Audit once, unless the grid is too large for that; raises StoreUnavailable."""
        found = None  # unknown, if Redis does not answer
        try:
            if sum(sum(pool.workers.values()) for pool in self._grid.capacity()) <= WORKERS_MAX:
                found = audit_state(self._settings, self._grid)
        finally:
            self._found, self._at_s = None if found is None else len(found), time.time()
        for difference in found or []:
            log.warning("audit.differs", what=difference.text, remedy=difference.remedy)

    def collect(self) -> Iterator[Metric]:
        """Yield the last result, if there is one."""
        if self._found is not None:
            text = "Differences in what Redis says, by the last audit."
            yield gauge("appliance_audit_differences", text, [((), self._found)])
            yield gauge("appliance_audit_timestamp_seconds", "When that was, in Unix time.", [((), self._at_s)])
