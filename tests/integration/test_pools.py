"""Pools that are ended and provided while Redis or a worker goes away, on a real Redis; supervisord is played."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import SupervisorError
from appliance.grid.grid import Grid
from appliance.grid.values import Wish
from appliance.machine import pool_file
from appliance.machine.supervisor import ProcessInfo
from appliance.names import Browser
from appliance.pools import resizing
from appliance.pools.keeper import Keeper
from appliance.pools.providing import Provider, Say
from appliance.pools.usage import Usage
from appliance.request_errors import StoreUnavailable
from appliance.settings import config
from appliance.settings.config import Settings
from appliance.settings.pools import Pool
from tests.support.announced import announcement
from tests.support.claims import claim, spec

WANTED = Pool(Browser.CHROMIUM, "1.64", 3, on_demand=True)
NAMES = ["chromium-01", "chromium-02", "chromium-03"]


class Supervisord:
    """The workers that supervisord runs; those of `ending` end just before they are stopped."""

    def __init__(self) -> None:
        self.states = dict.fromkeys(NAMES, "RUNNING")
        self.ending: set[str] = set()
        self.stopped: list[str] = []

    def processes(self) -> list[ProcessInfo]:
        return [ProcessInfo(name, "workers", self.states[name], 1, 1) for name in sorted(self.states)]

    def keep_workers(self, names: Iterable[str]) -> list[str]:
        return sorted(self.states.keys() - set(names))

    def stop_process(self, name: str) -> None:
        if name in self.ending:
            del self.states[name]
        if self.states.get(name) != "RUNNING":
            raise SupervisorError(f"{name} does not run")
        self.states[name] = "STOPPING"
        self.stopped.append(name)


@pytest.fixture
def supervisord(monkeypatch: pytest.MonkeyPatch) -> Supervisord:
    played = Supervisord()
    monkeypatch.setattr(resizing, "Supervisor", lambda _: played)
    return played


@pytest.fixture
def settings(redis_url: str, tmp_path: Path, supervisord: Supervisord) -> Settings:
    """Return an appliance with a pool on demand, whose last worker is registered."""
    base = config.load(redis_url=redis_url, grid_namespace="test", appliance_name="here", run_dir=tmp_path,
                       chromium_workers=0, drivers="auto")  # fmt: skip
    settings = base.as_placed(dict.fromkeys(NAMES, WANTED))
    settings.paths.workers.mkdir()
    pool_file.write(settings)
    return settings


class Outage:
    """A grid whose Redis is away when one of its methods is called."""

    def __init__(self, grid: Grid, method: str) -> None:
        self._grid, self._method = grid, method
        self.is_away, self.was_asked = True, threading.Event()

    def __getattr__(self, name: str) -> Any:
        if self.is_away and name == self._method:
            self.was_asked.set()
            raise StoreUnavailable("Redis is away")
        return getattr(self._grid, name)


@pytest.fixture
def registered(grid: Grid) -> Grid:
    grid.register_worker(spec("C", name=NAMES[-1], version="1.64.1", target=3))
    return grid


def test_a_pool_whose_end_failed_half_way_is_ended_at_the_next_look(
    settings: Settings, registered: Grid, supervisord: Supervisord
) -> None:
    outage: Any = Outage(registered, "resize_team")
    keeper = Keeper(settings, outage)
    with pytest.raises(StoreUnavailable):
        keeper._provider.end((WANTED.browser, WANTED.minor))
    assert pool_file.as_written(settings).all_pools == []
    with pytest.raises(StoreUnavailable):
        keeper.look()
    outage.is_away = False
    keeper.look()
    assert [worker.status for worker in registered.workers()] == ["draining"]
    assert supervisord.stopped == NAMES[:2]
    keeper._provider.settle()
    assert supervisord.stopped == NAMES[:2], "it is done"


def test_a_worker_that_ends_meanwhile_keeps_no_other_from_leaving(
    settings: Settings, registered: Grid, supervisord: Supervisord
) -> None:
    supervisord.ending = {NAMES[0]}
    Provider(settings, registered, Usage(60)).end((WANTED.browser, WANTED.minor))
    assert [worker.status for worker in registered.workers()] == ["draining"]
    assert supervisord.stopped == [NAMES[1]]


def test_work_for_a_wish_goes_on_while_redis_is_away_and_is_not_begun_twice(
    settings: Settings, grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []

    def provide(_: Provider, wish: Wish, say: Say) -> None:
        begun.append(wish)
        say("fetching its driver")
        assert outage.was_asked.wait(10)
        outage.is_away = False

    outage: Any = Outage(grid, "report_wish")
    monkeypatch.setattr(Provider, "provide", provide)
    grid.announce(announcement("here"))
    keeper = Keeper(settings, outage)
    keeper.look()
    assert claim(grid, "s", minor="1.64", may_wish=True)["status"] == "waiting"
    keeper.look()
    keeper.look()
    assert begun == [Wish(Browser.CHROMIUM, "1.64")]
