"""Drains on a real Redis: how one begins and ends, what it outlives, and when the appliance may be stopped."""

from __future__ import annotations

import json

import pytest
from redis.client import PubSub

from appliance.grid.grid import Grid
from appliance.grid.values import Standing, WorkerStatus
from tests.support.announced import announcement, register, status, statuses
from tests.support.claims import CONCURRENCY, claim
from tests.support.waiting import until

SNAPSHOT = "for _, name in ipairs(redis.call('KEYS', '*')) do redis.call('COPY', name, name, 'DB', 1) end"


def test_what_is_respawned_on_a_drained_appliance_stands_by(pair: Grid) -> None:
    pair.drain_appliance("here", "drained by operator")
    pair.remove_worker("A", "drained by operator")
    register(pair, "A2", "here")
    pair.heartbeat_worker("A2", 0)
    assert statuses(pair) == {"A2": "standby", "B": "standby", "C": "available"}


def test_an_undrained_appliance_serves_those_who_wait_at_once_with_what_stands_by(pair: Grid) -> None:
    pair.drain_appliance("here", "drained by operator")
    for number in range(CONCURRENCY + 1):
        claim(pair, str(number))
    assert pair.undrain_appliance("here")
    assert statuses(pair) == {"A": "draining", "B": "available", "C": "available"}
    assert claim(pair, str(CONCURRENCY))["worker"] == "B"


def test_it_may_be_stopped_when_nothing_of_others_nor_of_its_own_runs_on_it(pair: Grid) -> None:
    pair.drain_appliance("there", "drained by operator")
    assert claim(pair, "s")["worker"] == "A"
    pair.undrain_appliance("there")
    pair.announce(announcement("here", relayed=1))  # its proxy relays a session that another's worker has
    pair.drain_appliance("here", "drained by operator")
    assert status(pair) == "draining"
    pair.release("s", "client left")
    assert status(pair) == "draining"
    pair.announce(announcement("here"))
    assert status(pair) == "drained"
    pair.announce(announcement("here", admits=True))  # DRAIN_NOTICE is not over
    assert status(pair) == "draining"
    pair.announce(announcement("here"))
    assert status(pair, "there") == "serving"


def test_what_a_proxy_said_during_an_earlier_drain_does_not_count(pair: Grid) -> None:
    pair.drain_appliance("here", "drained by operator")
    pair.announce(announcement("here"))
    assert status(pair) == "drained"
    pair.undrain_appliance("here")
    pair.drain_appliance("here", "drained by operator")
    assert status(pair) == "draining"
    pair.announce(announcement("here"))
    assert status(pair) == "drained"


def test_the_proxies_of_an_appliance_are_told_when_its_drain_begins_and_ends(pair: Grid) -> None:
    messages = pair.store.subscribe(pair.store.key("proxy", "here.abcdef"))
    others = pair.store.subscribe(pair.store.key("proxy", "there.abcdef"))
    for call in (lambda: pair.drain_appliance("here", "x"), lambda: pair.undrain_appliance("here")):
        call()
        assert until(lambda: next_message(messages), "the message") == {"appliance": True}
    assert next_message(others) is None
    messages.close()
    others.close()


def next_message(messages: PubSub) -> object:
    message = messages.get_message(ignore_subscribe_messages=True, timeout=0.1)
    return json.loads(message["data"]) if message else None


def test_while_redis_may_have_forgotten_sessions_nothing_counts_as_safe(pair: Grid) -> None:
    pair.store.read(("FLUSHALL",))
    pair.announce(announcement("here", drained=True, settle_ms=60_000))
    assert status(pair) == "draining"
    register(pair, "A", "here", drained=True, status=WorkerStatus.AVAILABLE, connections=2, settle_ms=60_000)
    pair.store.read(("HSET", pair.store.key("appliance", "here"), "settle_ms", 0))
    assert (status(pair), pair.appliances()[0].on_workers) == ("draining", 2)


@pytest.mark.parametrize("first", ["proxy", "worker"])
def test_a_drain_outlives_the_loss_of_redis_data_whoever_speaks_first(first: str, pair: Grid) -> None:
    pair.drain_appliance("here", "drained by operator")
    pair.store.read(("FLUSHALL",))
    if first == "proxy":
        assert pair.announce(announcement("here", drained=True)) == Standing(True, 0)
    assert register(pair, "A", "here", drained=True, status=WorkerStatus.AVAILABLE) == "draining"
    assert register(pair, "B", "here", drained=True) == "standby"
    assert pair.announce(announcement("here", drained=True)).drained
    assert claim(pair, "s")["status"] == "unserved"


def test_redis_knows_better_than_an_appliance_that_missed_the_end_of_its_drain(pair: Grid) -> None:
    pair.drain_appliance("here", "drained by operator")
    pair.undrain_appliance("here")
    assert pair.announce(announcement("here", drained=True)) == Standing(False, 1, epoch=2)
    pair.drain_appliance("here", "drained by operator")
    assert pair.announce(announcement("here", drained=False)) == Standing(True, 1, epoch=3)


@pytest.mark.parametrize("speaker", ["proxy", "worker"])
@pytest.mark.parametrize("drains", [True, False])
def test_a_redis_with_older_data_believes_an_appliance_that_knows_a_later_turn(
    drains: bool, speaker: str, pair: Grid
) -> None:
    if not drains:
        pair.drain_appliance("here", "drained by operator")
    pair.store.read(("EVAL", SNAPSHOT, 0))
    if drains:
        pair.drain_appliance("here", "drained by operator")
    else:
        pair.undrain_appliance("here")
    told = pair.announce(announcement("here"))
    pair.store.read(("SWAPDB", 0, 1))
    assert status(pair) == ("serving" if drains else "draining")
    memory = {"drained": told.drained, "epoch": told.epoch}
    if speaker == "worker":
        register(pair, "A", "here", **memory)
        assert statuses(pair)["A" if drains else "B"] == ("draining" if drains else "available")
    assert pair.announce(announcement("here", settle_ms=60_000, **memory)) == told
    assert status(pair) == ("draining" if drains else "serving"), "which sessions it has is not known yet"
    assert pair.announce(announcement("here")) == told, "an older memory does not undo it"


def test_a_new_run_of_an_appliance_is_not_drained(pair: Grid) -> None:
    pair.drain_appliance("here", "drained by operator")
    assert register(pair, "D", "here", run="second of here") == "standby"
    assert statuses(pair) == {"A": "draining", "B": "available", "C": "available", "D": "standby"}
    assert pair.announce(announcement("here", run="second of here")) == Standing(False, 1)


def test_an_appliance_that_is_not_heard_is_forgotten_and_comes_back_as_it_was(grid: Grid) -> None:
    grid = grid
    grid.announce(announcement("here", ttl_ms=-1))
    grid.drain_appliance("here", "drained by operator")
    grid.reap()
    assert grid.appliances() == []
    assert not grid.drain_appliance("here", "drained by operator")
    assert not grid.undrain_appliance("here")
    assert grid.announce(announcement("here", drained=True)) == Standing(True, 0)


def test_a_drained_appliance_does_not_count_as_one_that_recycles(pair: Grid) -> None:
    pair.drain_worker("A", "drained by operator")  # B takes its place
    pair.drain_appliance("here", "drained by operator")
    pair.heartbeat_worker("A", 0)
    pair.remove_worker("B", "drained by operator")
    recycling, teams = (pair.store.key(name, "chromium", "1.65") for name in ("recycling", "teams"))
    assert pair.store.read(("ZCARD", recycling), ("HGET", teams, "here")) == [0, None]
    pair.undrain_appliance("here")
    assert pair.store.read(("ZCARD", recycling)) == [1]


def test_undrained_with_several_that_stand_by_as_many_serve_as_are_to(grid: Grid) -> None:
    grid.announce(announcement("here"))
    grid.drain_appliance("here", "drained by operator")
    for worker in "ABC":
        register(grid, worker, "here", target=2)
    grid.undrain_appliance("here")
    assert sorted(statuses(grid).values()) == ["available", "available", "standby"]
    grid.remove_worker("A", "crashed")
    assert statuses(grid) == {"B": "available", "C": "available"}


def test_undrained_a_worker_that_serves_no_longer_stands_by(grid: Grid) -> None:
    grid = grid
    grid.announce(announcement("here"))
    grid.drain_appliance("here", "drained by operator")
    register(grid, "A", "here", ttl_ms=90_000)  # the first to start, and the last to be looked at
    for worker in "BC":
        register(grid, worker, "here")
    grid.undrain_appliance("here")
    assert statuses(grid) == {"A": "available", "B": "standby", "C": "standby"}
    standby = grid.store.key("standby", "chromium", "1.65") + ":here"
    assert grid.store.read(("ZRANGE", standby, 0, -1)) == [["B", "C"]]


def test_nothing_is_kept_of_the_teams_of_appliances_that_were_drained_and_are_gone(pair: Grid) -> None:
    for number in range(3):
        name = f"scaled-in-{number}"
        pair.announce(announcement(name))
        register(pair, f"first of {name}", name)
        pair.drain_appliance(name, "drained by operator")
        pair.remove_worker(f"first of {name}", "drained by operator")
        register(pair, f"second of {name}", name)
        pair.remove_worker(f"second of {name}", "stopped")
    (teams,) = pair.store.read(("HGETALL", pair.store.key("teams", "chromium", "1.65")))
    assert teams.keys() == {"here", "there"}
