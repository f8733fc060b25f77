"""What a proxy counts and measures; tests/integration/test_metrics.py compares all of it with docs/metrics.md."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from appliance import request_errors
from appliance.errors import Blame
from appliance.grid.story import EndedBy, Traffic
from appliance.grid.values import SessionRequest
from appliance.names import Browser, Isolation
from appliance.request_errors import NoSlot, QueueFull, StoreUnavailable
from proxy.metrics.gauges import GridCollector
from proxy.metrics.lag import KEPT_S, LoopLag
from proxy.metrics.machine import MachineCollector
from proxy.metrics.metrics import Metrics, reason_of

REQUEST = SessionRequest(Browser.CHROMIUM, "1.65", name="a client's own text", isolation=Isolation.BROWSER)
KIND = {"browser": "chromium", "version": "1.65", "isolation": "browser", "protocol": "playwright"}


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_a_session_is_counted_when_it_starts_and_when_it_ends() -> None:
    metrics = Metrics()
    metrics.session_started(REQUEST, waited_ms=1500)
    assert value(metrics, "appliance_sessions_started_total", **KIND) == 1
    assert value(metrics, "appliance_session_wait_seconds_sum", browser="chromium") == 1.5
    metrics.session_ended(REQUEST, EndedBy.LIMIT, 60)
    assert value(metrics, "appliance_sessions_ended_total", **KIND, ended_by="limit") == 1
    assert value(metrics, "appliance_session_duration_seconds_bucket", browser="chromium", le="60.0") == 1
    assert b"own text" not in generate_latest(metrics.registry)


def test_a_client_that_names_no_version_counts_as_any() -> None:
    metrics = Metrics()
    metrics.session_started(SessionRequest(Browser.FIREFOX), waited_ms=0)
    labels = {**KIND, "browser": "firefox", "version": "any", "isolation": "context"}
    assert value(metrics, "appliance_sessions_started_total", **labels) == 1


def test_every_refusal_is_there_from_the_start_so_that_the_first_is_an_increase() -> None:
    metrics = Metrics()
    assert value(metrics, "appliance_refusals_total", status="429", reason="queue_full") == 0
    metrics.refused(QueueFull("full"))
    metrics.refused(NoSlot("none"))
    assert value(metrics, "appliance_refusals_total", status="429", reason="queue_full") == 1
    assert value(metrics, "appliance_refusals_total", status="503", reason="no_slot") == 1
    kinds = [one for one in vars(request_errors).values() if isinstance(one, type) and hasattr(one, "status")]
    assert len({reason_of(one) for one in kinds}) == len(kinds) > 20


def test_what_happens_to_claims_dials_leases_and_the_lost_is_counted() -> None:
    metrics = Metrics()
    metrics.claimed(0.003)
    metrics.connected(REQUEST, 0.3)
    metrics.dial_failed(Blame.PATH)
    metrics.lease_lost()
    metrics.client_gone()
    metrics.reaped({"workers": 1, "sessions": 2, "waiting": 3})
    assert value(metrics, "appliance_claim_seconds_bucket", le="0.005") == 1
    assert value(metrics, "appliance_claim_seconds_bucket", le="0.002") == 0
    assert value(metrics, "appliance_connect_seconds_sum", browser="chromium") == 0.3
    assert [value(metrics, "appliance_dial_failures_total", blame=blame) for blame in Blame] == [0, 1, 0]
    assert value(metrics, "appliance_leases_lost_total") == value(metrics, "appliance_clients_gone_total") == 1
    assert value(metrics, "appliance_reaped_total", kind="sessions") == 2


@dataclass(eq=False)
class Moving:
    traffic: Traffic


def test_traffic_counts_running_and_ended_sessions_once_each() -> None:
    metrics, relay = Metrics(), Moving(Traffic(10, 200, 1, 2))

    def moved() -> list[float | None]:
        kinds = [(kind, way) for kind in ("bytes", "messages") for way in ("from_client", "to_client")]
        return [value(metrics, f"appliance_session_{kind}_total", direction=way) for kind, way in kinds]

    with metrics.traffic.of(relay), metrics.traffic.of(Moving(Traffic(1, 2, 3, 4))):
        assert moved() == [11, 202, 4, 6]
        relay.traffic = Traffic(10, 300, 1, 5)
        assert moved() == [11, 302, 4, 9]
    assert moved() == [11, 302, 4, 9]


def test_the_highest_lag_is_that_of_the_last_minute() -> None:
    now = [0.0]
    registry = CollectorRegistry()
    lag = LoopLag(registry, lambda: now[0])

    def highest() -> float | None:
        return registry.get_sample_value("appliance_proxy_loop_lag_max_seconds")

    assert highest() == 0
    for at, seconds in ((0.0, 0.5), (10.0, 2.0), (20.0, 0.25), (30.0, 0.001)):
        now[0] = at
        lag.observe(seconds)
    assert highest() == 2.0
    now[0] = 10.0 + KEPT_S + 1
    assert highest() == 0.25
    now[0] = 30.0 + KEPT_S + 1
    assert highest() == 0
    assert registry.get_sample_value("appliance_proxy_loop_lag_seconds_bucket", {"le": "0.5"}) == 3


class Away:
    """A grid whose Redis does not answer."""

    def __getattr__(self, name: str) -> Any:
        raise StoreUnavailable("Redis does not answer")


def test_without_redis_its_absence_is_a_metric_and_the_rest_is_there() -> None:
    grid: Any = Away()
    families = {family.name: family for family in GridCollector(grid, "here", ["a session"], []).collect()}
    assert families.keys() == {"appliance_proxy_sessions", "appliance_inner_sessions", "appliance_redis_up"}
    assert [family.samples[0].value for family in families.values()] == [1, 0, 0]


@pytest.mark.parametrize("expiry_s", [None, 1.8e9])
def test_the_certificates_end_is_shown_where_there_is_one(tmp_path: Path, expiry_s: float | None) -> None:
    def values() -> Iterator[tuple[str, float]]:
        for family in MachineCollector(tmp_path, "1.65.2", lambda: expiry_s).collect():
            yield family.name, family.samples[0].value

    found = dict(values())
    assert found.get("appliance_certificate_expiry_timestamp_seconds") == expiry_s
    assert 0 < found["appliance_disk_free_bytes"] <= found["appliance_disk_size_bytes"]
    assert 0 < found["appliance_memory_available_bytes"] <= found["appliance_memory_size_bytes"]
