"""What a proxy counts while it serves: each method is named after what has happened.

Each event is counted once, by the proxy that saw it, so a sum over all proxies is the grid's. No label is a client's
own text: a version is one that the grid serves, or "any". Labels are looked up once for each session or refusal, and
nothing is counted for a frame: traffic.py reads the bytes from the relays when the metrics are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.registry import Collector

from appliance import request_errors
from appliance.errors import Blame
from appliance.grid.observer import Observer
from appliance.grid.story import EndedBy
from appliance.grid.values import SessionRequest
from appliance.request_errors import RequestError
from proxy.metrics.lag import LoopLag
from proxy.metrics.traffic import TrafficCollector

disable_created_metrics()  # type: ignore[no-untyped-call]  # they would be a gauge beside each counter

ANY = "any"  # the version of a session whose client named none
KINDS = ("browser", "version", "isolation", "protocol")
REAPED = ("workers", "sessions", "waiting")

CLAIM_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
WAIT_S = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
CONNECT_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300)
DURATION_S = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600)


class Metrics(Observer):
    """One proxy's counters and histograms."""

    def __init__(self) -> None:
        """Start at zero."""
        self.registry = own = CollectorRegistry()
        self.traffic, self.loop_lag = TrafficCollector(), LoopLag(own)
        own.register(self.traffic)
        self._started = Counter("appliance_sessions_started_total", "Sessions that got a browser.", KINDS, registry=own)
        self._ended = Counter(
            "appliance_sessions_ended_total", "Sessions that ended.", (*KINDS, "ended_by"), registry=own
        )
        self._refused = Counter("appliance_refusals_total", "Requests refused.", ("status", "reason"), registry=own)
        self._gone = Counter(
            "appliance_clients_gone_total", "Clients that hung up before they were answered.", registry=own
        )
        self._dials = Counter(
            "appliance_dial_failures_total", "Workers that were not reached.", ("blame",), registry=own
        )
        self._lost = Counter("appliance_leases_lost_total", "Sessions here that Redis did not know.", registry=own)
        self._reaped = Counter("appliance_reaped_total", "What this proxy's reaper removed.", ("kind",), registry=own)
        self._claim = Histogram("appliance_claim_seconds", "Time of a claim in Redis.", buckets=CLAIM_S, registry=own)
        self._wait = _timer("appliance_session_wait_seconds", "Time that a session waited for its slot.", WAIT_S, own)
        self._connect = _timer("appliance_connect_seconds", "Time from a request to its answer.", CONNECT_S, own)
        self._duration = _timer("appliance_session_duration_seconds", "Time that a session lasted.", DURATION_S, own)
        self._begin_with_zeros()

    def read_also(self, collectors: Iterable[Collector]) -> None:
        """Show what these collectors read, too."""
        for one in collectors:
            self.registry.register(one)

    def _begin_with_zeros(self) -> None:
        """Show what has not happened yet, where that is known: the first event is an increase, then."""
        for blame in Blame:
            self._dials.labels(blame.value)
        for kind in REAPED:
            self._reaped.labels(kind)
        for error in vars(request_errors).values():
            if isinstance(error, type) and error is not RequestError and issubclass(error, RequestError):
                self._refused.labels(error.status, reason_of(error))

    def session_started(self, request: SessionRequest, waited_ms: int) -> None:
        """Count a session that is relayed from now on."""
        self._started.labels(*_kind_of(request)).inc()
        self._wait.labels(request.browser.value).observe(waited_ms / 1000)

    def session_ended(self, request: SessionRequest, by: EndedBy, duration_s: float) -> None:
        """Count a session that is relayed no more."""
        self._ended.labels(*_kind_of(request), by.value).inc()
        self._duration.labels(request.browser.value).observe(duration_s)

    def connected(self, request: SessionRequest, seconds: float) -> None:
        """Note that a client has the answer to its request, which a session follows."""
        self._connect.labels(request.browser.value).observe(seconds)

    def refused(self, error: RequestError) -> None:
        """Count a request that was answered with an error; `/metrics` and the other pages do not count."""
        self._refused.labels(error.status, reason_of(type(error))).inc()

    def client_gone(self) -> None:
        """Count a client that hung up while it waited."""
        self._gone.inc()

    def claimed(self, seconds: float) -> None:
        """Note how long a claim took."""
        self._claim.observe(seconds)

    def dial_failed(self, blame: Blame) -> None:
        """Count a worker that was not reached."""
        self._dials.labels(blame.value).inc()

    def lease_lost(self) -> None:
        """Count a session that Redis did not know."""
        self._lost.inc()

    def reaped(self, found: Mapping[str, int]) -> None:
        """Count what the reaper has removed."""
        for kind in REAPED:
            self._reaped.labels(kind).inc(found.get(kind, 0))


def reason_of(error: type[RequestError]) -> str:
    """Return what a kind of error is called as a label: "queue_full" for QueueFull."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", error.__name__.lstrip("_")).lower()


def _timer(name: str, text: str, buckets: tuple[float, ...], registry: CollectorRegistry) -> Histogram:
    return Histogram(name, text, ("browser",), buckets=buckets, registry=registry)


def _kind_of(request: SessionRequest) -> tuple[str, ...]:
    return request.browser.value, request.minor or ANY, request.isolation.value, request.protocol.value
