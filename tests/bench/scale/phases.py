"""What is done to the grid while it is measured: load, a dead appliance, a Redis that lost everything."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from appliance.grid.store import Store
from appliance.request_errors import StoreUnavailable
from tests.bench.scale.fleet import Fleet
from tests.bench.scale.plan import Plan
from tests.bench.scale.probe import Claim, Probe
from tests.bench.scale.server import Meter, Server
from tests.support.waiting import until

LOOK_S = 0.05
ALL = 0.99  # of the workers: some are always on their way from one life to the next
WITHIN_S = 300.0


@dataclass(frozen=True, slots=True)
class Load:
    """One rate: what was asked for and what came, Redis' figures, the probe's milliseconds, the simulators' lag."""

    rate: float
    sessions_per_s: float
    active: int
    redis: dict[str, float]
    p50_ms: float
    p99_ms: float
    lag_s: float
    trouble: dict[str, int]


@dataclass(frozen=True, slots=True)
class Recovery:
    """After Redis came back empty: seconds until all was there again, and how claims went meanwhile."""

    workers_s: float
    sessions_s: float
    first_claim_s: float
    refused: dict[str, int]
    library_loads: int
    p50_ms: float
    p99_ms: float
    redis_cpu_s: float
    trouble: dict[str, int]


class Phases:
    """The grid under measurement."""

    def __init__(self, plan: Plan, server: Server, fleet: Fleet, probe: Probe) -> None:
        """Use all that takes part; the grid is starting."""
        self._plan, self._server, self._fleet, self._probe = plan, server, fleet, probe
        self._store: Store = probe.grid.store

    def start(self) -> float:
        """Wait until all workers are registered; returns the seconds that took."""
        return self._seconds_until(lambda: self._registered() >= self._plan.all_workers)

    def load(self, rate: float, seconds: float) -> Load:
        """Let sessions start at a rate, and measure when as many end as start."""
        self._fleet.order(rate=rate)
        time.sleep(3 * self._plan.session_s if rate else 2)  # until 95 % of what there will be is there
        self._fleet.look()
        meter, began = Meter(self._server), time.monotonic()
        meter.start()
        claims = self._probe.claims(seconds)
        figures = meter.stop()
        self._fleet.look()
        counts, passed = dict(self._fleet.counts), time.monotonic() - began
        started = counts.pop("started", 0)
        middle, last = percentiles(claims)
        return Load(rate, started / passed, self._fleet.sessions, figures, middle, last, self._fleet.lag_s, counts)

    def lose_appliance(self) -> tuple[float, float, float]:
        """Cut an appliance's power. Returns seconds: until its first and last worker, and its last lease, are gone."""
        ids, first = self._store.read(("ZRANGE", self._store.key("workers"), 0, -1))[0], 0.0
        ids = [worker for worker in ids if worker.startswith("a0.")]
        held = [session.id for session in self._probe.grid.sessions() if session.proxy.startswith("a0.")]
        self._fleet.order(cut=0)
        began, looks = time.monotonic(), [("EXISTS", self._store.key("worker", worker)) for worker in ids]
        dead = sum(self._store.read(*looks))  # one may have been at its end already
        while left := sum(self._store.read(*looks)):
            first = first or (time.monotonic() - began if left < dead else 0.0)
            assert time.monotonic() < began + WITHIN_S, f"{left} workers of the dead appliance are still registered"
            time.sleep(LOOK_S)
        last = time.monotonic() - began
        leases = [("ZSCORE", self._store.key("leases"), session) for session in held]
        until(lambda: not leases or not any(self._store.read(*leases)), "its leases are gone", WITHIN_S)
        return first, last, time.monotonic() - began

    def lose_redis(self) -> Recovery:
        """Kill Redis and start it, empty; measure how all comes back."""
        self._fleet.look()
        enough = ALL * self._registered()
        self._server.kill()
        self._server.start()
        began, claims = time.monotonic(), Claims(self._probe)
        workers_s = self._seconds_until(lambda: self._registered() >= enough)
        sessions_s = workers_s + self._seconds_until(self._all_sessions_are_known)
        claims.stop()
        granted = [claim for claim in claims.made if not claim.refusal]
        refused = dict(Counter(claim.refusal for claim in claims.made if claim.refusal))
        middle, last = percentiles(granted)
        self._fleet.look()
        counts = dict(self._fleet.counts)
        counts.pop("started", 0)
        first_s = granted[0].began + granted[0].took_ms / 1000 - began
        meter = Meter(self._server)
        return Recovery(workers_s, sessions_s, first_s, refused, meter.loads(), middle, last, meter.cpu_s(), counts)

    def _registered(self) -> int:
        return self._count("workers")

    def _all_sessions_are_known(self) -> bool:
        self._fleet.look()
        return self._count("leases") >= ALL * self._fleet.sessions

    def _count(self, key: str) -> int:
        try:
            return int(self._store.read(("ZCARD", self._store.key(key)))[0])
        except StoreUnavailable:  # just after its start, it may not get round to answering
            return 0

    def _seconds_until(self, condition: Callable[[], bool]) -> float:
        began = time.monotonic()
        until(condition, "the grid is whole", WITHIN_S, LOOK_S)
        return time.monotonic() - began


class Claims:
    """Claims of the probe, in a thread of its own until `stop`."""

    def __init__(self, probe: Probe) -> None:
        """Begin."""
        self.made: list[Claim] = []
        self._probe = probe
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End, when the claim under way has."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self.made += self._probe.claims(0.1)


def percentiles(claims: list[Claim]) -> tuple[float, float]:
    """Return the median and the 99th percentile, in milliseconds."""
    times = sorted(claim.took_ms for claim in claims)
    return times[len(times) // 2], times[len(times) * 99 // 100]
