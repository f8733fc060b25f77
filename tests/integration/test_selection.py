"""Selection on a real Redis: which worker a session is given."""

from __future__ import annotations

import pytest

from appliance.grid.grid import Registry
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
    registry: Registry, quota: int, workers: dict[str, tuple[int, int]], chosen: str
) -> None:
    fill(registry, workers, quota)
    seen = {worker.id: (worker.lifetime, worker.active) for worker in registry.workers()}
    assert seen == workers
    assert claim(registry, "new")["worker"] == chosen


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
def test_a_worker_that_must_not_be_chosen_is_not(registry: Registry, change: dict[str, object]) -> None:
    registry.register_worker(spec("good"))
    registry.register_worker(spec("bad", **{"lifetime": 10, **change}))  # type: ignore[arg-type]
    granted = [claim(registry, str(number)).get("worker") for number in range(CONCURRENCY + 1)]
    assert granted == ["good"] * CONCURRENCY + [None]


def test_a_suspect_worker_is_chosen_again_only_after_a_good_heartbeat(registry: Registry) -> None:
    registry.register_worker(spec("A"))
    claim(registry, "s")
    registry.give_back("s", "A")
    assert [claim(registry, session)["state"] for session in "st"] == ["waiting", "waiting"]
    assert registry.heartbeat_worker("A", 0)["suspect"]
    assert claim(registry, "t")["state"] == "waiting"
    registry.heartbeat_worker("A", 0, healthy=True)
    assert [claim(registry, session)["state"] for session in "st"] == ["active", "active"]


def test_a_suspects_session_moves_to_another_worker_at_once(registry: Registry) -> None:
    registry.register_worker(spec("A", lifetime=5))
    registry.register_worker(spec("B"))
    assert claim(registry, "s")["worker"] == "A"
    registry.give_back("s", "A")
    assert claim(registry, "s")["worker"] == "B"
    assert {worker.id: worker.active for worker in registry.workers()} == {"A": 0, "B": 1}


def test_a_worker_whose_last_session_is_claimed_drains_in_that_step(registry: Registry) -> None:
    registry.register_worker(spec("A", lifetime=19))
    assert claim(registry, "s")["worker"] == "A"
    assert registry.workers()[0].status == WorkerStatus.DRAINING
    assert claim(registry, "t")["state"] == "waiting"


def test_without_a_quota_the_fewest_active_is_chosen_for_ever(registry: Registry) -> None:
    registry.register_worker(spec("A", quota=0, lifetime=10**6))
    registry.register_worker(spec("B", quota=0))
    granted = [claim(registry, str(number))["worker"] for number in range(2 * CONCURRENCY)]
    assert sorted(granted[:2]) == ["A", "B"]
    assert sorted(granted) == ["A"] * CONCURRENCY + ["B"] * CONCURRENCY


def test_a_client_without_a_version_is_served_by_any(registry: Registry) -> None:
    registry.register_worker(spec("A", version="1.64.0"))
    assert claim(registry, "s", minor="")["worker"] == "A"


def test_while_a_worker_is_recycled_no_other_is_given_its_last_session_without_need(registry: Registry) -> None:
    fill(registry, {"A": (0, 1), "B": (9, 0), "C": (8, CONCURRENCY - 2)}, quota=10)
    registry.drain_worker("A", "drained by operator")
    assert [claim(registry, f"n{number}")["worker"] for number in range(2)] == ["C", "B"]
    registry.remove_worker("A", "drained")  # it is awaited still
    registry.register_worker(spec("D", lifetime=9, quota=10))
    registry.register_worker(spec("E", lifetime=8, quota=10))
    assert claim(registry, "n2")["worker"] == "E"
    for name, slot in {"F": "A", "G": "B"}.items():  # and is back, as is B
        registry.register_worker(spec(name, slot=slot, lifetime=8, quota=10))
    assert claim(registry, "n3")["worker"] == "D"
