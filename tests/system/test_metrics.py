"""Every metric of docs/metrics.md is seen, once sessions have ended by each reason that is cheap to bring about."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.appliance import Appliance, tree
from tests.support.frames import CLOSE, frame
from tests.support.waiting import until
from tests.support.wire import Wire

PAGE = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"
TOKEN = "a-token-of-the-metrics"
ONLY_WITH_TLS = {"appliance_certificate_expiry_timestamp_seconds"}
ENDED, REFUSED = "appliance_sessions_ended_total", "appliance_refusals_total"

Samples = list[tuple[str, dict[str, str], float]]


@pytest.fixture(scope="module")
def grid() -> Iterator[Appliance]:
    """Provide an appliance that is soon full, with a limit and a token."""
    limits = {"MAX_CONCURRENT_SESSIONS": 1, "QUEUE_MAX_LENGTH": 1, "QUEUE_TIMEOUT": 2, "SESSION_TIMEOUT": 5}
    with Appliance(**limits, MAX_LIFETIME_SESSIONS=0, APPLIANCE_TOKEN=TOKEN) as grid:
        yield grid


def read(grid: Appliance) -> Samples:
    """Return all samples of /metrics: name, labels, value."""
    url, headers = f"http://127.0.0.1:{grid.port}/metrics", {"Authorization": f"Bearer {TOKEN}"}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    return [(sample.name, sample.labels, sample.value) for family in families for sample in family.samples]


def total(samples: Samples, name: str, **labels: str) -> float:
    """Return the sum of the samples that have these labels."""
    return sum(value for found, has, value in samples if found == name and labels.items() <= has.items())


def counted(grid: Appliance, count: float, name: str, **labels: str) -> None:
    until(lambda: total(read(grid), name, **labels) == count, f"{name}{labels} is {count}")


def ask(grid: Appliance, **headers: str) -> Wire:
    """Ask for a session; the answer is still to be read."""
    wire = Wire(grid.port)
    wire.send_upgrade(Authorization=f"Bearer {TOKEN}", **headers)
    return wire


def session(grid: Appliance) -> Wire:
    wire = ask(grid)
    assert wire.answer().status == 101
    return wire


def test_sessions_are_counted_by_who_ended_them(grid: Appliance) -> None:
    with session(grid) as wire:
        wire.socket.sendall(frame(CLOSE, b"", mask=bytes(4)))
        counted(grid, 1, ENDED, ended_by="client")
    session(grid).socket.close()
    counted(grid, 1, ENDED, ended_by="network")
    with session(grid):
        (running,) = grid.state.sessions()
        grid.state.kill_session(running.id, "session closed by operator")
        counted(grid, 1, ENDED, ended_by="operator")
    with session(grid):
        counted(grid, 1, ENDED, ended_by="limit")
    with session(grid):
        (worker,) = grid.available(1)
        tree(worker.pid)["driver"].kill()
        counted(grid, 1, ENDED, ended_by="driver")
    grid.successor(worker)
    samples = read(grid)
    assert total(samples, "appliance_sessions_started_total", browser="chromium", isolation="context") == 5
    assert total(samples, "appliance_session_duration_seconds_count") == 5
    assert total(samples, "appliance_session_bytes_total", direction="from_client") == len(
        frame(CLOSE, b"", mask=bytes(4))
    )
    assert total(samples, "appliance_workers_crashed_total", browser="chromium", cause="driver") == 1
    assert total(samples, "appliance_workers_failed_total", browser="chromium") == 1


def test_refusals_are_counted_by_their_status_and_reason(grid: Appliance) -> None:
    grid.available(1)
    assert Wire(grid.port).upgrade(Authorization="Bearer unknown").status == 401
    counted(grid, 1, REFUSED, status="401", reason="unauthorized")
    assert ask(grid, User_Agent="Playwright/1.40.0 (x64; test) python/3").answer().status == 428
    counted(grid, 1, REFUSED, status="428", reason="version_not_served")
    with session(grid):
        first = ask(grid)
        counted(grid, 1, "appliance_sessions_waiting")
        assert total(read(grid), "appliance_queue_oldest_wait_seconds") >= 0
        assert ask(grid).answer().status == 429
        assert first.answer().status == 503
        counted(grid, 1, REFUSED, status="429", reason="queue_full")
        counted(grid, 1, REFUSED, status="503", reason="no_slot")


def test_every_metric_of_the_page_is_exported_by_a_proxy(grid: Appliance) -> None:
    (worker,) = grid.available(1)
    grid.applctl("workers", "drain", worker.id)
    grid.successor(worker)
    documented = set(re.findall(r"^\| `(appliance_\w+)` \|", PAGE.read_text(), re.MULTILINE)) - ONLY_WITH_TLS
    samples = read(grid)
    exported = {re.sub(r"_(bucket|sum|count)$", "", name) for name, *_ in samples}
    assert {name for name in documented - exported if name not in {found for found, *_ in samples}} == set()
    assert total(samples, "appliance_workers_drained_total", cause="operator") == 1
    assert total(samples, "appliance_redis_up") == 1
    assert total(samples, "appliance_audit_differences") == 0


def test_the_metrics_are_served_while_redis_is_away(grid: Appliance) -> None:
    redis = grid.process("redis")
    redis.suspend()
    try:
        samples = read(grid)
        assert Wire(grid.port).get("/metrics", {"Authorization": "Bearer unknown"}).status == 503
    finally:
        redis.resume()
    assert [value for name, _, value in samples if name == "appliance_redis_up"] == [0]
    assert total(samples, "process_resident_memory_bytes") > 0
    assert not [name for name, *_ in samples if name == "appliance_slots"]
    until(lambda: total(read(grid), "appliance_redis_up") == 1, "Redis is back")
