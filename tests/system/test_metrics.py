"""Every metric of docs/metrics.md is seen, once a session was ended by each who can end one."""

from __future__ import annotations

import re
import signal
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from appliance.grid.story import EndedBy
from appliance.grid.token_table import digest_of
from tests.support.appliance import Appliance, tree
from tests.support.frames import CLOSE, TEXT, frame
from tests.support.waiting import until
from tests.support.wire import Wire

PAGE = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"
TOKEN, OWNERS = "a-token-of-the-metrics", "a-token-of-a-client"
ONLY_WITH_TLS = {"appliance_certificate_expiry_timestamp_seconds"}
ZERO_IN_A_HEALTHY_GRID = {  # their tests are with what they count
    *("appliance_inner_sessions", "appliance_draining", "appliance_safe_to_stop", "appliance_dial_failures_total"),
    *("appliance_leases_lost_total", "appliance_reaped_total", "appliance_audit_differences"),
}
INITIALIZE = b'{"id":1,"guid":"","method":"initialize","params":{"sdkLanguage":"python"},"metadata":{}}'
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


def seen(samples: Samples, name: str) -> Samples:
    """Return the samples, if a metric has any value but zero in them; of a histogram, if it was observed."""
    of_metric = (value for found, _, value in samples if found in (name, f"{name}_count"))
    return samples if any(of_metric) else []


def unseen(grid: Appliance, names: set[str]) -> set[str]:
    """Remove the metrics that have any value but zero now from the names, and return what is left of these."""
    samples = read(grid)
    names -= {name for name in names if seen(samples, name)}
    return names


def ask(grid: Appliance, target: str = "/", token: str = TOKEN, **headers: str) -> Wire:
    """Ask for a session; the answer is still to be read."""
    wire = Wire(grid.port)
    wire.send_upgrade(target, Authorization=f"Bearer {token}", **headers)
    return wire


def session(grid: Appliance, target: str = "/", token: str = TOKEN) -> Wire:
    wire = ask(grid, target, token)
    assert wire.answer().status == 101
    return wire


def end_by_client(grid: Appliance) -> None:
    with session(grid) as wire:
        wire.socket.sendall(frame(CLOSE, b"", mask=bytes(4)))
        wire.read_all()


def end_by_network(grid: Appliance) -> None:
    session(grid).socket.close()


def end_by_limit(grid: Appliance) -> None:
    with session(grid) as wire:
        wire.read_all()


def end_by_operator(grid: Appliance) -> None:
    with session(grid) as wire:
        (running,) = grid.state.sessions()
        grid.state.kill_session(running.id, "session closed by operator")
        wire.read_all()


def end_by_owner(grid: Appliance) -> None:
    grid.state.create_token(digest_of(OWNERS), "alice")
    with session(grid, token=OWNERS) as wire, Wire(grid.port) as api:
        ended = api.get("/api/v1/sessions?all=true", {"Authorization": f"Bearer {OWNERS}"}, "DELETE")
        assert ended.status == 202
        assert b"session closed by its owner" in wire.read_all()


def end_by_signal(grid: Appliance, process: str, number: signal.Signals) -> None:
    with session(grid) as wire:
        (worker,) = grid.available(1)
        tree(worker.pid)[process].send_signal(number)
        wire.read_all()
    grid.successor(worker)


ENDS: dict[EndedBy, Callable[[Appliance], None]] = {
    EndedBy.CLIENT: end_by_client,
    EndedBy.NETWORK: end_by_network,
    EndedBy.LIMIT: end_by_limit,
    EndedBy.OPERATOR: end_by_operator,
    EndedBy.OWNER: end_by_owner,
    EndedBy.BROWSER: lambda grid: end_by_signal(grid, "browser", signal.SIGKILL),
    EndedBy.DRIVER: lambda grid: end_by_signal(grid, "driver", signal.SIGKILL),
    EndedBy.WORKER: lambda grid: end_by_signal(grid, "worker", signal.SIGKILL),
    EndedBy.APPLIANCE: lambda grid: end_by_signal(grid, "worker", signal.SIGTERM),  # as if it was stopped
}


def test_sessions_are_counted_by_who_ended_them(grid: Appliance) -> None:
    assert {*ENDS} == {*EndedBy} - {EndedBy.GRID}, "what the grid refuses never was a session with a slot"
    for who, end in ENDS.items():
        end(grid)
        counted(grid, 1, ENDED, ended_by=who)
        until(lambda: not grid.state.sessions(), "its slot is free")
    samples = read(grid)
    assert total(samples, "appliance_sessions_started_total", browser="chromium", isolation="context") == len(ENDS)
    assert total(samples, "appliance_session_duration_seconds_count") == len(ENDS)
    assert total(samples, "appliance_session_bytes_total", direction="from_client") == len(
        frame(CLOSE, b"", mask=bytes(4))
    )
    assert total(samples, "appliance_workers_crashed_total", browser="chromium", cause="driver") == 1
    assert total(samples, "appliance_workers_crashed_total", browser="chromium", cause="browser") == 1
    assert total(samples, "appliance_workers_crashed_total", browser="chromium", cause="killed") == 1
    assert total(samples, "appliance_workers_failed_total", browser="chromium") >= 1
    assert total(samples, "appliance_workers_drained_total", cause="stop") == 1
    assert {one.ended_by for one in grid.state.history()} == {*ENDS}
    documented = set(re.findall(r"^\| `(appliance_\w+)` \|", PAGE.read_text(), re.MULTILINE)) - ONLY_WITH_TLS
    unseen(grid, documented)
    with session(grid) as talkative, ask(grid) as impatient:
        talkative.socket.sendall(frame(TEXT, INITIALIZE, mask=bytes(4)))
        counted(grid, 1, "appliance_sessions_waiting")
        impatient.socket.close()
        counted(grid, 1, "appliance_clients_gone_total")
        with ask(grid):
            until(
                lambda: unseen(grid, documented) == ZERO_IN_A_HEALTHY_GRID,
                f"each was seen at some time, not {documented}",
            )


def test_refusals_are_counted_by_their_status_and_reason(grid: Appliance) -> None:
    grid.available(1)
    before = total(read(grid), REFUSED, status="503", reason="no_slot")
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
        counted(grid, before + 1, REFUSED, status="503", reason="no_slot")


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
