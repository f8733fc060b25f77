"""Pools that are ended, provided and resized while Redis, a worker or the keeper itself goes away.

Redis is real; supervisord is played.
"""

from __future__ import annotations

import errno
import itertools
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from appliance.grid.grid import Grid
from appliance.grid.store import Store
from appliance.grid.values import Wish
from appliance.machine import drivers, pool_file
from appliance.machine.drivers import Driver
from appliance.names import Browser
from appliance.pools import providing
from appliance.pools.keeper import Keeper
from appliance.pools.providing import Provider, Say
from appliance.pools.resizing import resize, resizing
from appliance.request_errors import StoreUnavailable
from appliance.settings.config import Settings
from appliance.settings.pools import Pool
from tests.support.announced import announcement
from tests.support.claims import claim, spec
from tests.support.played_pools import NAMES, WANTED, Supervisord, provider


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
def settings(pool_settings: Settings) -> Settings:
    return pool_settings


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
    provider(settings, registered).end((WANTED.browser, WANTED.minor))
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


def test_an_idle_pool_is_ended_while_a_wish_is_served(
    settings: Settings, registered: Grid, supervisord: Supervisord, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_ended, ended_meanwhile = threading.Event(), list[bool]()

    def provide(_: Provider, wish: Wish, say: Say) -> None:
        say("fetching its driver")
        ended_meanwhile.append(is_ended.wait(10))

    def end(_: Provider, key: tuple[str, str]) -> None:
        assert key == ("chromium", "1.64")
        is_ended.set()

    monkeypatch.setattr(Provider, "provide", provide)
    monkeypatch.setattr(Provider, "end", end)
    registered.announce(announcement("here"))
    keeper = Keeper(settings, registered)
    keeper._provider.settle()
    keeper.look()
    assert claim(registered, "s", minor="1.62", may_wish=True)["status"] == "waiting"
    monkeypatch.setattr(keeper._usage, "idle", lambda: ("chromium", "1.64"))
    keeper.look()
    assert ended_meanwhile == [True]


@pytest.fixture
def startable(settings: Settings, grid: Grid, supervisord: Supervisord, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return an appliance without pools, which has all drivers; its workers register at once."""
    settings = settings.as_placed({})
    pool_file.write(settings)
    supervisord.states, supervisord.grid = {}, grid
    monkeypatch.setattr(Provider, "_get_driver", lambda *_: Driver("1.64.1", "", drivers.shipped() / "1.64.1"))
    monkeypatch.setattr(Provider, "_require_browser", lambda *_: None)
    monkeypatch.setattr(providing, "require_usable", lambda *_: None)
    return settings


def test_a_driver_that_can_only_be_read_is_served(
    startable: Settings, grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    driver = Driver("1.64.1", "", startable.drivers_dir / "1.64.1")
    monkeypatch.setattr(Provider, "_get_driver", lambda *_: driver)
    monkeypatch.setattr(drivers, "added", lambda _: [driver])
    monkeypatch.setattr(os, "utime", refuse)
    one = provider(startable, grid)
    one.provide(Wish(Browser.CHROMIUM, "1.64"), print)
    assert [str(pool) for pool in pool_file.as_written(startable).all_pools] == ["chromium@1.64:1"]
    one.end(("chromium", "1.64"))
    assert pool_file.as_written(startable).all_pools == []


def test_a_pool_that_an_operator_adds_meanwhile_is_not_added_twice(
    startable: Settings, grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    def operator_adds(*_: object) -> None:
        with resizing(startable) as now:
            resize(now, [Pool(Browser.CHROMIUM, "1.64", 2)], grid)

    monkeypatch.setattr(providing, "require_usable", operator_adds)
    provider(startable, grid).provide(Wish(Browser.CHROMIUM, "1.64"), print)
    assert [(str(pool), pool.on_demand) for pool in pool_file.as_written(startable).all_pools] == [
        ("chromium@1.64:2", False)
    ]


# ── The keeper is killed ──────────────────────────────────────────────────────────────────────────────

STEPS = [
    *[(Grid, name) for name in ("take_wish", "report_wish", "resize_team", "drain_worker")],
    *[(Supervisord, name) for name in ("keep_workers", "stop_process")],
    (pool_file, "write"),
]


def killed_at_step(number: int, work: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> bool:
    """Do work in a process that SIGKILL ends before this step of it, counted from 0; return whether it did."""
    child = os.fork()
    if not child:
        left = itertools.count(number, -1)

        def before(call: Callable[..., Any]) -> Callable[..., Any]:
            def step(*arguments: Any, **named: Any) -> Any:
                if not next(left):
                    os.kill(os.getpid(), signal.SIGKILL)
                return call(*arguments, **named)

            return step

        try:
            for owner, name in STEPS:
                monkeypatch.setattr(owner, name, before(getattr(owner, name)))
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def keeper_of(settings: Settings) -> Keeper:
    """Return a keeper with connections of its own."""
    return Keeper(settings, Grid(Store(settings.effective_redis_url, "test")))


def test_the_end_of_a_pool_is_finished_wherever_its_keeper_was_killed(
    settings: Settings, registered: Grid, supervisord: Supervisord, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin_again() -> None:
        registered.store.read(("FLUSHALL",))
        registered.register_worker(spec("C", name=NAMES[-1], version="1.64.1", target=3))
        supervisord.states = dict.fromkeys(NAMES, "RUNNING")
        pool_file.write(settings)

    for number in itertools.count():
        begin_again()
        if not killed_at_step(number, lambda: keeper_of(settings)._provider.end(("chromium", "1.64")), monkeypatch):
            break
        is_over = pool_file.as_written(settings).all_pools == []
        keeper_of(settings).look()
        assert [worker.status for worker in registered.workers()] == ["draining" if is_over else "available"]
        states = dict.fromkeys(NAMES[:2], "STOPPING" if is_over else "RUNNING") | {NAMES[2]: "RUNNING"}
        assert supervisord.states == states
    assert number == 6, "it was killed before each of its steps"


def test_a_wish_is_fulfilled_wherever_its_keeper_was_killed(
    startable: Settings, grid: Grid, supervisord: Supervisord, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin_again() -> None:
        grid.store.read(("FLUSHALL",))
        supervisord.states, supervisord.grid = {}, grid
        pool_file.write(startable)
        grid.announce(announcement("here"))
        grid.take_wish("here", ["1.64"], ttl_s=60, hold_s=0)
        assert claim(grid, "s", minor="1.64", may_wish=True)["status"] == "waiting"

    def serve() -> None:
        keeper = keeper_of(startable)
        supervisord.grid = keeper._grid
        keeper.look()

    for number in itertools.count():
        begin_again()
        if not killed_at_step(number, serve, monkeypatch):
            break
        keeper_of(startable).look()
        assert [str(pool) for pool in pool_file.as_written(startable).all_pools] == ["chromium@1.64:1"]
        assert supervisord.states == {"chromium-00": "RUNNING"}
        assert claim(grid, "s", minor="1.64", may_wish=True)["status"] == "active"
        assert grid.take_wish("here", ["1.64"], ttl_s=60, hold_s=0) is None, "the wish is forgotten"
    assert number > 6, "it was killed before each of its steps"
