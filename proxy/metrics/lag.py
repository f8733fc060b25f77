"""How late the proxy's event loop is: what a greenlet waits longer than it asked for, everything else waits too."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator

import gevent
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric

LOOK_S = 0.25
KEPT_S = 60.0  # as long as the longest usual interval between two scrapes
BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)


class LoopLag:
    """Measures the lag some times a second.

    The maximum is that of the last minute, not since the last scrape: two scrapers must not hide it from each other.
    """

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float] = time.monotonic) -> None:
        """Add the metrics to a registry."""
        self._clock = clock
        self._highest: deque[tuple[float, float]] = deque()  # when, and the lag: falling, so the first is the highest
        self._histogram = Histogram(
            "appliance_proxy_loop_lag_seconds", "Delay of the proxy's event loop.", buckets=BUCKETS_S, registry=registry
        )
        registry.register(self)

    def run(self) -> None:
        """Measure for ever; for a greenlet of its own."""
        while True:
            before = self._clock()
            gevent.sleep(LOOK_S)
            self.observe(max(0.0, self._clock() - before - LOOK_S))

    def observe(self, lag_s: float) -> None:
        """Note one measurement."""
        self._histogram.observe(lag_s)
        while self._highest and self._highest[-1][1] <= lag_s:
            self._highest.pop()
        self._highest.append((self._clock(), lag_s))

    def collect(self) -> Iterator[Metric]:
        """Yield the maximum."""
        while self._highest and self._highest[0][0] < self._clock() - KEPT_S:
            self._highest.popleft()
        highest_s = self._highest[0][1] if self._highest else 0.0
        yield GaugeMetricFamily(
            "appliance_proxy_loop_lag_max_seconds", "Longest delay of the event loop in the last minute.", highest_s
        )
