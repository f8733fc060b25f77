"""The pool as its events tell of it, and what is measured of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from appliance.grid.values import WorkerStatus
from tests.simulation.case import Case
from tests.simulation.store import Event


@dataclass
class Seen:
    """A registered worker."""

    status: WorkerStatus = WorkerStatus.STANDBY
    lifetime: int = 0
    active: set[str] = field(default_factory=set)


@dataclass
class Measures:
    """What is measured of a pool; times are seconds, from the start of the load."""

    worst: int  # fewest available workers
    worst_at_s: float = 0.0
    away: int = 0  # most workers at once that were neither available nor spare
    below_s: float = 0.0  # time with more than one worker missing
    available_s: float = 0.0  # workers times seconds
    ended_s: float = 0.0
    starts_s: list[float] = field(default_factory=list)
    away_s: list[float] = field(default_factory=list)  # of each worker that was recycled and came back
    used: list[float] = field(default_factory=list)  # the share of its quota that each had served
    shared: int = 0  # sum of the sessions that each new one found on its worker
    violations: int = 0  # drains while another drained and a third could have taken the session


class Pool:
    """All registered workers. `apply` takes the events of a call, one by one; `observe` looks at what it made."""

    def __init__(self, case: Case) -> None:
        """Use the case; nobody is registered, and nothing is measured before `begin`."""
        self.case = case
        self.workers: dict[str, Seen] = {}
        self.measures = Measures(case.workers)
        self.statuses: Counter[WorkerStatus] = Counter()
        self.began_s = 0.0
        self._measures = False
        self._observed_s = 0.0
        self._available = 0

    def begin(self, now_s: float) -> None:
        """Measure from now on."""
        self.began_s, self._observed_s, self._measures = now_s, 0.0, True
        self._available = self.statuses[WorkerStatus.AVAILABLE]

    def end(self, now_s: float) -> None:
        """Measure until now."""
        self.observe(now_s)
        self._measures = False

    def apply(self, event: Event, now_s: float) -> None:
        """Take one event."""
        kind, name = event["event"], event.get("worker", "")
        if kind == "session.started":
            self._start(event["session"], self.workers[name], now_s)
        elif kind == "session.ended":
            self.workers[name].active.remove(event["session"])
        elif kind == "worker.started":
            self.workers[name] = Seen()
            self.statuses[WorkerStatus.STANDBY] += 1
        elif kind == "worker.promoted":
            self._turn(self.workers[name], WorkerStatus.AVAILABLE)
        elif kind == "worker.draining":
            by_quota = event["reason"] == "quota reached"
            self.measures.violations += self._measures and by_quota and self._violates(name)
            self._turn(self.workers[name], WorkerStatus.DRAINING)
        elif kind == "worker.ended":
            worker = self.workers.pop(name)
            self.statuses[worker.status] -= 1
            self.measures.used.append(worker.lifetime / self.case.quota)

    def _turn(self, worker: Seen, status: WorkerStatus) -> None:
        self.statuses[worker.status] -= 1
        self.statuses[status] += 1
        worker.status = status

    def _start(self, session: str, worker: Seen, now_s: float) -> None:
        if self._measures:
            self.measures.starts_s.append(now_s - self.began_s)
            self.measures.shared += len(worker.active)
        worker.active.add(session)
        worker.lifetime += 1

    def _violates(self, drained: str) -> bool:
        """Return whether another worker drains already, and a third could take a session and stay."""
        if not self.statuses[WorkerStatus.DRAINING]:
            return False
        return any(
            name != drained
            and worker.status is WorkerStatus.AVAILABLE
            and len(worker.active) < self.case.concurrency
            and self.case.quota - worker.lifetime >= 2
            for name, worker in self.workers.items()
        )

    def observe(self, now_s: float) -> None:
        """Add the time since the last look, in which nothing changed, and look at what is there now."""
        if not self._measures:
            return
        measures, case, now_s = self.measures, self.case, now_s - self.began_s
        passed_s, self._observed_s = now_s - self._observed_s, now_s
        measures.available_s += self._available * passed_s
        measures.below_s += passed_s if self._available < case.workers - 1 else 0.0
        measures.ended_s = now_s
        self._available = self.statuses[WorkerStatus.AVAILABLE]
        if self._available < measures.worst:
            measures.worst, measures.worst_at_s = self._available, now_s
        there = self._available + self.statuses[WorkerStatus.STANDBY]
        measures.away = max(measures.away, case.workers + case.spares * case.appliances - there)
