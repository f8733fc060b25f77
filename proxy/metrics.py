"""The grid's gauges in Prometheus' form.

Capacity is the grid's, as every proxy sees it: sum these gauges over one appliance only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector

from appliance.grid.records import ApplianceInfo, ApplianceStatus, PoolCapacity
from proxy.services import Services

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

    def __init__(self, services: Services) -> None:
        """Set what the gauges show."""
        self._services = services

    def collect(self) -> Iterator[Metric]:
        """Yield all gauges; raises StoreUnavailable."""
        pools, appliances = self._services.grid.capacity(), self._services.grid.appliances()
        workers = [((p.browser, p.version, status), count) for p in pools for status, count in p.workers.items()]
        yield _gauge("appliance_workers", "Registered workers.", workers, "browser", "version", "status")
        for name, text, value in _OF_POOLS:
            yield _gauge(name, text, [((p.browser, p.version), value(p)) for p in pools], "browser", "version")
        for name, text, value_of in _OF_APPLIANCES:
            yield _gauge(name, text, [((one.name,), value_of(one)) for one in appliances], "appliance")
        relayed, inner = len(self._services.sessions), len(self._services.door)
        yield _gauge("appliance_proxy_sessions", "Sessions in this proxy, the waiting ones too.", [((), relayed)])
        yield _gauge("appliance_inner_sessions", "Sessions of other proxies that pass its inner door.", [((), inner)])


def _gauge(name: str, text: str, samples: Iterable[tuple[Sequence[str], float]], *labels: str) -> Metric:
    """Return a gauge; a sample is the values of its labels, and its own."""
    gauge = GaugeMetricFamily(name, text, labels=labels)
    for values, value in samples:
        gauge.add_metric(values, value)
    return gauge


def registry(collector: GridCollector) -> CollectorRegistry:
    """Make a registry of the grid's gauges and this process's own."""
    result = CollectorRegistry()
    result.register(collector)
    ProcessCollector(registry=result)
    return result


def render(metrics: CollectorRegistry) -> bytes:
    """Return the metrics in Prometheus' text form."""
    return generate_latest(metrics)
