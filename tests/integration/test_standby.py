"""Hot standby on a real Redis: whoever leaves, a spare takes its place in the same step."""

from __future__ import annotations

import pytest

from appliance.grid.grid import Grid
from appliance.grid.values import WorkerStatus
from tests.support.claims import CONCURRENCY, claim, spec

STANDBY = WorkerStatus.STANDBY


def statuses(grid: Grid) -> dict[str, str]:
    return {worker.id: worker.status for worker in grid.workers()}


@pytest.fixture
def team(grid: Grid) -> Grid:
    """Register two workers that are to serve, and a spare one."""
    for name in "ABC":
        grid.register_worker(spec(name, status=STANDBY, target=2))
    return grid


def test_the_first_workers_serve_and_the_others_stand_by(team: Grid) -> None:
    assert statuses(team) == {"A": "available", "B": "available", "C": "standby"}
    assert [claim(team, str(number))["status"] for number in range(2 * CONCURRENCY + 1)][-2:] == ["active", "waiting"]


@pytest.mark.parametrize("leave", ["drained by an operator", "removed", "lost"])
def test_a_spare_takes_the_place_of_one_that_leaves(leave: str, team: Grid) -> None:
    if leave == "removed":
        team.remove_worker("A", "crashed")
    elif leave == "lost":
        team.register_worker(spec("A", target=2, ttl_ms=-1))
        assert team.reap()["workers"] == 1
    else:
        team.drain_worker("A", "operator")
    assert {name: status for name, status in statuses(team).items() if name != "A"} == {
        "B": "available",
        "C": "available",
    }


def test_a_worker_at_its_quota_is_replaced_in_the_step_that_claims_its_last_session(grid: Grid) -> None:
    grid.register_worker(spec("A", status=STANDBY, quota=3))
    grid.register_worker(spec("B", status=STANDBY, quota=3))
    assert [claim(grid, str(number))["worker"] for number in range(6)] == ["A"] * 3 + ["B"] * 3
    assert statuses(grid) == {"A": "draining", "B": "draining"}
    assert claim(grid, "7")["status"] == "waiting"
    grid.register_worker(spec("A2", status=STANDBY))
    assert claim(grid, "7")["worker"] == "A2"


def test_a_waiter_is_served_by_the_spare_when_a_busy_worker_is_drained(team: Grid) -> None:
    for number in range(2 * CONCURRENCY):
        claim(team, str(number))
    assert claim(team, "waiter")["status"] == "waiting"
    team.drain_worker("A", "operator")
    assert claim(team, "waiter")["worker"] == "C"


def test_a_silent_spare_is_not_promoted_and_serves_once_it_speaks(grid: Grid) -> None:
    grid.register_worker(spec("A", status=STANDBY))
    grid.register_worker(spec("B", status=STANDBY, ttl_ms=-1))
    grid.remove_worker("A", "crashed")
    assert statuses(grid) == {"B": "standby"}
    grid.store.read(("HSET", grid.store.key("worker", "B"), "ttl", 60_000))
    grid.heartbeat_worker("B", 0)
    assert statuses(grid) == {"B": "available"}


def test_a_worker_that_redis_forgot_comes_back_as_what_it_was(team: Grid) -> None:
    team.store.read(("FLUSHALL",))
    team.register_worker(spec("C", status=STANDBY, target=2))
    for name in "AB":
        team.register_worker(spec(name, status=WorkerStatus.AVAILABLE, target=2))
    assert statuses(team)["A"] == statuses(team)["B"] == "available"
