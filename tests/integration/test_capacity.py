"""What the operations' pages read of a grid, also of a large one."""

from __future__ import annotations

from appliance.errors import Blame
from appliance.grid.grid import Grid
from appliance.names import Browser
from tests.support.claims import CONCURRENCY, claim, spec
from tests.support.waiting import until

MANY = 300  # more than are counted at once


def register(grid: Grid, count: int) -> None:
    for number in range(count):
        grid.register_worker(spec(f"W{number}", quota=0))


def test_a_large_grid_is_counted_whole(grid: Grid) -> None:
    register(grid, MANY)
    grid.register_worker(spec("late", ttl_ms=-1))
    grid.drain_worker("W0", "operator")
    for session in ("a", "b"):
        claim(grid, session)
    (pool,) = grid.capacity()
    slots = CONCURRENCY * (MANY - 1)
    assert pool.workers == {"standby": 0, "available": MANY - 1, "draining": 1}
    assert (pool.slots, pool.active, pool.free) == (slots, 2, slots - 2)


def test_only_slots_that_a_session_could_have_now_count_as_free(grid: Grid) -> None:
    grid.register_worker(spec("doubted"))
    grid.register_worker(spec("back", connections=2, settle_ms=60_000))
    (pool,) = grid.capacity()
    assert (pool.slots, pool.free) == (2 * CONCURRENCY, 2 * CONCURRENCY - 2)
    claim(grid, "a")
    (held,) = grid.sessions()
    grid.give_back("a", held.worker, Blame.WORKER)
    (pool,) = grid.capacity()
    assert (pool.slots, pool.free) == (2 * CONCURRENCY, CONCURRENCY - (2 if held.worker == "doubted" else 0))


def test_a_large_grid_is_counted_once_for_all_and_then_anew(grid: Grid) -> None:
    register(grid, MANY)
    before = grid.capacity()
    grid.drain_worker("W0", "operator")
    assert Grid(grid.store).capacity() == before
    until(lambda: grid.capacity()[0].workers["draining"] == 1, "the drain is counted")


def test_a_worker_whose_heartbeats_have_stopped_makes_no_grid_ready(grid: Grid) -> None:
    grid.register_worker(spec("late", ttl_ms=-1))
    assert not grid.is_ready(Browser.CHROMIUM)
    grid.register_worker(spec("there"))
    assert grid.is_ready(Browser.CHROMIUM)
    assert not grid.is_ready(Browser.FIREFOX)
    grid.drain_worker("there", "operator")
    assert not grid.is_ready(Browser.CHROMIUM)


def test_a_late_worker_is_found_behind_many_that_need_not_speak_so_often(grid: Grid) -> None:
    register(grid, MANY)
    grid.register_worker(spec("late", ttl_ms=-1))
    assert grid.reap()["workers"] == 1
