"""Which pool on demand is idle, and which one makes room for another."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from appliance.names import Browser
from appliance.pools.usage import Usage
from appliance.settings.pools import Pool

OLD, OLDER = Pool(Browser.CHROMIUM, "1.64", 1, on_demand=True), Pool(Browser.CHROMIUM, "1.62", 1, on_demand=True)
FIXED = Pool(Browser.CHROMIUM, "1.60", 1)


def worker(version: str, active: int = 0, lifetime: int = 0) -> Any:
    return SimpleNamespace(browser="chromium", version=version, active=active, lifetime=lifetime)


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
