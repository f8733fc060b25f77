"""What the operations' pages read of a grid, also of a large one."""

from __future__ import annotations

import pytest

from appliance.grid import capacity
from appliance.grid.grid import Registry
from appliance.names import Browser
from tests.support.claims import CONCURRENCY, claim, spec
from tests.support.waiting import until

MANY = 300  # more than are counted at once


def register(registry: Registry, count: int) -> None:
    for number in range(count):
        registry.register_worker(spec(f"W{number}", quota=0))


def test_a_large_grid_is_counted_whole(registry: Registry) -> None:
    register(registry, MANY)
    registry.register_worker(spec("late", ttl_ms=-1))
    registry.drain_worker("W0", "operator")
    for session in ("a", "b"):
        claim(registry, session)
    (pool,) = registry.capacity()
    slots = CONCURRENCY * (MANY - 1)
    assert pool.workers == {"standby": 0, "available": MANY - 1, "draining": 1}
    assert (pool.slots, pool.active, pool.free) == (slots, 2, slots - 2)


def test_a_large_grid_is_counted_once_for_all_and_then_anew(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capacity, "KEPT_MS", 200)
    register(registry, MANY)
    before = registry.capacity()
    registry.drain_worker("W0", "operator")
    assert Registry(registry.store).capacity() == before
    until(lambda: registry.capacity()[0].workers["draining"] == 1, "it is counted anew", within_s=2)


def test_a_worker_whose_heartbeats_have_stopped_makes_no_grid_ready(registry: Registry) -> None:
    registry.register_worker(spec("late", ttl_ms=-1))
    assert not registry.is_ready(Browser.CHROMIUM)
    registry.register_worker(spec("there"))
    assert registry.is_ready(Browser.CHROMIUM)
    assert not registry.is_ready(Browser.FIREFOX)
    registry.drain_worker("there", "operator")
    assert not registry.is_ready(Browser.CHROMIUM)


def test_a_late_worker_is_found_behind_many_that_need_not_speak_so_often(registry: Registry) -> None:
    register(registry, MANY)
    registry.register_worker(spec("late", ttl_ms=-1))
    assert registry.reap()["workers"] == 1
