"""The grid's gauges in Prometheus' form.

Capacity is the grid's, as every proxy sees it: sum these gauges over one appliance only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector

from appliance.models import PoolCapacity


class GridCollector:
    """Reads the gauges when they are asked for."""

    def __init__(self, capacity: Callable[[], list[PoolCapacity]], relayed: Callable[[], int]) -> None:
        """Take what gives the pools' capacity and the number of sessions in this proxy."""
        self._capacity = capacity
        self._relayed = relayed

    def collect(self) -> Iterator[Metric]:
        """Give all gauges; raises what `capacity` raises."""
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
        relayed = GaugeMetricFamily("appliance_proxy_sessions", "Sessions in this proxy, the waiting ones too.")
        relayed.add_metric([], self._relayed())
        yield from (workers, slots, free, active, waiting, relayed)


def registry(collector: GridCollector) -> CollectorRegistry:
    """Make a registry of the grid's gauges and this process's own."""
    result = CollectorRegistry()
    result.register(collector)
    ProcessCollector(registry=result)
    return result


def render(metrics: CollectorRegistry) -> bytes:
    """Give the metrics in Prometheus' text form."""
    return generate_latest(metrics)
