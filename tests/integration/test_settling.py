"""What follows from a change, on a real Redis: whatever the function was, and also if it failed."""

from __future__ import annotations

import re
from typing import Any

import pytest

from appliance.errors import Blame
from appliance.grid.grid import Grid
from appliance.grid.store import LUA_FOLDER, Store
from appliance.grid.values import SessionRequest, WorkerStatus
from appliance.names import Browser
from appliance.request_errors import StoreUnavailable
from tests.support.announced import announcement
from tests.support.claims import claim, spec

STANDBY = WorkerStatus.STANDBY
WANTED = SessionRequest(Browser.CHROMIUM, "1.65")


def claim_elsewhere(grid: Grid, session: str, avoid: str) -> dict[str, Any]:
    """Claim a slot of any worker but one."""
    options = {"proxy": "p", "lease_ms": 60_000, "wait_ms": 60_000, "queue_max": 100}
    return grid.claim(session, WANTED, **options, avoid=[avoid])  # type: ignore[arg-type]


def test_a_claim_that_lets_a_spare_serve_serves_who_avoids_the_others(grid: Grid) -> None:
    grid.register_worker(spec("A", status=STANDBY, quota=1))
    grid.register_worker(spec("B", status=STANDBY, quota=1))
    assert claim_elsewhere(grid, "waiter", "A")["status"] == "waiting"
    assert claim(grid, "other")["worker"] == "A"
    assert {session.id: session.worker for session in grid.sessions()} == {"waiter": "B", "other": "A"}


def test_a_worker_does_not_turn_back(grid: Grid, store: Store) -> None:
    grid.register_worker(spec("A", quota=1))
    store.read(("HSET", store.key("worker", "A"), "status", "draining"))
    with pytest.raises(StoreUnavailable, match="worker A cannot turn from draining to draining"):
        claim(grid, "s")


def test_a_call_that_failed_leaves_nothing_behind_for_another_grid(grid: Grid, store: Store) -> None:
    grid.announce(announcement("here"))
    for name in "AB":
        grid.register_worker(spec(name, run="first of here"))
    grid.drain_appliance("here", "operator")
    store.read(*[("HSET", store.key("worker", name), "status", "available", "quota", "none") for name in "AB"])
    with pytest.raises(StoreUnavailable):
        grid.undrain_appliance("here")
    other = Grid(Store(store.url, "another"))
    assert not other.is_ready(Browser.CHROMIUM)
    other.store.close()


def test_a_worker_that_is_back_is_not_awaited_when_its_predecessor_is_found_dead(grid: Grid, store: Store) -> None:
    grid.register_worker(spec("old", name="chromium-00", ttl_ms=-1))
    grid.register_worker(spec("new", name="chromium-00"))
    grid.reap()
    grid.heartbeat_worker("new", 0, healthy=True)
    assert not store.read(("ZRANGE", store.key("recycling", "chromium", "1.65"), 0, -1))[0]


def test_every_field_of_a_hash_is_explained_in_keys_lua(grid: Grid, store: Store) -> None:
    grid.announce(announcement("here", stopping=True, rival="another"))
    grid.register_worker(spec("A", appliance="here", connections=2, settle_ms=60_000, quota=3))
    assert claim(grid, "s")["status"] == "active"
    grid.give_back("s", "A", Blame.WORKER)
    claim_elsewhere(grid, "s", "A")
    grid.heartbeat_worker("A", 0, healthy=True)
    grid.drain_worker("A", "operator")
    explained = set(re.findall(r"\w+", (LUA_FOLDER / "keys.lua").read_text()))
    for kind in ("worker:A", "session:s", "policy:chromium:1.65", "appliance:here"):
        (fields,) = store.read(("HKEYS", store.key(kind)))
        assert fields, kind
        assert set(fields) <= explained, kind
