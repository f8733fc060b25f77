"""Grid on a real Redis: what they announce, and what follows for those who want to be served."""

from __future__ import annotations

import pytest

from appliance.grid.grid import Grid
from appliance.grid.values import Standing
from appliance.grid.views import Counts
from appliance.names import Browser
from tests.support.announced import announcement, register, status, statuses
from tests.support.claims import CONCURRENCY, claim


def test_an_appliance_is_listed_with_what_it_says_and_what_runs_on_it(pair: Grid) -> None:
    pair.announce(announcement("here", relayed=3))
    claim(pair, "s")
    here, there = pair.appliances()
    assert (here.name, here.endpoint, here.address, here.versions) == ("here", "ws://here:8080", "here", ["1.65.1"])
    assert (here.workers, here.proxies, here.in_proxy) == ({"standby": 1, "available": 1, "draining": 0}, 1, 3)
    assert {here.on_workers, there.on_workers} == {0, 1}
    assert here.status == "serving"
    assert not here.safe_to_stop


def test_the_workers_of_a_drained_appliance_drain_and_its_spare_is_not_promoted(pair: Grid) -> None:
    assert pair.drain_appliance("here", "drained by operator")
    assert statuses(pair) == {"A": "draining", "B": "standby", "C": "available"}
    assert {claim(pair, str(number))["worker"] for number in range(CONCURRENCY)} == {"C"}
    assert claim(pair, "one more")["status"] == "waiting"


def test_the_last_reason_of_a_drain_holds_and_an_end_for_another_reason_does_nothing(pair: Grid) -> None:
    def reason() -> tuple[str, str]:
        state = pair.appliance("here")
        assert state
        return state.drain_reason, "serving" if state.status == "serving" else "drained"

    pair.drain_appliance("here", "no rules")
    assert reason() == ("no rules", "drained")
    pair.drain_appliance("here", "drained by operator")
    pair.undrain_appliance("here", "no rules")
    assert reason() == ("drained by operator", "drained")
    pair.undrain_appliance("here", "drained by operator")
    assert reason() == ("", "serving")


def test_a_version_that_only_drained_appliances_serve_is_not_waited_for(pair: Grid) -> None:
    pair.announce(announcement("old", version="1.62.0", run="r"))
    register(pair, "O", "old", version="1.62.0", run="r")
    assert claim(pair, "s", minor="1.62")["worker"] == "O"
    pair.drain_appliance("old", "drained by operator")
    pair.heartbeat_worker("O", 0)
    pair.announce(announcement("old", version="1.62.0", run="r"))
    assert claim(pair, "t", minor="1.62") == {"status": "unserved", "versions": ["1.65"]}
    pair.undrain_appliance("old")
    assert claim(pair, "t", minor="1.62")["status"] == "waiting"


def test_clients_wait_for_a_version_until_its_last_appliance_is_drained(
    pair: Grid,
) -> None:
    for name in ("old", "as old"):
        pair.announce(announcement(name, version="1.62.0"))
        register(pair, name, name, version="1.62.0", concurrency=1)
        assert claim(pair, f"on {name}", minor="1.62")["status"] == "active"
    assert claim(pair, "s", minor="1.62") == {"status": "waiting"}
    pair.drain_appliance("old", "drained by operator")
    assert claim(pair, "s", minor="1.62") == {"status": "waiting"}
    pair.drain_appliance("as old", "drained by operator")
    assert claim(pair, "s", minor="1.62") == {"status": "unserved", "versions": ["1.65"]}


def test_a_version_that_another_appliance_is_about_to_serve_is_waited_for(pair: Grid) -> None:
    for worker in "ABC":
        pair.remove_worker(worker, "crashed")
    pair.drain_appliance("here", "drained by operator")
    assert claim(pair, "s")["status"] == "waiting"
    pair.drain_appliance("there", "drained by operator")
    assert claim(pair, "t") == {"status": "unserved", "versions": {}}


def test_how_many_others_serve_counts_neither_the_drained_nor_those_that_stop(pair: Grid) -> None:
    assert pair.announce(announcement("third")) == Standing(False, 2)
    pair.drain_appliance("here", "drained by operator")
    assert pair.announce(announcement("third")) == Standing(False, 1)
    assert pair.announce(announcement("there", stopping=True)) == Standing(False, 1)
    assert pair.announce(announcement("third")) == Standing(False, 0)
    assert status(pair, "there") == "stopping"
    assert pair.announce(announcement("there", run="second")) == Standing(False, 1)
    pair.announce(announcement("here", stopping=True))
    assert pair.announce(announcement("third")) == Standing(False, 1), "one that is both counts once"


def test_a_worker_speaks_for_its_appliance_while_no_proxy_does(grid: Grid) -> None:
    register(grid, "A", "here")
    grid.reap()
    (here,) = grid.appliances()
    assert (here.name, here.versions, here.proxies) == ("here", ["1.65.1"], 0)
    assert grid.drain_appliance("here", "drained by operator")
    assert statuses(grid) == {"A": "draining"}


def test_two_appliances_of_one_name_are_told_but_not_of_a_run_that_has_ended(
    pair: Grid,
) -> None:
    other = announcement("here", run="another", proxy="here.123456", endpoint="ws://another:8080")
    assert pair.announce(other).rival == "ws://here:8080 at here"
    pair.renew("here.123456", {}, 60_000)
    assert pair.announce(announcement("here")).rival == "ws://another:8080 at here"
    pair.renew("here.abcdef", {}, -1)
    assert pair.announce(other).rival == ""


def test_neither_an_earlier_run_nor_a_proxy_that_is_gone_takes_an_appliances_name(pair: Grid) -> None:
    assert pair.rival_of("here", "a new one") == "ws://here:8080 at here"
    assert pair.rival_of("here", announcement("here").run) == ""
    assert pair.rival_of("nobody", "a new one") == ""
    pair.renew("here.abcdef", {}, -1)
    assert pair.rival_of("here", "a new one") == ""


def test_who_serves_redis_to_others_is_not_safe_to_stop_until_they_are_gone(pair: Grid) -> None:
    pair.drain_appliance("here", "drained by operator")
    for worker in ("A", "B"):
        pair.remove_worker(worker, "drained")
    pair.announce(announcement("here", serves_redis=True))
    here, there = pair.appliances()
    assert (here.status, here.needed_by, here.safe_to_stop) == ("drained", 1, False)
    assert there.needed_by == 0
    pair.remove_worker("C", "stopped")
    pair.leave("there.abcdef")
    here = pair.appliances()[0]
    assert (here.needed_by, here.safe_to_stop) == (0, True)


def test_a_browser_that_is_announced_is_waited_for(grid: Grid) -> None:
    assert claim(grid, "s", Browser.WEBKIT) == {"status": "unserved", "versions": {}}
    grid.announce(announcement("here", pools={(Browser.WEBKIT, "1.65"): 1}))
    assert claim(grid, "s", Browser.WEBKIT)["status"] == "waiting"
    assert claim(grid, "t", Browser.WEBKIT, "1.60") == {"status": "unserved", "versions": ["1.65"]}


def test_a_grid_of_many_is_counted_in_slices_and_the_count_is_kept(grid: Grid) -> None:
    for number in range(300):
        register(grid, f"w{number}", f"appliance-{number % 3}", target=100, version=f"1.65.{number % 2}")
    states = grid.appliances()
    assert [(one.workers["available"], one.versions) for one in states] == [(100, ["1.65.0", "1.65.1"])] * 3
    grid.remove_worker("w0", "crashed")
    assert grid.appliances() == states
    assert 0 < grid.store.read(("PTTL", grid.store.key("census")))[0] <= 2000


def test_what_redis_loses_during_a_look_is_not_said_to_serve(pair: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.drain_appliance("here", "drained by operator")
    counted = pair.count_appliances

    def count_and_lose() -> Counts:
        census = counted()
        pair.store.read(("FLUSHALL",))
        return census

    monkeypatch.setattr(pair, "count_appliances", count_and_lose)
    assert pair.appliance("here") is None


def test_a_look_reads_the_records_of_appliances_only_also_while_one_is_drained(pair: Grid) -> None:
    claim(pair, "s")
    pair.drain_appliance("here", "drained by operator")
    pair.store.read(("CONFIG", "RESETSTAT"))
    assert pair.appliances()[0] == pair.appliance("here")
    assert pair.appliance("nobody") is None
    (calls,) = pair.store.read(("INFO", "commandstats"))
    assert calls["cmdstat_hgetall"]["calls"] == 2 + 1 + 1
