"""The grid's state, read from Redis when the metrics are asked for.

The capacity of pools and the states of appliances are the grid's, as every proxy sees them: of these, take one
appliance's, or the maximum. How workers ended, each proxy says of its own appliance only. Redis counts that, for a
proxy need not live when a worker ends; and a sum over all appliances is the grid's.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sized

from prometheus_client.core import Metric

from appliance.grid.grid import Grid
from appliance.grid.records import ApplianceInfo, ApplianceStatus, PoolCapacity
from appliance.grid.values import CrashCause, DrainCause, WorkerEnd
from appliance.request_errors import StoreUnavailable
from proxy.metrics.families import counter, gauge

WORKERS_MAX = 1000  # of one appliance, whose memory is read

_DRAINING = (ApplianceStatus.DRAINING, ApplianceStatus.DRAINED)
_OF_POOLS: tuple[tuple[str, str, Callable[[PoolCapacity], float]], ...] = (
    ("appliance_slots", "Slots of available workers.", lambda pool: pool.slots),
    ("appliance_slots_free", "Slots that a session could have now.", lambda pool: pool.free),
    ("appliance_sessions_active", "Sessions that hold a slot.", lambda pool: pool.active),
    ("appliance_sessions_waiting", "Clients that wait for a slot.", lambda pool: pool.waiting),
)
_OF_APPLIANCES: tuple[tuple[str, str, Callable[[ApplianceInfo], float]], ...] = (
    ("appliance_sessions_on_workers", "Sessions of its workers.", lambda one: one.on_workers),
    ("appliance_sessions_in_proxy", "Sessions that its proxy relays.", lambda one: one.in_proxy),
    ("appliance_draining", "1 if it is drained.", lambda one: one.status in _DRAINING),
    (
        "appliance_safe_to_stop",
        "1 if it is drained, no session is left, and no other uses its Redis.",
        lambda one: one.safe_to_stop,
    ),
)


class GridCollector:
    """Reads the gauges when they are asked for."""

    def __init__(self, grid: Grid, appliance: str, sessions: Sized, inner: Sized) -> None:
        """Set the grid, this appliance's name, the sessions in its proxy, and those that pass its inner door."""
        self._grid, self._appliance = grid, appliance
        self._sessions, self._inner = sessions, inner
        self._pools_seen: set[tuple[str, str]] = set()  # of this appliance: browser and Playwright minor

    def collect(self) -> Iterator[Metric]:
        """Yield all gauges; without those of the grid while Redis is away."""
        relayed, inner = len(self._sessions), len(self._inner)
        yield gauge("appliance_proxy_sessions", "Sessions in this proxy, the waiting ones too.", [((), relayed)])
        yield gauge("appliance_inner_sessions", "Sessions of other proxies that pass its inner door.", [((), inner)])
        try:
            found = [self._latency(), *self._pools(), *self._appliances(), *self._own_workers()]
        except StoreUnavailable:  # others log it; here it is a metric
            found = []
        yield gauge("appliance_redis_up", "1 if Redis answers.", [((), bool(found))])
        yield from found

    def _latency(self) -> Metric:
        started = time.perf_counter()
        self._grid.store.read(("PING",))
        seconds = time.perf_counter() - started
        return gauge("appliance_redis_latency_seconds", "Time of a PING to Redis.", [((), seconds)])

    def _pools(self) -> Iterator[Metric]:
        pools = self._grid.capacity()
        workers = [((p.browser, p.version, status), count) for p in pools for status, count in p.workers.items()]
        yield gauge("appliance_workers", "Registered workers.", workers, "browser", "version", "status")
        for name, text, value in _OF_POOLS:
            yield gauge(name, text, [((p.browser, p.version), value(p)) for p in pools], "browser", "version")
        text = "Time that the first of the queue has waited."
        yield gauge("appliance_queue_oldest_wait_seconds", text, [((), self._grid.oldest_wait_s())])

    def _appliances(self) -> Iterator[Metric]:
        appliances = self._grid.appliances()
        for name, text, value_of in _OF_APPLIANCES:
            yield gauge(name, text, [((one.name,), value_of(one)) for one in appliances], "appliance")

    def _own_workers(self) -> Iterator[Metric]:
        memory: Counter[str] = Counter()  # while a worker drains, its successor may have started
        for worker in self._grid.workers_of(self._appliance, WORKERS_MAX):
            memory[worker.name] += worker.memory_bytes
            self._pools_seen.add((worker.browser, worker.minor))
        samples = [((name,), size) for name, size in sorted(memory.items())]
        yield gauge("appliance_worker_memory_bytes", "Memory of a worker with its browser.", samples, "worker")
        yield from self._ends({**self._no_ends(), **self._grid.worker_ends(self._appliance)})

    def _no_ends(self) -> dict[WorkerEnd, int]:
        """Return zeros for the pools that were seen, so that the first end is an increase."""
        causes = [("drained", cause) for cause in DrainCause] + [("crashed", cause) for cause in CrashCause]
        ends = [WorkerEnd(kind, *pool, cause.value) for pool in self._pools_seen for kind, cause in causes]
        return dict.fromkeys([*ends, *(WorkerEnd("failed", browser) for browser, _ in self._pools_seen)], 0)

    def _ends(self, ends: dict[WorkerEnd, int]) -> Iterator[Metric]:
        drained, crashed = (
            [((end.browser, end.minor, end.cause), count) for end, count in ends.items() if end.kind == kind]
            for kind in ("drained", "crashed")
        )
        failed = [((end.browser,), count) for end, count in ends.items() if end.kind == "failed"]
        labels = ("browser", "version", "cause")
        yield counter(
            "appliance_workers_drained_total", "Workers of this appliance that began to drain.", drained, *labels
        )
        yield counter("appliance_workers_crashed_total", "Workers of this appliance that crashed.", crashed, *labels)
        text = "Workers of this appliance that did not start, or crashed soon after."
        yield counter("appliance_workers_failed_total", text, failed, "browser")
