"""Selection on a real Redis: which worker a session is given."""

from __future__ import annotations

import pytest

from appliance.grid.grid import Grid
from appliance.grid.values import WorkerStatus
from appliance.names import Browser
from tests.support.claims import CONCURRENCY, claim, fill, spec


@pytest.mark.parametrize(
    ("quota", "workers", "chosen"),
    [
        (20, {"A": (18, 2), "B": (12, 1), "C": (8, 0), "D": (3, 1)}, "B"),
        (10, {"A": (8, 3), "B": (7, 2)}, "A"),
        (4, {"A": (2, 0)}, "A"),
        (10, {"A": (9, 1), "B": (7, 2), "C": (5, 0)}, "C"),
        (20, {"A": (5, 3), "B": (5, 1), "C": (5, 2)}, "B"),  # a tie goes to the fewest active
        (10, {"A": (9, 3), "B": (9, 1), "C": (9, 2)}, "B"),  # in the margin's fallback, too
    ],
)
def test_the_worker_nearest_to_its_quota_beyond_the_margin_is_chosen(
    grid: Grid, quota: int, workers: dict[str, tuple[int, int]], chosen: str
) -> None:
    fill(grid, workers, quota)
    seen = {worker.id: (worker.lifetime, worker.active) for worker in grid.workers()}
    assert seen == workers
    assert claim(grid, "new")["worker"] == chosen


@pytest.mark.parametrize(
    "change",
    [
        {"status": WorkerStatus.DRAINING},
        {"status": WorkerStatus.STANDBY},
        {"browser": Browser.WEBKIT},
        {"version": "1.64.0"},
        {"ttl_ms": -1},  # its last heartbeat is too long ago
        {"lifetime": 20},  # its quota is used up
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_worker_that_must_not_be_chosen_is_not(grid: Grid, change: dict[str, object]) -> None:
    grid.register_worker(spec("good"))
    grid.register_worker(spec("bad", **{"lifetime": 10, **change}))  # type: ignore[arg-type]
    granted = [claim(grid, str(number)).get("worker") for number in range(CONCURRENCY + 1)]
    assert granted == ["good"] * CONCURRENCY + [None]


def test_a_suspect_worker_is_chosen_again_only_after_a_good_heartbeat(grid: Grid) -> None:
    grid.register_worker(spec("A"))
    claim(grid, "s")
    grid.give_back("s", "A")
    assert [claim(grid, session)["status"] for session in "st"] == ["waiting", "waiting"]
    assert grid.heartbeat_worker("A", 0)["suspect"]
    assert claim(grid, "t")["status"] == "waiting"
    grid.heartbeat_worker("A", 0, healthy=True)
    assert [claim(grid, session)["status"] for session in "st"] == ["active", "active"]


def test_a_suspects_session_moves_to_another_worker_at_once(grid: Grid) -> None:
    grid.register_worker(spec("A", lifetime=5))
    grid.register_worker(spec("B"))
    assert claim(grid, "s")["worker"] == "A"
    grid.give_back("s", "A")
    assert claim(grid, "s")["worker"] == "B"
    assert {worker.id: worker.active for worker in grid.workers()} == {"A": 0, "B": 1}


def test_a_worker_whose_last_session_is_claimed_drains_in_that_step(grid: Grid) -> None:
    grid.register_worker(spec("A", lifetime=19))
    assert claim(grid, "s")["worker"] == "A"
    assert grid.workers()[0].status == WorkerStatus.DRAINING
    assert claim(grid, "t")["status"] == "waiting"


def test_without_a_quota_the_fewest_active_is_chosen_for_ever(grid: Grid) -> None:
    grid.register_worker(spec("A", quota=0, lifetime=10**6))
    grid.register_worker(spec("B", quota=0))
    granted = [claim(grid, str(number))["worker"] for number in range(2 * CONCURRENCY)]
    assert sorted(granted[:2]) == ["A", "B"]
    assert sorted(granted) == ["A"] * CONCURRENCY + ["B"] * CONCURRENCY


def test_a_client_without_a_version_is_served_by_any(grid: Grid) -> None:
    grid.register_worker(spec("A", version="1.64.0"))
    assert claim(grid, "s", minor="")["worker"] == "A"


def test_while_a_worker_is_recycled_no_other_is_given_its_last_session_without_need(grid: Grid) -> None:
    fill(grid, {"A": (0, 1), "B": (9, 0), "C": (8, CONCURRENCY - 2)}, quota=10)
    grid.drain_worker("A", "drained by operator")
    assert [claim(grid, f"n{number}")["worker"] for number in range(2)] == ["C", "B"]
    grid.remove_worker("A", "drained")  # it is awaited still
    grid.register_worker(spec("D", lifetime=9, quota=10))
    grid.register_worker(spec("E", lifetime=8, quota=10))
    assert claim(grid, "n2")["worker"] == "E"
    for worker, name in {"F": "A", "G": "B"}.items():  # and is back, as is B
        grid.register_worker(spec(worker, name=name, lifetime=8, quota=10))
    assert claim(grid, "n3")["worker"] == "D"
