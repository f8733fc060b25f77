"""Which pools on demand grow, and what gives way for another: memory, workers and drivers."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from appliance import resources
from appliance.grid.grid import Grid
from appliance.machine import drivers, pool_file, room
from appliance.machine.install.driver import DriverError
from appliance.names import Browser
from appliance.pools import providing, resizing
from appliance.pools.resizing import NoRoom, PoolError
from appliance.settings.config import Settings
from appliance.settings.pools import Pool
from tests.support.claims import claim, spec
from tests.support.played_pools import NAMES, Supervisord, provider

MIB = 2**20


@pytest.fixture
def settings(pool_settings: Settings) -> Settings:
    return pool_settings


class Memory:
    """The memory of a machine, of which each worker that supervisord runs takes 512 MiB."""

    def __init__(self, workers: int, supervisord: Supervisord) -> None:
        self._workers, self._supervisord = workers, supervisord

    def free(self, *_: Any) -> int:
        return (self._workers - len(self._supervisord.states)) * 512 * MIB


def test_a_pool_grows_while_sessions_wait_and_leaves_room_for_another_version(
    settings: Settings, grid: Grid, supervisord: Supervisord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "processors", lambda: 9.0)
    monkeypatch.setattr(providing, "unclaimed_bytes", Memory(6, supervisord).free)
    one = provider(settings, grid)
    assert one.grow(("chromium", "1.64")), "a fourth worker leaves room for two"
    assert one.grow(("chromium", "1.64")), "a fifth one for one"
    assert not one.grow(("chromium", "1.64"))
    assert len(supervisord.states) == 5
    monkeypatch.setattr(providing, "unclaimed_bytes", Memory(99, supervisord).free)
    monkeypatch.setattr(resources, "processors", lambda: 5.0)
    assert not one.grow(("chromium", "1.64")), "it has one for each processor"
    assert not one.grow(("chromium", "1.62")), "there is no such pool"


def test_a_new_version_gets_the_worker_that_the_largest_pool_gives_away(
    settings: Settings, grid: Grid, supervisord: Supervisord, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in NAMES:
        grid.register_worker(spec(name, name=name, version="1.64.1", appliance="here", target=3))
        assert claim(grid, f"on {name}", minor="1.64")["status"] == "active"
    monkeypatch.setattr(providing, "unclaimed_bytes", Memory(3, supervisord).free)
    monkeypatch.setattr(providing, "_ROOM_S", 0.3)
    one, new = provider(settings, grid), Pool(Browser.CHROMIUM, "1.62", 1, on_demand=True)
    for _ in range(2):
        with pytest.raises(NoRoom):
            one._make_room(new, lambda _: None)
        assert [worker.status for worker in grid.workers()].count("draining") == 1, "it takes one, and no other"
    (leaving,) = one._leaving()

    supervisord.forget(leaving)  # its last session has ended
    one._make_room(new, lambda _: None)
    assert [str(pool) for pool in pool_file.as_written(settings).all_pools] == ["chromium@1.64:2"]


def test_a_new_version_gets_the_room_of_a_pool_that_nobody_uses(
    settings: Settings, registered: Grid, supervisord: Supervisord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(providing, "unclaimed_bytes", Memory(3, supervisord).free)
    said: list[str] = []

    def say(what: str) -> None:
        said.append(what)
        monkeypatch.setattr(supervisord, "stop_process", supervisord.forget)
        monkeypatch.setattr(Grid, "drain_worker", lambda _, *args: supervisord.forget(NAMES[-1]))

    provider(settings, registered)._make_room(Pool(Browser.CHROMIUM, "1.62", 1, on_demand=True), say)
    assert said == ["ending the pool of chromium 1.64 to make room"]
    assert pool_file.as_written(settings).all_pools == []


@pytest.mark.parametrize("used", [0, 900])
def test_what_workers_may_still_take_is_not_free(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, used: int
) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=3000 * MIB))
    monkeypatch.setattr(resources, "memory_bytes", lambda: 9000 * MIB)
    own: Any = [SimpleNamespace(name=NAMES[0], memory_bytes=used * MIB)]
    still_to_come = 2 * 512 + max(0, 512 - used)
    assert resizing.unclaimed_bytes(settings, own) == (3000 - still_to_come) * MIB
    monkeypatch.setattr(resources, "memory_bytes", lambda: 2500 * MIB)  # the limit of a container
    assert resizing.unclaimed_bytes(settings, own) == (2500 - 2 * 512 - max(512, used)) * MIB


def test_the_memory_of_a_worker_that_leaves_is_promised_to_nobody_else(
    settings: Settings, grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=9000 * MIB))
    monkeypatch.setattr(resources, "memory_bytes", lambda: 1536 * MIB)  # of a container: for three workers
    grid.register_worker(spec("A", name=NAMES[0], version="1.64.1", appliance="here", target=3))
    assert claim(grid, "long", minor="1.64")["status"] == "active"
    one = provider(settings, grid)
    one.set_size(("chromium", "1.64"), 2)
    assert len(one._leaving()) == 1
    with pytest.raises(NoRoom):
        one._require_room(Pool(Browser.CHROMIUM, "1.62", 1, on_demand=True))


# ── DRIVERS_MAX ───────────────────────────────────────────────────────────────────────────────────────


def add(settings: Settings, version: str, used_at: int) -> None:
    folder = settings.drivers_dir / version
    folder.mkdir(parents=True)
    drivers.describe(folder, version, "")
    (folder / "node").touch()
    os.utime(folder / "node", (used_at, used_at))


def test_a_fetch_that_takes_too_long_is_ended_with_the_reason(
    settings: Settings, grid: Grid, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def time_out(command: list[str], **options: Any) -> None:
        raise subprocess.TimeoutExpired(command, options["timeout"])

    settings = settings.model_copy(update={"drivers_dir": tmp_path / "drivers"})
    monkeypatch.setattr(drivers, "shipped", lambda: tmp_path / "shipped")
    monkeypatch.setattr(room, "shortage", lambda *_: "")
    monkeypatch.setattr(subprocess, "run", time_out)
    with pytest.raises(DriverError, match=r"Playwright 1\.62 was not fetched within 300 s"):
        provider(settings, grid)._get_driver("1.62", lambda _: None)
    assert list(settings.drivers_dir.iterdir()) == []


def refuse(*_: Any) -> None:
    raise PoolError("no network")


def test_the_driver_that_was_not_used_for_longest_makes_room_for_another(
    settings: Settings, grid: Grid, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = settings.model_copy(update={"drivers_dir": tmp_path / "drivers", "drivers_max": 3})
    for used_at, version in enumerate(["1.64.1", "1.60.0", "1.62.0"]):  # 1.64 has a pool
        add(settings, version, used_at)
    monkeypatch.setattr(drivers, "shipped", lambda: tmp_path / "shipped")
    monkeypatch.setattr(providing, "add_driver", refuse)
    with pytest.raises(PoolError, match="no network"):
        provider(settings, grid)._get_driver("1.63", print)
    assert len(drivers.added(settings)) == 3, "what cannot be fetched costs no other driver"
    monkeypatch.setattr(providing, "add_driver", lambda minor, *_: add(settings, f"{minor}.0", 0))
    assert provider(settings, grid)._get_driver("1.63", print).minor == "1.63"
    assert [driver.minor for driver in drivers.added(settings)] == ["1.64", "1.63", "1.62"]
    settings = settings.model_copy(update={"drivers_max": 1})
    monkeypatch.setattr(providing, "add_driver", refuse)
    with pytest.raises(PoolError, match="all 1 drivers that DRIVERS_MAX allows are in use"):
        provider(settings, grid)._get_driver("1.61", print)
    assert len(drivers.added(settings)) == 3
