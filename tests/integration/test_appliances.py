"""Appliances on a real Redis: what they announce, and how one is drained."""

from __future__ import annotations

import json

import pytest
from redis.client import PubSub

from appliance.models import Browser, Standing, WorkerStatus
from appliance.registry import Appliances, Registry
from tests.announced import announcement
from tests.integration.test_selection import CONCURRENCY, claim, spec
from tests.waiting import until

STANDBY = WorkerStatus.STANDBY
SNAPSHOT = "for _, name in ipairs(redis.call('KEYS', '*')) do redis.call('COPY', name, name, 'DB', 1) end"


@pytest.fixture
def appliances(registry: Registry) -> Appliances:
    """Two appliances: `here` has a worker that serves and a spare, `there` one that serves."""
    for name in ("here", "there"):
        Appliances(registry).announce(announcement(name))
        registry.renew(f"{name}.abcdef", [], 60_000)
    for worker, appliance in {"A": "here", "B": "here", "C": "there"}.items():
        register(registry, worker, appliance)
    return Appliances(registry)


def register(registry: Registry, worker: str, appliance: str, **changes: object) -> str:
    changes = {"status": STANDBY, "spares": 1, "run": f"first of {appliance}"} | changes
    return registry.register_worker(spec(worker, appliance=appliance, **changes))


def statuses(registry: Registry) -> dict[str, str]:
    return {worker.id: worker.status for worker in registry.workers()}


def status(appliances: Appliances, name: str = "here") -> str:
    return {state.name: state.status.value for state in appliances.states()}[name]


def test_an_appliance_is_listed_with_what_it_says_and_what_runs_on_it(
    registry: Registry, appliances: Appliances
) -> None:
    appliances.announce(announcement("here", relayed=3))
    claim(registry, "s")
    here, there = appliances.states()
    assert (here.name, here.endpoint, here.address, here.versions) == ("here", "ws://here:8080", "here", ["1.65.1"])
    assert (here.workers, here.proxies, here.in_proxy) == ({"standby": 1, "available": 1, "draining": 0}, 1, 3)
    assert {here.on_workers, there.on_workers} == {0, 1}
    assert here.status == "serving"
    assert not here.safe_to_stop


def test_the_workers_of_a_drained_appliance_drain_and_its_spare_is_not_promoted(
    registry: Registry, appliances: Appliances
) -> None:
    assert appliances.drain_appliance("here", "drained by operator")
    assert statuses(registry) == {"A": "draining", "B": "standby", "C": "available"}
    assert {claim(registry, str(number))["worker"] for number in range(CONCURRENCY)} == {"C"}
    assert claim(registry, "one more")["state"] == "waiting"


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


def test_a_version_that_only_drained_appliances_serve_is_not_waited_for(
    registry: Registry, appliances: Appliances
) -> None:
    appliances.announce(announcement("old", version="1.62.0", run="r"))
    register(registry, "O", "old", version="1.62.0", run="r")
    assert claim(registry, "s", minor="1.62")["worker"] == "O"
    appliances.drain_appliance("old", "drained by operator")
    registry.heartbeat_worker("O", 0)
    appliances.announce(announcement("old", version="1.62.0", run="r"))
    assert claim(registry, "t", minor="1.62") == {"state": "unserved", "versions": ["1.65"]}
    appliances.undrain_appliance("old")
    assert claim(registry, "t", minor="1.62")["state"] == "waiting"


def test_who_waits_for_a_version_is_refused_when_its_last_appliance_is_drained_but_not_while_another_has_it(
    registry: Registry, appliances: Appliances
) -> None:
    for name in ("old", "as old"):
        appliances.announce(announcement(name, version="1.62.0"))
        register(registry, name, name, version="1.62.0", concurrency=1)
        assert claim(registry, f"on {name}", minor="1.62")["state"] == "active"
    assert claim(registry, "s", minor="1.62") == {"state": "waiting"}
    appliances.drain_appliance("old", "drained by operator")
    assert claim(registry, "s", minor="1.62") == {"state": "waiting"}
    appliances.drain_appliance("as old", "drained by operator")
    assert claim(registry, "s", minor="1.62") == {"state": "unserved", "versions": ["1.65"]}


def test_a_version_that_another_appliance_is_about_to_serve_is_waited_for(
    registry: Registry, appliances: Appliances
) -> None:
    for worker in "ABC":
        registry.remove_worker(worker, "crashed")
    appliances.drain_appliance("here", "drained by operator")
    assert claim(registry, "s")["state"] == "waiting"
    appliances.drain_appliance("there", "drained by operator")
    assert claim(registry, "t") == {"state": "unserved", "versions": {}}


def test_how_many_others_serve_counts_neither_the_drained_nor_those_that_stop(appliances: Appliances) -> None:
    assert appliances.announce(announcement("third")) == Standing(False, 2)
    appliances.drain_appliance("here", "drained by operator")
    assert appliances.announce(announcement("third")) == Standing(False, 1)
    assert appliances.announce(announcement("there", stopping=True)) == Standing(False, 1)
    assert appliances.announce(announcement("third")) == Standing(False, 0)
    assert status(appliances, "there") == "stopping"
    assert appliances.announce(announcement("there", run="second")) == Standing(False, 1)
    appliances.announce(announcement("here", stopping=True))
    assert appliances.announce(announcement("third")) == Standing(False, 1), "one that is both counts once"


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


def test_a_worker_speaks_for_its_appliance_while_no_proxy_does(registry: Registry) -> None:
    register(registry, "A", "here")
    registry.reap()
    (here,) = Appliances(registry).states()
    assert (here.name, here.versions, here.proxies) == ("here", ["1.65.1"], 0)
    assert Appliances(registry).drain_appliance("here", "drained by operator")
    assert statuses(registry) == {"A": "draining"}


def test_two_appliances_of_one_name_are_told_of_each_other_and_an_earlier_run_that_has_ended_is_not_one(
    registry: Registry, appliances: Appliances
) -> None:
    other = announcement("here", run="another", proxy="here.123456", endpoint="ws://another:8080")
    assert appliances.announce(other).rival == "ws://here:8080"
    registry.renew("here.123456", [], 60_000)
    assert appliances.announce(announcement("here")).rival == "ws://another:8080"
    registry.renew("here.abcdef", [], -1)
    assert appliances.announce(other).rival == ""


def test_a_browser_that_is_announced_is_waited_for(registry: Registry) -> None:
    assert claim(registry, "s", Browser.WEBKIT) == {"state": "unserved", "versions": {}}
    Appliances(registry).announce(announcement("here", pools={Browser.WEBKIT: 1}))
    assert claim(registry, "s", Browser.WEBKIT)["state"] == "waiting"
    assert claim(registry, "t", Browser.WEBKIT, "1.60") == {"state": "unserved", "versions": ["1.65"]}


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


def test_a_grid_of_many_is_counted_in_slices_and_the_count_is_kept(registry: Registry) -> None:
    for number in range(300):
        register(registry, f"w{number}", f"appliance-{number % 3}", target=100, version=f"1.65.{number % 2}")
    states = Appliances(registry).states()
    assert [(one.workers["available"], one.versions) for one in states] == [(100, ["1.65.0", "1.65.1"])] * 3
    registry.remove_worker("w0", "crashed")
    assert Appliances(registry).states() == states
    assert 0 < registry.store.read(("PTTL", registry.store.key("census")))[0] <= 2000


def test_a_look_reads_the_records_of_appliances_only_also_while_one_is_drained(
    registry: Registry, appliances: Appliances
) -> None:
    claim(registry, "s")
    appliances.drain_appliance("here", "drained by operator")
    registry.store.read(("CONFIG", "RESETSTAT"))
    assert appliances.states()[0] == appliances.state("here")
    assert appliances.state("nobody") is None
    (calls,) = registry.store.read(("INFO", "commandstats"))
    assert calls["cmdstat_hgetall"]["calls"] == 2 + 1


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
