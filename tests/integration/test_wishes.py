"""Pools that clients want and nobody has, on a real Redis: who may wish, who gets them, and what a failure leads to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from appliance.grid.grid import Grid
from appliance.grid.values import SessionRequest, Wish
from appliance.names import Browser
from tests.support.announced import announcement
from tests.support.claims import spec
from tests.support.waiting import until

WISH = Wish(Browser.CHROMIUM, "1.64")
MINORS = ["1.64", "1.62"]


@pytest.fixture
def served(grid: Grid) -> Grid:
    """Return a grid that serves 1.65 on the appliances "here" and "there", which get 1.64 and 1.62 on demand."""
    for name in ("here", "there"):
        grid.announce(announcement(name))
        assert take(grid, name) is None
    return grid


def take(grid: Grid, name: str, minors: list[str] = MINORS, hold_s: float = 60, there: str = "") -> Wish | None:
    return grid.take_wish(name, minors, ttl_s=60, hold_s=hold_s, there=there.split())


def pause_ms(grid: Grid) -> int:
    """Return for how long the wish is refused from now on."""
    (retry_at,) = grid.store.read(("HGET", grid.store.key("wanted", "chromium", "1.64"), "retry_at"))
    return int(retry_at) - grid.now_ms()


def fail(grid: Grid, reason: str, status: str = "failed") -> None:
    """Let both appliances fail, one after the other."""
    for name in ("here", "there"):
        assert take(grid, name) == WISH
        assert grid.report_wish(name, WISH, status, reason)


def claim(
    grid: Grid, session: str, minor: str = "1.64", *, may_wish: bool = True, queue_max: int = 100
) -> dict[str, Any]:
    wanted = SessionRequest(Browser.CHROMIUM, minor, may_wish=may_wish)
    return grid.claim(session, wanted, proxy="here.abcdef", lease_ms=60_000, wait_ms=60_000, queue_max=queue_max)


def test_a_session_waits_for_a_version_that_an_appliance_can_get(served: Grid) -> None:
    assert claim(served, "s")["status"] == "waiting"
    assert claim(served, "s")["progress"], "it reads what is being done"
    assert "an appliance had to fetch its driver or start one" in served.why("s")[0]
    assert take(served, "here") == WISH
    assert served.report_wish("here", WISH, "held", "fetching Playwright 1.64", hold_s=60)
    assert claim(served, "s")["progress"] == "fetching Playwright 1.64"
    served.register_worker(spec("A", version="1.64.1", appliance="here", target=1))
    assert claim(served, "s")["status"] == "active", "it has the slot without another claim"
    assert served.report_wish("here", WISH, "done")
    assert take(served, "here") is None
    assert claim(served, "t")["status"] == "active", "the next one does not wait"


@pytest.mark.parametrize(
    ("minor", "may_wish"), [("1.59", True), ("1.64", False), ("1.66", True)], ids=["unconfined", "stranger", "newer"]
)
def test_others_are_refused_at_once_and_cause_nothing(served: Grid, minor: str, may_wish: bool) -> None:
    assert claim(served, "s", minor, may_wish=may_wish) == {"status": "unserved", "versions": ["1.65"]}
    assert take(served, "here") is None


def test_one_appliance_at_a_time_gets_one_version(served: Grid) -> None:
    assert claim(served, "s", "1.64")["status"] == "waiting"
    assert claim(served, "t", "1.62")["status"] == "waiting"
    first = take(served, "here")
    assert take(served, "there") is None
    assert take(served, "here") == first, "one that asks again has what it has"
    assert first
    assert not served.report_wish("there", first, "done"), "nobody ends the wish of another appliance"
    assert served.report_wish("here", first, "done")
    second = take(served, "there")
    assert {first.minor, second.minor if second else ""} == {"1.64", "1.62"}


def test_a_slow_fetch_delays_no_version_whose_driver_is_there(served: Grid) -> None:
    claim(served, "s", "1.64")
    assert take(served, "here") == WISH
    claim(served, "t", "1.62")
    assert take(served, "there") is None, "it would have to fetch it"
    other = Wish(Browser.CHROMIUM, "1.62")
    assert take(served, "there", there="1.62") == other
    assert take(served, "here", there="1.62") == WISH, "each has its own"
    assert take(served, "there", there="1.62") == other
    assert served.report_wish("there", other, "done")
    assert take(served, "there", there="1.64") is None, "another one is at work on it"


def test_a_wish_whose_appliance_falls_silent_is_another_ones(served: Grid) -> None:
    claim(served, "s")
    assert take(served, "here", hold_s=-1) == WISH
    assert take(served, "there") == WISH
    assert not served.report_wish("here", WISH, "failed", "late"), "what the first one says is too late"


def test_a_failure_refuses_who_waits_and_who_comes_until_it_may_be_tried_again(served: Grid) -> None:
    claim(served, "s")
    fail(served, "the package index is not reached")
    for session in ("s", "t"):
        refused = claim(served, session)
        assert (refused["status"], refused["failure"]) == ("unserved", "the package index is not reached")
    assert take(served, "there") is None
    assert 9_000 < pause_ms(served) <= 10_000, "the first pause is 10 s"


def test_each_further_failure_is_followed_by_a_longer_pause(served: Grid) -> None:
    name = served.store.key("wanted", "chromium", "1.64")
    for pause_s in (10, 20, 40):
        served.store.read(("HSET", name, "retry_at", 0))
        claim(served, f"s{pause_s}")
        fail(served, "no network")
        assert 1000 * (pause_s - 1) < pause_ms(served) <= 1000 * pause_s


def test_what_an_appliance_cannot_get_is_left_to_one_that_can(served: Grid) -> None:
    claim(served, "s")
    assert take(served, "third", ["1.62"]) is None
    assert take(served, "there") == WISH


def test_a_drained_appliance_gets_nothing(served: Grid) -> None:
    served.drain_appliance("here", "test")
    claim(served, "s")
    assert take(served, "here") is None
    assert take(served, "there") == WISH
    served.drain_appliance("there", "test")
    served.report_wish("there", WISH, "done")
    assert take(served, "there") is None
    assert claim(served, "t")["status"] == "unserved"


def test_those_who_wish_count_in_the_queue(served: Grid) -> None:
    assert claim(served, "s", queue_max=1)["status"] == "waiting"
    assert claim(served, "t", queue_max=1)["status"] == "full"


def test_a_version_that_a_pool_of_the_settings_serves_is_no_wish(served: Grid) -> None:
    served.announce(replace(announcement("here"), pools={(Browser.CHROMIUM, "1.64"): 1}))
    assert claim(served, "s") == {"status": "waiting"}
    assert take(served, "here") is None


def test_a_version_whose_driver_nobody_can_get_is_refused_at_once_with_the_reason(served: Grid) -> None:
    for name in ("here", "there"):
        assert served.take_wish(name, ["1.62"], ttl_s=60, hold_s=60, lacking={"1.64": f"no index {name}"}) is None
    assert claim(served, "s") == {"status": "unserved", "versions": ["1.65"], "failure": "no index there"}
    assert "failure" not in claim(served, "t", may_wish=False)
    assert served.lacking_drivers(["1.64", "1.62"]) == {"1.64": "no index there"}
    assert claim(served, "u", "1.62")["status"] == "waiting"


def test_a_driver_that_another_appliance_can_get_is_not_lacking(served: Grid) -> None:
    served.take_wish("here", [], ttl_s=60, hold_s=60, lacking={"1.64": "no index"})
    assert served.lacking_drivers(["1.64"]) == {}
    assert claim(served, "s")["status"] == "waiting"
    assert take(served, "there") == WISH


def test_a_session_whose_driver_gets_lacking_while_it_waits_is_refused(served: Grid) -> None:
    assert claim(served, "s")["status"] == "waiting"
    for name in ("here", "there"):
        served.take_wish(name, [], ttl_s=60, hold_s=60, lacking={"1.64": "no index"})
    assert claim(served, "s")["failure"] == "no index"


def test_the_first_wish_wakes_all_who_can_get_its_driver(served: Grid) -> None:
    heard: list[str] = []
    with served.store.subscribe(served.store.key("pools", "here")) as here:
        until(lambda: (here.get_message(timeout=1) or {}).get("type") == "subscribe", "it listens")
        for session in ("s", "t"):
            claim(served, session)
        while message := here.get_message(timeout=0.2):
            heard.append(message["data"])
    assert heard == ['{"wanted":"1.64"}']


def test_want_of_room_is_followed_by_short_pauses_only(served: Grid) -> None:
    for attempt in range(3):
        served.store.read(("HSET", served.store.key("wanted", "chromium", "1.64"), "retry_at", 0))
        claim(served, f"s{attempt}")
        fail(served, "no memory", "full")
        assert 9_000 < pause_ms(served) <= 10_000


# ── One appliance fails ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", ["failed", "full"])
def test_what_one_appliance_fails_another_one_gets(served: Grid, status: str) -> None:
    claim(served, "s")
    assert take(served, "here") == WISH
    assert served.report_wish("here", WISH, status, "no browser")
    assert claim(served, "s")["status"] == "waiting"
    assert claim(served, "t")["progress"] == "an appliance could not start a worker: another one tries"
    assert take(served, "here") is None, "it leaves the wish to the other one"
    assert take(served, "there") == WISH
    served.report_wish("there", WISH, "done")
    claim(served, "u")
    assert take(served, "here") == WISH, "its failure is forgotten with the wish"


def test_the_others_are_told_of_a_failure(served: Grid) -> None:
    claim(served, "s")
    assert take(served, "here") == WISH
    with served.store.subscribe(served.store.key("pools", "there")) as there:
        until(lambda: (there.get_message(timeout=1) or {}).get("type") == "subscribe", "it listens")
        served.report_wish("here", WISH, "failed", "no browser")
        message = there.get_message(timeout=5)
    assert message
    assert message["data"] == '{"wanted":"1.64"}'


def test_the_last_failure_refuses_and_all_try_again_after_the_pause(served: Grid) -> None:
    claim(served, "s")
    assert take(served, "here") == WISH
    served.report_wish("here", WISH, "full", "no memory")
    assert take(served, "there") == WISH
    served.report_wish("there", WISH, "failed", "no browser")
    assert claim(served, "s")["failure"] == "no browser"
    served.store.read(("HSET", served.store.key("wanted", "chromium", "1.64"), "retry_at", 0))
    claim(served, "t")
    assert take(served, "here") == WISH


def test_a_failure_for_want_of_room_anywhere_is_followed_by_a_short_pause(served: Grid) -> None:
    claim(served, "s")
    served.store.read(("HSET", served.store.key("wanted", "chromium", "1.64"), "failures", 5))
    assert take(served, "here") == WISH
    served.report_wish("here", WISH, "full", "no memory")
    assert take(served, "there") == WISH
    served.report_wish("there", WISH, "failed", "no browser")
    assert 9_000 < pause_ms(served) <= 10_000


def test_who_has_failed_tries_again_if_the_others_are_gone(served: Grid) -> None:
    claim(served, "s")
    assert take(served, "here") == WISH
    served.report_wish("here", WISH, "failed", "no browser")
    served.take_wish("there", [], ttl_s=60, hold_s=60, lacking={"1.64": "no index"})
    assert take(served, "here") == WISH
    served.report_wish("here", WISH, "failed", "no browser")
    assert claim(served, "s")["failure"] == "no browser"


def test_an_evicted_count_of_arrivals_goes_on_behind_sessions_whose_wish_is_over(served: Grid) -> None:
    """Their queue is neither of an offered version nor of a wish, until the new pool's first worker registers."""
    claim(served, "s")
    claim(served, "t")
    assert take(served, "here") == WISH
    assert served.report_wish("here", WISH, "done")
    served.store.read(("DEL", served.store.key("arrivals", "chromium")))
    claim(served, "late", "1.62")
    numbers = [served.store.read(("HGET", served.store.key("session", one), "arrival"))[0] for one in ("t", "late")]
    assert int(numbers[0]) < int(numbers[1])
