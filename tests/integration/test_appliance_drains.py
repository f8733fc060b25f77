"""Drains on a real Redis: how one begins and ends, what it outlives, and when the appliance may be stopped."""

from __future__ import annotations

import json

import pytest
from redis.client import PubSub

from appliance.grid.appliances import Appliances
from appliance.grid.grid import Registry
from appliance.grid.values import Standing, WorkerStatus
from tests.support.announced import announcement, register, status, statuses
from tests.support.claims import CONCURRENCY, claim
from tests.support.waiting import until

SNAPSHOT = "for _, name in ipairs(redis.call('KEYS', '*')) do redis.call('COPY', name, name, 'DB', 1) end"


def test_what_is_respawned_on_a_drained_appliance_stands_by(registry: Registry, appliances: Appliances) -> None:
    appliances.drain_appliance("here", "drained by operator")
    registry.remove_worker("A", "drained by operator")
    register(registry, "A2", "here")
    registry.heartbeat_worker("A2", 0)
    assert statuses(registry) == {"A2": "standby", "B": "standby", "C": "available"}


def test_undrained_it_serves_at_once_with_what_stands_by_and_those_who_wait_are_served(
    registry: Registry, appliances: Appliances
) -> None:
    appliances.drain_appliance("here", "drained by operator")
    for number in range(CONCURRENCY + 1):
        claim(registry, str(number))
    assert appliances.undrain_appliance("here")
    assert statuses(registry) == {"A": "draining", "B": "available", "C": "available"}
    assert claim(registry, str(CONCURRENCY))["worker"] == "B"


def test_it_may_be_stopped_when_nothing_of_others_nor_of_its_own_runs_on_it(
    registry: Registry, appliances: Appliances
) -> None:
    appliances.drain_appliance("there", "drained by operator")
    assert claim(registry, "s")["worker"] == "A"
    appliances.undrain_appliance("there")
    appliances.announce(announcement("here", relayed=1))  # its proxy relays a session that another's worker has
    appliances.drain_appliance("here", "drained by operator")
    assert status(appliances) == "draining"
    registry.release("s", "client left")
    assert status(appliances) == "draining"
    appliances.announce(announcement("here"))
    assert status(appliances) == "drained"
    appliances.announce(announcement("here", admits=True))  # DRAIN_NOTICE is not over
    assert status(appliances) == "draining"
    appliances.announce(announcement("here"))
    assert status(appliances, "there") == "serving"


def test_what_a_proxy_said_during_an_earlier_drain_does_not_count(appliances: Appliances, registry: Registry) -> None:
    appliances.drain_appliance("here", "drained by operator")
    appliances.announce(announcement("here"))
    assert status(appliances) == "drained"
    appliances.undrain_appliance("here")
    appliances.drain_appliance("here", "drained by operator")
    assert status(appliances) == "draining"
    appliances.announce(announcement("here"))
    assert status(appliances) == "drained"


def test_the_proxies_of_an_appliance_are_told_when_its_drain_begins_and_ends(
    registry: Registry, appliances: Appliances
) -> None:
    messages = registry.store.subscribe(registry.store.key("proxy", "here.abcdef"))
    others = registry.store.subscribe(registry.store.key("proxy", "there.abcdef"))
    for call in (lambda: appliances.drain_appliance("here", "x"), lambda: appliances.undrain_appliance("here")):
        call()
        assert until(lambda: next_message(messages), "the message") == {"appliance": True}
    assert next_message(others) is None
    messages.close()
    others.close()


def next_message(messages: PubSub) -> object:
    message = messages.get_message(ignore_subscribe_messages=True, timeout=0.1)
    return json.loads(message["data"]) if message else None


def test_while_redis_may_have_forgotten_sessions_nothing_counts_as_safe(
    registry: Registry, appliances: Appliances
) -> None:
    registry.store.read(("FLUSHALL",))
    appliances.announce(announcement("here", drained=True, settle_ms=60_000))
    assert status(appliances) == "draining"
    register(registry, "A", "here", drained=True, status=WorkerStatus.AVAILABLE, connections=2, settle_ms=60_000)
    registry.store.read(("HSET", registry.store.key("appliance", "here"), "settle_ms", 0))
    assert (status(appliances), appliances.states()[0].on_workers) == ("draining", 2)


@pytest.mark.parametrize("first", ["proxy", "worker"])
def test_a_drain_outlives_the_loss_of_redis_data_whoever_speaks_first(
    first: str, registry: Registry, appliances: Appliances
) -> None:
    appliances.drain_appliance("here", "drained by operator")
    registry.store.read(("FLUSHALL",))
    if first == "proxy":
        assert appliances.announce(announcement("here", drained=True)) == Standing(True, 0)
    assert register(registry, "A", "here", drained=True, status=WorkerStatus.AVAILABLE) == "draining"
    assert register(registry, "B", "here", drained=True) == "standby"
    assert appliances.announce(announcement("here", drained=True)).drained
    assert claim(registry, "s")["state"] == "unserved"


def test_redis_knows_better_than_an_appliance_that_missed_the_end_of_its_drain(
    registry: Registry, appliances: Appliances
) -> None:
    appliances.drain_appliance("here", "drained by operator")
    appliances.undrain_appliance("here")
    assert appliances.announce(announcement("here", drained=True)) == Standing(False, 1, turn=2)
    appliances.drain_appliance("here", "drained by operator")
    assert appliances.announce(announcement("here", drained=False)) == Standing(True, 1, turn=3)


@pytest.mark.parametrize("speaker", ["proxy", "worker"])
@pytest.mark.parametrize("drains", [True, False])
def test_a_redis_that_comes_back_with_older_data_believes_an_appliance_that_has_heard_of_a_later_turn(
    drains: bool, speaker: str, registry: Registry, appliances: Appliances
) -> None:
    if not drains:
        appliances.drain_appliance("here", "drained by operator")
    registry.store.read(("EVAL", SNAPSHOT, 0))
    if drains:
        appliances.drain_appliance("here", "drained by operator")
    else:
        appliances.undrain_appliance("here")
    told = appliances.announce(announcement("here"))
    registry.store.read(("SWAPDB", 0, 1))
    assert status(appliances) == ("serving" if drains else "draining")
    memory = {"drained": told.drained, "turn": told.turn}
    if speaker == "worker":
        register(registry, "A", "here", **memory)
        assert statuses(registry)["A" if drains else "B"] == ("draining" if drains else "available")
    assert appliances.announce(announcement("here", settle_ms=60_000, **memory)) == told
    assert status(appliances) == ("draining" if drains else "serving"), "which sessions it has is not known yet"
    assert appliances.announce(announcement("here")) == told, "an older memory does not undo it"


def test_a_new_run_of_an_appliance_is_not_drained(registry: Registry, appliances: Appliances) -> None:
    appliances.drain_appliance("here", "drained by operator")
    assert register(registry, "D", "here", run="second of here") == "standby"
    assert statuses(registry) == {"A": "draining", "B": "available", "C": "available", "D": "standby"}
    assert appliances.announce(announcement("here", run="second of here")) == Standing(False, 1)


def test_an_appliance_that_is_not_heard_is_forgotten_and_comes_back_as_it_was(registry: Registry) -> None:
    appliances = Appliances(registry)
    appliances.announce(announcement("here", ttl_ms=-1))
    appliances.drain_appliance("here", "drained by operator")
    registry.reap()
    assert appliances.states() == []
    assert not appliances.drain_appliance("here", "drained by operator")
    assert not appliances.undrain_appliance("here")
    assert appliances.announce(announcement("here", drained=True)) == Standing(True, 0)


def test_a_drained_appliance_does_not_count_as_one_that_recycles(registry: Registry, appliances: Appliances) -> None:
    registry.drain_worker("A", "drained by operator")  # B takes its place
    appliances.drain_appliance("here", "drained by operator")
    registry.heartbeat_worker("A", 0)
    registry.remove_worker("B", "drained by operator")
    recycling, teams = (registry.store.key(name, "chromium", "1.65") for name in ("recycling", "teams"))
    assert registry.store.read(("ZCARD", recycling), ("HGET", teams, "here")) == [0, None]
    appliances.undrain_appliance("here")
    assert registry.store.read(("ZCARD", recycling)) == [1]


def test_undrained_with_several_that_stand_by_as_many_serve_as_are_to(registry: Registry) -> None:
    Appliances(registry).announce(announcement("here"))
    Appliances(registry).drain_appliance("here", "drained by operator")
    for worker in "ABC":
        register(registry, worker, "here", target=2)
    Appliances(registry).undrain_appliance("here")
    assert sorted(statuses(registry).values()) == ["available", "available", "standby"]
    registry.remove_worker("A", "crashed")
    assert statuses(registry) == {"B": "available", "C": "available"}


def test_undrained_a_worker_that_serves_no_longer_stands_by(registry: Registry) -> None:
    appliances = Appliances(registry)
    appliances.announce(announcement("here"))
    appliances.drain_appliance("here", "drained by operator")
    register(registry, "A", "here", ttl_ms=90_000)  # the first to start, and the last to be looked at
    for worker in "BC":
        register(registry, worker, "here")
    appliances.undrain_appliance("here")
    assert statuses(registry) == {"A": "available", "B": "standby", "C": "standby"}
    standby = registry.store.key("standby", "chromium", "1.65") + ":here"
    assert registry.store.read(("ZRANGE", standby, 0, -1)) == [["B", "C"]]


def test_nothing_is_kept_of_the_teams_of_appliances_that_were_drained_and_are_gone(
    registry: Registry, appliances: Appliances
) -> None:
    for number in range(3):
        name = f"scaled-in-{number}"
        appliances.announce(announcement(name))
        register(registry, f"first of {name}", name)
        appliances.drain_appliance(name, "drained by operator")
        registry.remove_worker(f"first of {name}", "drained by operator")
        register(registry, f"second of {name}", name)
        registry.remove_worker(f"second of {name}", "stopped")
    (teams,) = registry.store.read(("HGETALL", registry.store.key("teams", "chromium", "1.65")))
    assert teams.keys() == {"here", "there"}
