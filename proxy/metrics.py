"""The grid's gauges in Prometheus' form.

Capacity is the grid's, as every proxy sees it: sum these gauges over one appliance only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector

from appliance.grid.records import ApplianceInfo, ApplianceStatus, PoolCapacity


class GridCollector:
    """Reads the gauges when they are asked for."""

    def __init__(
        self,
        capacity: Callable[[], list[PoolCapacity]],
        appliances: Callable[[], list[ApplianceInfo]],
        relayed: Callable[[], int],
        inner: Callable[[], int],
    ) -> None:
        """Set what returns the pools' capacity, the appliances, and the sessions here and at the inner door."""
        self._capacity = capacity
        self._appliances = appliances
        self._relayed, self._inner = relayed, inner

    def collect(self) -> Iterator[Metric]:
        """Yield all gauges; raises StoreUnavailable."""
        yield from self._pools()
        yield from self._of_appliances()
        relayed = GaugeMetricFamily("appliance_proxy_sessions", "Sessions in this proxy, the waiting ones too.")
        relayed.add_metric([], self._relayed())
        inner = GaugeMetricFamily("appliance_inner_sessions", "Sessions of other proxies that pass its inner door.")
        inner.add_metric([], self._inner())
        yield from (relayed, inner)

    def _of_appliances(self) -> Iterator[Metric]:
        labels = ["appliance"]
        on_workers = GaugeMetricFamily("appliance_sessions_on_workers", "Sessions of its workers.", labels=labels)
        in_proxy = GaugeMetricFamily("appliance_sessions_in_proxy", "Sessions that its proxy relays.", labels=labels)
        draining = GaugeMetricFamily("appliance_draining", "1 if it is drained.", labels=labels)
        safe = GaugeMetricFamily(
            "appliance_safe_to_stop",
            "1 if it is drained, no session is left, and no other uses its Redis.",
            labels=labels,
        )
        for one in self._appliances():
            on_workers.add_metric([one.name], one.on_workers)
            in_proxy.add_metric([one.name], one.in_proxy)
            draining.add_metric([one.name], one.status in (ApplianceStatus.DRAINING, ApplianceStatus.DRAINED))
            safe.add_metric([one.name], one.safe_to_stop)
        yield from (on_workers, in_proxy, draining, safe)

    def _pools(self) -> Iterator[Metric]:
        labels = ["browser", "version"]
        workers = GaugeMetricFamily("appliance_workers", "Registered workers.", labels=[*labels, "status"])
        slots = GaugeMetricFamily("appliance_slots", "Slots of available workers.", labels=labels)
        free = GaugeMetricFamily("appliance_slots_free", "Slots that a session could have now.", labels=labels)
        active = GaugeMetricFamily("appliance_sessions_active", "Sessions that hold a slot.", labels=labels)
        waiting = GaugeMetricFamily("appliance_sessions_waiting", "Clients that wait for a slot.", labels=labels)
        for pool in self._capacity():
            names = [pool.browser, pool.version]
            for status, count in pool.workers.items():
                workers.add_metric([*names, status], count)
            slots.add_metric(names, pool.slots)
            free.add_metric(names, pool.free)
            active.add_metric(names, pool.active)
            waiting.add_metric(names, pool.waiting)
        yield from (workers, slots, free, active, waiting)


def registry(collector: GridCollector) -> CollectorRegistry:
    """Make a registry of the grid's gauges and this process's own."""
    result = CollectorRegistry()
    result.register(collector)
    ProcessCollector(registry=result)
    return result


def render(metrics: CollectorRegistry) -> bytes:
    """Return the metrics in Prometheus' text form."""
    return generate_latest(metrics)
