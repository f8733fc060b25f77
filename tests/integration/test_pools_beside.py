"""A pool beside another one, on a real Redis: it takes the sessions with isolation=browser, and no others."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.grid.grid import Grid
from appliance.grid.values import SessionRequest
from appliance.names import BESIDE, Browser, Isolation, Protocol
from tests.support.claims import claim, spec

OWN = {"isolation": Isolation.BROWSER}
CDP = {**OWN, "protocol": Protocol.CDP, "minor": ""}
QUOTAS = {"quota": 0, "target": 1}


@pytest.fixture
def pools(grid: Grid) -> Grid:
    """Register a worker of two slots, and one of one slot in the pool beside."""
    grid.register_worker(spec("plain", concurrency=2, **QUOTAS))
    grid.register_worker(spec("beside", concurrency=1, beside=BESIDE, **QUOTAS))
    return grid


def where(grid: Grid, session: str, **more: Any) -> str:
    """Claim, or ask again; return the worker, or the status."""
    answer = claim(grid, session, **more)
    return str(answer.get("worker") or answer["status"])


def test_each_session_goes_to_the_pool_of_its_isolation_and_waits_for_no_other(pools: Grid) -> None:
    assert where(pools, "own", **OWN) == "beside"
    assert where(pools, "own 2", **OWN) == "waiting", "though the other pool has free slots"
    assert [where(pools, f"shared {number}") for number in range(3)] == ["plain", "plain", "waiting"]
    waiting = {pool.version: pool.waiting for pool in pools.capacity()}
    assert waiting == {"1.65": 1, f"1.65{BESIDE}": 1}
    pools.release("shared 0", "over")
    assert where(pools, "shared 2") == "plain", "it was not held up by one that came before it"
    assert where(pools, "own 2", **OWN) == "waiting"
    pools.release("own", "over")
    assert where(pools, "own 2", **OWN) == "beside"


def test_cdp_sessions_of_any_version_wait_in_one_order_with_those_of_the_pool(pools: Grid) -> None:
    where(pools, "first", **OWN)
    order = ["cdp", "own", "cdp 2"]
    for session in order:
        assert where(pools, session, **(CDP if "cdp" in session else OWN)) == "waiting"
    before = "first"
    for session in order:
        pools.release(before, "over")
        assert {one.id: one.worker for one in pools.sessions()}[session] == "beside"
        before = session


def test_without_a_pool_beside_it_one_pool_serves_both(grid: Grid) -> None:
    grid.register_worker(spec("plain", concurrency=3, **QUOTAS))
    assert [where(grid, "a"), where(grid, "b", **OWN), where(grid, "c", **CDP)] == ["plain"] * 3
    assert where(grid, "d", **OWN) == "waiting"
    grid.release("a", "over")
    assert {one.id: one.worker for one in grid.sessions()}["d"] == "plain"


def test_sessions_move_when_the_pool_beside_theirs_goes_or_comes(pools: Grid) -> None:
    where(pools, "own", **OWN)
    assert where(pools, "moves", **OWN) == "waiting"
    pools.resize_team("here", Browser.CHROMIUM, f"1.65{BESIDE}", target=0, spares=0)
    assert where(pools, "moves", **OWN) == "plain", "its proxy has asked again"
    assert where(pools, "plain too", **OWN) == "plain"
    assert where(pools, "late", **OWN) == "waiting"
    pools.release("own", "over")
    pools.register_worker(spec("another", concurrency=1, beside=BESIDE, **QUOTAS))
    assert where(pools, "late", **OWN) == "another"


def test_versions_are_told_to_clients_without_what_is_behind_them(pools: Grid) -> None:
    for isolation in Isolation:
        answer = claim(pools, isolation, minor="1.60", isolation=isolation)
        assert (answer["status"], answer["versions"]) == ("unserved", ["1.65"])


def test_a_session_that_waits_beside_may_avoid_a_worker(pools: Grid) -> None:
    pools.register_worker(spec("beside 2", concurrency=1, beside=BESIDE, **QUOTAS))
    held = [where(pools, f"own {number}", **OWN) for number in range(2)]
    assert sorted(held) == ["beside", "beside 2"]
    wanted = SessionRequest(Browser.CHROMIUM, "1.65", **OWN)
    options = {"proxy": "p", "lease_ms": 60_000, "wait_ms": 60_000, "queue_max": 100}
    assert pools.claim("picky", wanted, **options, avoid=["beside"])["status"] == "waiting"
    (entry,) = pools.store.read(("SMEMBERS", pools.store.key("avoiding", "chromium")))[0]
    assert entry == f"1.65{BESIDE} beside"
    pools.release(f"own {held.index('beside')}", "over")
    assert pools.claim("picky", wanted, **options, avoid=["beside"])["status"] == "waiting"
    pools.release(f"own {held.index('beside 2')}", "over")
    assert pools.claim("picky", wanted, **options, avoid=["beside"])["worker"] == "beside 2"
