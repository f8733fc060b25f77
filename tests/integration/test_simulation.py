"""The policy of selection and recycling on a simulated clock; `python -m tests.simulation` covers far more."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.simulation.case import Case
from tests.simulation.reference import overdraft
from tests.simulation.result import FORCED, Result, run

# Recycling takes up at most half of what can be borne: a policy can keep all but one worker.
BEARABLE = [
    # sessions quicker than a respawn
    Case(workers=2, concurrency=1, quota=50, length_s=1, load=0.9, spares=0),
    Case(workers=5, concurrency=1, quota=20, length_s=1, load=0.5, spares=0),
    Case(workers=5, concurrency=5, quota=20, length_s=1, load=0.1, spares=0),
    Case(workers=10, concurrency=2, quota=50, length_s=1, load=0.5, spares=1),
    # longer ones
    Case(workers=2, concurrency=1, quota=50, length_s=10, load=1.0, spares=0),
    Case(workers=3, concurrency=2, quota=50, length_s=10, load=1.0, spares=0),
    Case(workers=5, concurrency=2, quota=20, length_s=60, load=0.5, spares=1),
    Case(workers=20, concurrency=1, quota=50, length_s=10, load=0.9, spares=1),
    Case(workers=10, concurrency=1, quota=50, length_s=300, load=0.9, spares=1),
    Case(workers=50, concurrency=1, quota=20, length_s=10, load=0.1, spares=1),
    # held only because a second may be recycled early while a spare stands in for the first
    Case(workers=20, concurrency=2, quota=20, length_s=10, load=0.5, spares=1, sessions=1500),
    Case(workers=5, concurrency=2, quota=50, length_s=1, load=1.0, spares=1, sessions=1500),
]


def figures(result: Result) -> Result:
    """Return a result without what the machine had to do with it."""
    return replace(result, took_s=0.0)


def in_short(case: Case) -> str:
    """Name a case by what it does not share with all others."""
    return str(case).partition(" appliances")[0]


@pytest.mark.parametrize("case", BEARABLE, ids=in_short)
def test_recycling_never_costs_a_pool_more_than_one_of_its_workers(redis_url: str, case: Case) -> None:
    result = run(redis_url, case)
    assert result.can, "the case asks too much"
    assert result.recycled > case.workers, "it was too short"
    assert result.worst >= (case.workers - 1) / case.workers


def test_sessions_are_spread_once_the_ends_are_apart(redis_url: str) -> None:
    """Ten at a time on twenty workers: packed, a new one would find more than two on its worker."""
    result = run(redis_url, Case(workers=20, concurrency=5, quota=20, length_s=10, load=0.1, sessions=1500))
    assert result.shared < 0.3


def test_a_simulation_shows_the_same_each_time(redis_url: str) -> None:
    case = Case(workers=3, concurrency=5, quota=20, length_s=1, load=0.9)
    result = run(redis_url, case)
    assert figures(run(redis_url, case)) == figures(result)
    assert figures(run(redis_url, replace(case, seed=2))) != figures(replace(result, case=replace(case, seed=2)))


def test_a_pool_whose_sessions_are_quicker_than_its_respawns_is_not_blamed(redis_url: str) -> None:
    result = run(redis_url, Case(workers=5, concurrency=5, quota=5, length_s=0.1))
    assert result.verdict == FORCED
    assert result.worst < 0.8
    assert result.waited


def test_recycling_that_queues_makes_the_others_take_the_sessions() -> None:
    """A session each second, and a quota of 10: the third recycling is due at 29 s and begins at 37 s."""
    case = Case(workers=2, quota=10, spares=0)
    starts_s = [float(second) for second in range(40)]
    assert overdraft(case, starts_s, [10.0]) == 0
    assert overdraft(case, starts_s, [14.0]) == 8
