"""A team that is made larger or smaller, on a real Redis: what serves, what stands by, and what is offered."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.grid.grid import Grid
from appliance.grid.values import WorkerStatus
from appliance.names import Browser
from tests.support.announced import announcement
from tests.support.claims import claim, spec

STANDBY = WorkerStatus.STANDBY


@pytest.fixture
def team(grid: Grid) -> Grid:
    """Register two workers that serve, and a spare one."""
    for name in "ABC":
        grid.register_worker(spec(name, status=STANDBY, target=2, spares=1))
    return grid


def statuses(grid: Grid) -> dict[str, str]:
    return {worker.id: worker.status for worker in grid.workers()}


def resize(grid: Grid, target: int, spares: int = 0) -> None:
    one = spec("A")
    grid.resize_team(one.appliance, one.browser, one.minor, target=target, spares=spares)


def test_a_team_that_grows_lets_its_spare_serve_at_once(team: Grid) -> None:
    assert statuses(team)["C"] == "standby"
    resize(team, 3)
    assert statuses(team)["C"] == "available"


def test_nobody_takes_the_place_of_a_worker_that_leaves_a_smaller_team(team: Grid) -> None:
    resize(team, 1, spares=1)
    team.drain_worker("A", "its pool was made smaller")
    assert statuses(team) == {"A": "draining", "B": "available", "C": "standby"}
    team.heartbeat_worker("A", 0)
    assert statuses(team)["C"] == "standby", "a heartbeat of one that leaves does not bring the old size back"
    team.drain_worker("B", "operator")
    assert statuses(team)["C"] == "available"


def test_a_pool_that_is_removed_is_offered_by_nobody(grid: Grid) -> None:
    one = spec("A", target=1)
    pools = {(one.browser, one.minor): 1}
    grid.announce(announcement(one.appliance, pools=pools))
    grid.register_worker(one)
    assert claim(grid, "first", minor=one.minor)["status"] == "active"
    resize(grid, 0)
    grid.drain_worker("A", "its pool was made smaller")
    assert grid.heartbeat_worker("A", 0)
    assert claim(grid, "second", minor=one.minor)["status"] == "unserved"
    assert [session.id for session in grid.sessions()] == ["first"], "the session goes on"
    grid.register_worker(replace(spec("B", target=1), appliance="another"))
    assert claim(grid, "third", minor=one.minor)["status"] == "active", "another appliance may offer it"


def test_the_team_of_another_appliance_keeps_its_size(team: Grid) -> None:
    other = replace(spec("D", target=1, status=STANDBY), appliance="another")
    team.register_worker(other)
    team.resize_team(other.appliance, Browser.CHROMIUM, other.minor, target=0, spares=0)
    assert statuses(team) == {"A": "available", "B": "available", "C": "standby", "D": "available"}
