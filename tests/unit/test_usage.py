"""Which pool on demand is idle, crowded or too large, and which one makes room for another."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from appliance.names import Browser
from appliance.pools.usage import Usage
from appliance.settings.pools import Pool

OLD, OLDER = Pool(Browser.CHROMIUM, "1.64", 1, on_demand=True), Pool(Browser.CHROMIUM, "1.62", 1, on_demand=True)
FIXED = Pool(Browser.CHROMIUM, "1.60", 1)


def worker(version: str, active: int = 0, lifetime: int = 0, status: str = "available") -> Any:
    seen = {"active": active, "lifetime": lifetime, "status": status, "concurrency": 5}
    return SimpleNamespace(browser="chromium", version=version, **seen)


def test_a_pool_is_idle_when_nobody_has_used_it_for_long_enough() -> None:
    now = 0.0
    usage = Usage(10, lambda: now)
    usage.note([OLD, FIXED], [worker("1.64.1")])
    now = 9
    usage.note([OLD, FIXED], [worker("1.64.1", lifetime=1)])  # a session has come and gone
    assert usage.idle() is None
    now = 18
    usage.note([OLD, FIXED], [worker("1.64.1", lifetime=1)])
    assert usage.idle() is None
    now = 19
    assert usage.idle() == ("chromium", "1.64")


def test_a_pool_with_a_session_is_never_idle_nor_makes_room() -> None:
    now = 0.0
    usage = Usage(10, lambda: now)
    usage.note([OLD], [worker("1.64.1", active=1, lifetime=1)])
    now = 100
    usage.note([OLD], [worker("1.64.1", active=1, lifetime=1)])
    assert (usage.idle(), usage.least_recent()) == (None, None)


def test_without_a_limit_no_pool_is_idle() -> None:
    now = 0.0
    usage = Usage(0, lambda: now)
    usage.note([OLD], [])
    now = 1e9
    assert usage.idle() is None


def test_the_pool_that_was_used_before_all_others_makes_room() -> None:
    now = 0.0
    usage = Usage(10, lambda: now)
    usage.note([OLD, OLDER, FIXED], [])
    now = 1
    usage.note([OLD, OLDER, FIXED], [worker("1.62.0", lifetime=1)])
    assert usage.least_recent() == ("chromium", "1.64")
    usage.forget(("chromium", "1.64"))
    assert usage.least_recent() == ("chromium", "1.62")


def test_a_fixed_pool_is_never_ended() -> None:
    now = 0.0
    usage = Usage(10, lambda: now)
    usage.note([FIXED], [])
    now = 100
    usage.note([FIXED], [])
    assert (usage.idle(), usage.least_recent()) == (None, None)


def test_a_pool_for_which_sessions_wait_is_never_idle_nor_makes_room() -> None:
    now = 0.0
    usage = Usage(10, lambda: now)
    usage.note([OLD], [], {("chromium", "1.64"): 1})
    now = 100
    usage.note([OLD], [], {("chromium", "1.64"): 1})
    assert (usage.idle(), usage.least_recent()) == (None, None)


def test_a_pool_is_crowded_while_sessions_wait_although_all_its_workers_serve() -> None:
    now = 0.0
    usage = Usage(10, lambda: now)
    waiting = {("chromium", "1.64"): 1, ("chromium", "1.62"): 1}
    starting, serving = [worker("1.62.0", status="standby")], [worker("1.64.1", active=5)]
    usage.note([OLD, OLDER], starting + serving, waiting)
    assert usage.crowded() == []
    now = 1
    usage.note([OLD, OLDER], starting + serving, waiting)
    assert usage.crowded() == [("chromium", "1.64")]
    usage.note([OLD, OLDER], starting + serving, {})
    assert usage.crowded() == []


def test_the_smallest_of_the_crowded_pools_comes_first() -> None:
    now = 0.0
    usage = Usage(10, lambda: now)
    pools, workers = [OLDER._replace(workers=2), OLD], [worker("1.62.0"), worker("1.62.0"), worker("1.64.1")]
    for now in (0.0, 1.0):  # noqa: B007  # the clock's
        usage.note(pools, workers, {("chromium", "1.64"): 1, ("chromium", "1.62"): 9})
    assert usage.crowded() == [("chromium", "1.64"), ("chromium", "1.62")]


def test_a_pool_that_has_not_needed_all_its_workers_for_long_is_too_large() -> None:
    now = 0.0
    usage, pool = Usage(10, lambda: now), OLD._replace(workers=3)
    few = [worker("1.64.1", active=5), worker("1.64.1", active=1), worker("1.64.1")]
    usage.note([pool], [worker("1.64.1", active=5)] * 3)
    now = 9
    usage.note([pool], few)
    assert usage.oversized() is None
    now = 10
    usage.note([pool], few)
    assert usage.oversized() == (("chromium", "1.64"), 2)
    usage.note([pool], few, {("chromium", "1.64"): 5})
    assert usage.oversized() is None, "those that wait need it"


def test_the_largest_pool_gives_a_worker_away_but_never_its_last() -> None:
    usage = Usage(10)
    usage.note([OLD, OLDER], [])
    assert usage.largest() is None
    usage.note([OLD, OLDER._replace(workers=2)], [])
    assert usage.largest() == (("chromium", "1.62"), 2)
