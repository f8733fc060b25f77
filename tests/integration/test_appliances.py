"""Appliances on a real Redis: what they announce, and what follows for those who want to be served."""

from __future__ import annotations

import pytest

from appliance.grid.appliances import Appliances, Census
from appliance.grid.grid import Registry
from appliance.grid.values import Standing
from appliance.names import Browser
from tests.support.announced import announcement, register, status, statuses
from tests.support.claims import CONCURRENCY, claim


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


def test_the_last_reason_of_a_drain_holds_and_an_end_for_another_reason_does_nothing(appliances: Appliances) -> None:
    def reason() -> tuple[str, str]:
        state = appliances.state("here")
        assert state
        return state.drain_reason, "serving" if state.status == "serving" else "drained"

    appliances.drain_appliance("here", "no rules")
    assert reason() == ("no rules", "drained")
    appliances.drain_appliance("here", "drained by operator")
    appliances.undrain_appliance("here", "no rules")
    assert reason() == ("drained by operator", "drained")
    appliances.undrain_appliance("here", "drained by operator")
    assert reason() == ("", "serving")


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
    assert appliances.announce(other).rival == "ws://here:8080 at here"
    registry.renew("here.123456", {}, 60_000)
    assert appliances.announce(announcement("here")).rival == "ws://another:8080 at here"
    registry.renew("here.abcdef", {}, -1)
    assert appliances.announce(other).rival == ""


def test_an_earlier_run_of_an_appliance_does_not_take_its_name_and_a_proxy_that_is_gone_does_not(
    registry: Registry, appliances: Appliances
) -> None:
    assert appliances.rival("here", "a new one") == "ws://here:8080 at here"
    assert appliances.rival("here", announcement("here").run) == ""
    assert appliances.rival("nobody", "a new one") == ""
    registry.renew("here.abcdef", {}, -1)
    assert appliances.rival("here", "a new one") == ""


def test_who_serves_redis_to_others_is_not_safe_to_stop_until_they_are_gone(
    registry: Registry, appliances: Appliances
) -> None:
    appliances.drain_appliance("here", "drained by operator")
    for worker in ("A", "B"):
        registry.remove_worker(worker, "drained")
    appliances.announce(announcement("here", serves_redis=True))
    here, there = appliances.states()
    assert (here.status, here.needed_by, here.safe_to_stop) == ("drained", 1, False)
    assert there.needed_by == 0
    registry.remove_worker("C", "stopped")
    appliances.leave("there.abcdef")
    here = appliances.states()[0]
    assert (here.needed_by, here.safe_to_stop) == (0, True)


def test_a_browser_that_is_announced_is_waited_for(registry: Registry) -> None:
    assert claim(registry, "s", Browser.WEBKIT) == {"state": "unserved", "versions": {}}
    Appliances(registry).announce(announcement("here", pools={Browser.WEBKIT: 1}))
    assert claim(registry, "s", Browser.WEBKIT)["state"] == "waiting"
    assert claim(registry, "t", Browser.WEBKIT, "1.60") == {"state": "unserved", "versions": ["1.65"]}


def test_a_grid_of_many_is_counted_in_slices_and_the_count_is_kept(registry: Registry) -> None:
    for number in range(300):
        register(registry, f"w{number}", f"appliance-{number % 3}", target=100, version=f"1.65.{number % 2}")
    states = Appliances(registry).states()
    assert [(one.workers["available"], one.versions) for one in states] == [(100, ["1.65.0", "1.65.1"])] * 3
    registry.remove_worker("w0", "crashed")
    assert Appliances(registry).states() == states
    assert 0 < registry.store.read(("PTTL", registry.store.key("census")))[0] <= 2000


def test_what_redis_loses_during_a_look_is_not_said_to_serve(
    registry: Registry, appliances: Appliances, monkeypatch: pytest.MonkeyPatch
) -> None:
    appliances.drain_appliance("here", "drained by operator")
    counted = appliances._census

    def count_and_lose() -> Census:
        census = counted()
        registry.store.read(("FLUSHALL",))
        return census

    monkeypatch.setattr(appliances, "_census", count_and_lose)
    assert appliances.state("here") is None


def test_a_look_reads_the_records_of_appliances_only_also_while_one_is_drained(
    registry: Registry, appliances: Appliances
) -> None:
    claim(registry, "s")
    appliances.drain_appliance("here", "drained by operator")
    registry.store.read(("CONFIG", "RESETSTAT"))
    assert appliances.states()[0] == appliances.state("here")
    assert appliances.state("nobody") is None
    (calls,) = registry.store.read(("INFO", "commandstats"))
    assert calls["cmdstat_hgetall"]["calls"] == 2 + 1 + 1
