"""What Redis says for the metrics; and that docs/metrics.md names all that a proxy exports, as it is exported."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from prometheus_client.core import Metric

from appliance.grid.grid import Grid
from appliance.grid.story import EndedBy
from appliance.grid.values import CrashCause, DrainCause, SessionRequest, WorkerEnd
from appliance.names import BESIDE, Browser
from appliance.settings.config import Settings
from proxy.metrics.gauges import GridCollector
from proxy.metrics.machine import MachineCollector
from proxy.metrics.metrics import Metrics
from proxy.self_audit import SelfAudit
from tests.support.claims import claim, spec

PAGE = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"
ROW = re.compile(r"^\| `(appliance_\w+)` \| (\w+) \| ([^|]*)\|", re.MULTILINE)
OF_HISTOGRAM = {"le"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(run_dir=tmp_path, appliance_name="here")


def test_workers_that_drain_crash_or_fail_are_counted_for_their_own_appliance(grid: Grid) -> None:
    grid.register_worker(spec("A", quota=1))
    claim(grid, "s")
    for name, appliance in {"B": "here", "C": "here", "D": "here", "E": "there"}.items():
        grid.register_worker(spec(name, target=9, appliance=appliance))
    grid.drain_worker("B", "operator")
    grid.drain_worker("B", "again")
    grid.drain_worker("C", "grew", DrainCause.MEMORY)
    grid.remove_worker("D", "worker D crashed", CrashCause.BROWSER)
    grid.remove_worker("D", "worker D crashed", CrashCause.KILLED)
    grid.remove_worker("E", "gone", CrashCause.DRIVER)
    grid.remove_worker("C", "drained")
    grid.report_failure("here", "F", Browser.FIREFOX, "no such file", 60)
    assert grid.worker_ends("here") == {
        WorkerEnd("drained", "chromium", "1.65", "quota"): 1,
        WorkerEnd("drained", "chromium", "1.65", "operator"): 1,
        WorkerEnd("drained", "chromium", "1.65", "memory"): 1,
        WorkerEnd("crashed", "chromium", "1.65", "browser"): 1,
        WorkerEnd("failed", "firefox"): 1,
    }
    assert grid.worker_ends("there") == {WorkerEnd("crashed", "chromium", "1.65", "driver"): 1}


def test_an_end_that_has_not_happened_yet_is_a_zero_so_that_the_first_is_an_increase(grid: Grid) -> None:
    gauges = GridCollector(grid, "here", [], [])

    def crashes() -> dict[str, float]:
        (family,) = (family for family in gauges.collect() if family.name == "appliance_workers_crashed")
        return {sample.labels["cause"]: sample.value for sample in family.samples}

    assert crashes() == {}
    grid.register_worker(spec("A"))
    assert crashes() == dict.fromkeys(CrashCause, 0)
    grid.remove_worker("A", "worker A crashed", CrashCause.HANG)
    assert crashes() == dict.fromkeys(CrashCause, 0) | {"hang": 1}


def test_the_ends_of_a_pool_beside_another_are_counted_from_zero_on_too(grid: Grid) -> None:
    gauges = GridCollector(grid, "here", [], [])

    def versions() -> set[str]:
        (family,) = (family for family in gauges.collect() if family.name == "appliance_workers_crashed")
        return {sample.labels["version"] for sample in family.samples}

    grid.register_worker(spec("A", beside=BESIDE))
    assert versions() == {f"1.65{BESIDE}"}
    grid.remove_worker("A", "worker A crashed", CrashCause.HANG)
    assert versions() == {f"1.65{BESIDE}"}


def test_a_worker_that_the_reaper_finds_has_crashed_in_silence(grid: Grid) -> None:
    grid.register_worker(spec("A", ttl_ms=-1))
    assert grid.reap()["workers"] == 1
    assert grid.worker_ends("here") == {WorkerEnd("crashed", "chromium", "1.65", "silent"): 1}


def test_workers_end_by_a_drained_appliance_is_counted_as_such(grid: Grid) -> None:
    grid.register_worker(spec("A"))
    grid.drain_appliance("here", "maintenance")
    assert grid.worker_ends("here") == {WorkerEnd("drained", "chromium", "1.65", "appliance"): 1}


def test_the_oldest_wait_is_that_of_the_first_who_came(grid: Grid) -> None:
    assert grid.oldest_wait_s() == 0
    grid.register_worker(spec("A", concurrency=1))
    assert [claim(grid, name)["status"] for name in "abc"] == ["active", "waiting", "waiting"]
    started_ms = min(one.started_ms for one in grid.sessions() if one.status == "waiting")
    before, waited_s, after = grid.now_ms(), grid.oldest_wait_s(), grid.now_ms()
    assert before - started_ms <= waited_s * 1000 <= after - started_ms


def test_a_slot_that_nobody_holds_is_a_difference(grid: Grid, settings: Settings) -> None:
    grid.register_worker(spec("A"))
    audit = SelfAudit(settings, grid)
    assert list(audit.collect()) == []
    audit.look()
    assert [family.samples[0].value for family in audit.collect()][:1] == [0]
    grid.store.read(("SADD", grid.store.key("worker", "A", "sessions"), "leaked"))
    audit.look()
    assert [family.samples[0].value for family in audit.collect()][:1] == [1]


def collected(grid: Grid, settings: Settings) -> list[Metric]:
    """Return all that a proxy exports when each thing has happened once; the workers' ends are in Redis."""
    metrics, audit = Metrics(), SelfAudit(settings, grid)
    metrics.session_started(SessionRequest(Browser.CHROMIUM), 0)
    metrics.session_ended(SessionRequest(Browser.CHROMIUM), EndedBy.CLIENT, 1)
    metrics.connected(SessionRequest(Browser.CHROMIUM), 1)
    grid.register_worker(spec("A", target=2))
    grid.register_worker(spec("B", target=2))
    grid.drain_worker("A", "operator")
    grid.remove_worker("A", "crashed", CrashCause.DRIVER)
    grid.report_failure("here", "A", Browser.CHROMIUM, "no such file", 60)
    grid.renew("here.abcdef", {}, 60_000)
    audit.look()
    gauges = GridCollector(grid, "here", [], [])
    metrics.read_also([gauges, MachineCollector(settings.run_dir, "1.65.2", lambda: 1.8e9), audit])
    return list(metrics.registry.collect())


def labels_of(families: Iterable[Metric]) -> dict[str, tuple[str, set[str]]]:
    """Return the type and the labels of each metric, by the name that queries use."""
    return {
        family.name + ("_total" if family.type == "counter" else ""): (
            family.type,
            {label for sample in family.samples for label in sample.labels} - OF_HISTOGRAM,
        )
        for family in families
    }


def test_the_page_names_every_metric_with_its_type_and_labels(pair: Grid, settings: Settings) -> None:
    documented: dict[str, tuple[str, set[str]]] = {}
    for name, kind, labels in ROW.findall(PAGE.read_text()):
        same = documented["appliance_sessions_started_total"][1] if "the same" in labels else set()
        documented[name] = kind, {*same, *re.findall(r"`(\w+)`", labels)}
    exported = labels_of(collected(pair, settings))
    assert len(exported) > 30
    assert {name: documented.get(name) for name in exported} == exported
    assert documented.keys() == exported.keys()
