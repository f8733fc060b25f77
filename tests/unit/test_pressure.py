"""Whether another session can be opened, and what is short if not."""

from __future__ import annotations

import pytest

from appliance.grid.records import PoolCapacity
from appliance.names import BESIDE, Browser, Isolation
from proxy.api.pressure import Gauge, pressure

FREE = [PoolCapacity("chromium", "1.65", slots=5, free=2)]
FULL = [PoolCapacity("chromium", "1.65", slots=5, free=0, waiting=1)]


@pytest.mark.parametrize(
    ("pools", "memory", "cpu", "limit", "said"),
    [
        (FREE, 0.5, 0.5, "", ""),
        (FREE, 0.97, 0.5, "memory", "3% of its memory left"),
        (FREE, 0.5, 0.99, "cpu", "99% of its processors"),
        (FULL, 0.99, 0.99, "slots", "All 5 slots of chromium are taken, and 1 sessions wait."),
        ([], 0.5, 0.5, "slots", "No worker of chromium is available."),
    ],
)
def test_the_first_thing_that_is_short_is_named(
    pools: list[PoolCapacity], memory: float, cpu: float, limit: str, said: str
) -> None:
    found = pressure(pools, Browser.CHROMIUM, "", Isolation.CONTEXT, memory, cpu)
    assert (found["is_available"], found["limit"]) == (not limit, limit)
    assert said in found["reason"]


def test_a_version_counts_its_own_slots() -> None:
    assert pressure(FREE, Browser.CHROMIUM, "1.64", Isolation.CONTEXT, 0.0, 0.0)["slots"] == 0


@pytest.mark.parametrize("version", ["", "1.65"])
def test_a_pool_beside_another_has_the_slots_of_sessions_with_a_browser_of_their_own(version: str) -> None:
    def slots(pools: list[PoolCapacity], isolation: Isolation) -> int:
        found = pressure(pools, Browser.CHROMIUM, version, isolation, 0.0, 0.0)
        return int(found["slots"])

    pools = [*FREE, PoolCapacity("chromium", f"1.65{BESIDE}", slots=2, free=1)]
    assert (slots(pools, Isolation.BROWSER), slots(pools, Isolation.CONTEXT)) == (2, 5)
    assert slots(FREE, Isolation.BROWSER) == 5, "one pool serves both"


def test_the_processors_are_not_looked_at_twice_within_a_second() -> None:
    times = [0.0, 0.5, 2.0, 2.0]
    gauge = Gauge(lambda: times.pop(0))
    assert gauge.cpu() == 0.0
    assert 0 <= gauge.cpu() <= 1
