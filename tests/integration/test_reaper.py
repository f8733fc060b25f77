"""How soon what a dead proxy held is free again, however much it is."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from appliance.grid.grid import Grid
from appliance.grid.observer import Observer
from appliance.grid.sessions import Sessions
from appliance.grid.store import Store
from appliance.grid.values import SessionRequest
from appliance.names import Browser
from appliance.run_dir import RunDir
from appliance.settings import config
from appliance.settings.config import Settings
from proxy.predecessors import Predecessors
from proxy.reaper import SOON_S, Reaper
from tests.support.claims import claim, spec
from tests.support.waiting import until

WANTED = SessionRequest(Browser.CHROMIUM, "1.65")
WORKERS, CONCURRENCY = 20, 50
SLOTS = WORKERS * CONCURRENCY


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("APPLIANCE_ENV", str(tmp_path / "none"))
    return config.load(run_dir=tmp_path)


def hold(grid: Grid, proxy: str, sessions: int, lease_ms: int) -> None:
    """Have slots of workers with enough of them."""
    for number in range(WORKERS):
        grid.register_worker(spec(f"w{number}", concurrency=CONCURRENCY, quota=0, target=WORKERS))
    options = {"proxy": proxy, "lease_ms": lease_ms, "wait_ms": 60_000, "queue_max": 9}
    for number in range(sessions):
        grid.claim(f"{proxy}-{number}", WANTED, **options)  # type: ignore[arg-type]


def active(grid: Grid) -> int:
    return sum(worker.active for worker in grid.workers())


def test_1000_slots_of_a_dead_proxy_are_free_within_2_s_of_their_leases_end(grid: Grid, settings: Settings) -> None:
    hold(grid, "dead.1", SLOTS, 60_000)
    grid.renew("dead.1", {one.id: one.worker for one in grid.sessions()}, 1_000)
    reaper, rounds = Reaper(grid, Sessions(grid, settings, "alive.1"), settings, Observer()), 0
    while active(grid):
        reaper.pause()
        reaper.reap()
        rounds += 1
    assert rounds * SOON_S < 2, "how long a round takes besides is the machine's"
    assert not grid.sessions()


def test_a_reaper_waits_for_what_is_due_next_rather_than_for_its_interval(grid: Grid, settings: Settings) -> None:
    assert grid.due_in_s() > settings.reaper_run_interval, "nothing is due"
    hold(grid, "dead.1", 1, 2_000)
    assert 0 < grid.due_in_s() <= 2
    began = time.monotonic()
    Reaper(grid, Sessions(grid, settings, "alive.1"), settings, Observer()).pause()
    assert SOON_S < time.monotonic() - began < settings.reaper_run_interval


def test_a_reaper_does_not_hurry_for_those_whose_wait_ends(grid: Grid, settings: Settings) -> None:
    grid.register_worker(spec("A", concurrency=1))
    claim(grid, "holder")
    grid.claim("waiter", WANTED, proxy="here.1", lease_ms=60_000, wait_ms=300, queue_max=9)
    assert [one.status for one in grid.sessions() if one.id == "waiter"] == ["waiting"]
    assert grid.due_in_s() > settings.reaper_run_interval


def test_one_record_that_cannot_be_read_keeps_no_other_from_being_reaped(store: Store, grid: Grid) -> None:
    hold(grid, "dead.1", 3, 100)
    claim(grid, "alive")
    broken = store.key("session", "dead.1-1")
    store.read(("HSET", broken, "request", "{", "status", "waiting"), ("HSET", store.key("worker", "w1"), "quota", "x"))
    store.read(("ZADD", store.key("deadlines"), 1, "dead.1-1"), ("ZADD", store.key("workers"), 1, "w1"))
    store.read(("HSET", store.key("worker", "w1"), "fresh_until", "1"))
    until(lambda: grid.reap() and [one.id for one in grid.sessions()] == ["alive"], "all others are reaped")
    assert "w1" not in [worker.id for worker in grid.workers()]


def test_a_proxy_that_starts_ends_what_those_before_it_on_this_appliance_held(grid: Grid, settings: Settings) -> None:
    hold(grid, "here.1", 250, 60_000)
    hold(grid, "there.1", 3, 60_000)
    first = Predecessors(settings.run_dir, "here.1")
    again = Predecessors(settings.run_dir, "here.2")
    again.release(grid)
    assert active(grid) == 253, "the first one has not ended: it has its lock"
    first.close()
    second = Predecessors(settings.run_dir, "here.2")
    second.close()  # before it came to release anything
    Predecessors(settings.run_dir, "here.3").release(grid)
    assert active(grid) == 3
    assert {one.proxy for one in grid.sessions()} == {"there.1"}
    assert RunDir(settings.run_dir).proxies.read_text() == '["here.3"]'


def test_another_appliance_of_the_same_name_ends_nothing(grid: Grid, tmp_path: Path) -> None:
    hold(grid, "same.1", 3, 60_000)
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    first = Predecessors(tmp_path / "one", "same.1")
    Predecessors(tmp_path / "other", "same.2").release(grid)
    assert active(grid) == 3
    first.close()


def test_who_waited_in_a_proxy_that_has_ended_is_forgotten_with_it(grid: Grid) -> None:
    grid.register_worker(spec("A", concurrency=1))
    claim(grid, "holder")
    grid.claim("waiter", WANTED, proxy="dead.1", lease_ms=60_000, wait_ms=60_000, queue_max=9)
    assert grid.release_proxy("dead.1") == 0
    assert [one.id for one in grid.sessions()] == ["holder"]
