"""A running appliance gets more workers or fewer, and no session is harmed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from appliance.machine.supervisor import Supervisor
from tests.support.appliance import Appliance
from tests.support.raw_client import RawClient
from tests.support.versions import OWN_MINOR
from tests.support.waiting import until


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """Return an appliance of one worker, whose settings file can be changed."""
    file = tmp_path_factory.mktemp("settings") / "appliance.env"
    with Appliance(MAX_CONCURRENT_SESSIONS=1, STARTUP_STAGGER=0.5, APPLIANCE_ENV=file) as grid:
        yield grid


def processes(grid: Appliance) -> set[str]:
    return {process.name for process in Supervisor(grid.run_dir).processes() if process.name.startswith("chromium")}


def settings_of(grid: Appliance) -> str:
    return Path(grid.env["APPLIANCE_ENV"]).read_text()


def test_workers_are_added_and_leave_while_sessions_go_on(grid: Appliance) -> None:
    (first,) = grid.available(1)
    with ExitStack() as held:
        clients = [held.enter_context(RawClient(grid))]
        grid.applctl("scale", "chromium=3")
        assert "CHROMIUM_WORKERS=3" in settings_of(grid).replace("'", "")
        assert {worker.name for worker in grid.available(3)} == {"chromium-00", "chromium-01", "chromium-02"}
        clients.append(held.enter_context(RawClient(grid)))
        taken = {worker.name for worker in grid.state.workers() if worker.active}
        (idle,) = processes(grid) - taken

        done = json.loads(grid.applctl("scale", "chromium=1", "--json").stdout)
        assert idle in done["leaving"], "the worker without sessions leaves first"
        until(lambda: processes(grid) == taken, "it ends, and is not started again")
        assert [worker.name for worker in grid.available(1)] == [*taken - set(done["leaving"])]
        assert all(client.context() for client in clients), "nothing happens to the sessions of the others"
    until(lambda: len(processes(grid)) == 1, "the second one ends with its session")
    (left,) = grid.available(1)
    assert left.id == first.id or left.name != first.name, "the one that stays was not started again"
    assert grid.lasting_differences() == []


def test_a_name_that_is_still_in_use_is_not_given_to_a_new_worker(grid: Appliance) -> None:
    grid.applctl("scale", "chromium=2")
    grid.available(2)
    with RawClient(grid), RawClient(grid):
        (leaving,) = json.loads(grid.applctl("scale", "chromium=1", "--json").stdout)["leaving"]
        grid.applctl("scale", "chromium=2")
        names = {worker.name for worker in grid.available(2)}
        assert leaving not in names
        assert leaving in processes(grid)
    grid.applctl("scale", "chromium=1")
    until(lambda: len(processes(grid)) == 1, "all others have left")


def test_a_pool_has_workers_of_other_options_at_once_and_its_sessions_go_on(grid: Appliance) -> None:
    (old,) = grid.available(1)
    with RawClient(grid) as client:
        grid.applctl("pools", "set", "chromium", "--max-concurrent-sessions", "2", "--isolation", "browser")
        assert "POOLS='chromium:1 isolation=browser max_concurrent_sessions=2'" in settings_of(grid)
        (new,) = grid.available(1)
        assert (new.concurrency, new.isolation, new.name != old.name) == (2, "browser", True)
        with RawClient(grid) as other:
            assert other.context()
            assert [session.isolation for session in grid.state.sessions()] == ["context", "browser"]
        assert client.context(), "nothing happens to the session of the old worker"
    until(lambda: processes(grid) == {new.name}, "the old worker ends with its session")
    grid.applctl("pools", "set", "chromium", "--max-concurrent-sessions", "", "--isolation", "")
    until(lambda: new.name not in processes(grid), "the pool is as before")
    assert [worker.concurrency for worker in grid.available(1)] == [1]
    assert grid.lasting_differences() == []


def test_a_pool_beside_another_one_takes_its_sessions_with_isolation_browser(grid: Appliance) -> None:
    (plain,) = grid.available(1)
    grid.applctl("pools", "add", "chromium/browser", "--max-concurrent-sessions", "2")
    (beside,) = [worker for worker in grid.available(2) if worker.name != plain.name]
    assert (beside.isolation, beside.minor) == ("browser", f"{OWN_MINOR}/browser")
    with RawClient(grid) as shared, RawClient(grid, "/?isolation=browser") as own:
        assert shared.context()
        assert own.context()
        sessions = {session.isolation: session.worker for session in grid.state.sessions()}
        assert sessions == {"context": plain.id, "browser": beside.id}
        assert [pool["pool"] for pool in json.loads(grid.applctl("pools", "list", "--json").stdout)] == [
            "chromium",
            "chromium/browser",
        ]
    grid.applctl("pools", "remove", "chromium/browser")
    until(lambda: processes(grid) == {plain.name}, "its worker has left")
    assert grid.lasting_differences() == []


def test_what_cannot_be_is_refused_and_changes_nothing(grid: Appliance) -> None:
    before = (settings_of(grid), processes(grid))
    refused = {
        "chromium@1.60=1": "applctl drivers add 1.60",
        "opera=1": "'opera' names no pool",
        "chromium=two": "is not of the form POOL=WORKERS",
        "chromium=100": "more workers need",
        "chromium@1.57=1": "is not served",
    }
    for size, sentence in refused.items():
        done = grid.applctl("scale", size, check=False)
        assert done.returncode in (1, 2), size
        assert sentence in done.stderr, done.stderr
    assert (settings_of(grid), processes(grid)) == before


def test_the_pools_are_listed_with_what_they_have_to_do(grid: Appliance) -> None:
    (pool,) = json.loads(grid.applctl("pools", "list", "--json").stdout)
    assert (pool["pool"], pool["clients"], pool["workers"], pool["set_by"]) == (
        "chromium", f"{OWN_MINOR}.*", 1, "CHROMIUM_WORKERS",
    )  # fmt: skip
    assert "there is no pool firefox" in grid.applctl("pools", "remove", "firefox", check=False).stderr
    assert "there is a pool chromium of 1" in grid.applctl("pools", "add", "chromium", check=False).stderr
