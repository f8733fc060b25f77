"""Get a pool that clients want: make room for it, get its driver, start its worker; or end it."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from typing import Any

import psutil

from appliance.deadline import wait_until
from appliance.errors import ApplianceError
from appliance.grid.grid import Grid
from appliance.grid.values import Wish
from appliance.machine import drivers, pool_file
from appliance.machine.drivers import Driver
from appliance.machine.install.driver import add_driver, remove_driver
from appliance.machine.supervisor import Supervisor
from appliance.names import minor_version
from appliance.pools.resizing import PoolError, require_room, require_usable, resize, resizing
from appliance.pools.usage import Key, Usage
from appliance.settings.config import Settings
from appliance.settings.pools import Pool

Say = Callable[[str], None]

_ROOM_S = 15.0  # for a worker that makes room to end
_POLL_S = 0.1
_MARGIN_S = 10.0


class Provider:
    """What one appliance does for wishes."""

    def __init__(self, settings: Settings, grid: Grid, usage: Usage) -> None:
        """Set the settings that the appliance was started with."""
        self._settings, self._grid, self._usage = settings, grid, usage
        self._has_failed = False  # the last change of the pools, perhaps half-way

    def provide(self, wish: Wish, say: Say) -> None:
        """Get a pool of one worker; `say` announces each step. Raises ApplianceError."""
        pool = Pool(wish.browser, wish.minor, 1, 0, on_demand=True)
        if pool.name not in [one.name for one in self._now().all_pools]:
            self._make_room(pool, say)
            driver = self._get_driver(wish.minor, say)
            require_usable(pool, self._settings)
            _touch(driver)
            say(f"starting a worker of Playwright {driver.version}")
            self._change(lambda pools: [*pools, pool])
        if not wait_until(lambda: self._serves(pool), self._settings.launch_timeout + _MARGIN_S, _POLL_S):
            reason = self._why_it_does_not_start(pool)
            self.end((pool.browser, pool.minor))
            raise PoolError(reason)

    def end(self, key: Key) -> None:
        """End a pool that is on demand; its workers drain."""
        self._change(lambda pools: [pool for pool in pools if not (pool.on_demand and pool[:2] == key)])
        if found := [one for one in drivers.added(self._settings) if one.minor == key[1]]:
            _touch(found[0])

    def settle(self) -> None:
        """Do what is missing of a change that failed half-way: a worker that was let go may not have been told."""
        if self._has_failed:
            self._change(lambda pools: pools)

    def _now(self) -> Settings:
        return pool_file.as_written(self._settings)

    def _change(self, change: Callable[[list[Pool]], list[Pool]]) -> None:
        self._has_failed = True
        with resizing(self._settings) as now:
            resize(now, change(now.all_pools), self._grid)
        self._has_failed = False

    def _make_room(self, pool: Pool, say: Say) -> None:
        """End pools on demand that nobody uses, until there is memory for one more worker."""
        while True:
            pools = self._now().all_pools
            try:
                return require_room(pools, [*pools, pool])
            except PoolError:
                victim = self._usage.least_recent()
                if victim is None:
                    raise
            say(f"ending the pool of {victim[0]} {victim[1]} to make room")
            names = [name for name, one in self._now().pool_by_name.items() if one[:2] == victim]
            self.end(victim)
            self._usage.forget(victim)
            wait_until(functools.partial(self._have_ended, names), _ROOM_S, _POLL_S)

    def _have_ended(self, names: list[str]) -> bool:
        return not {one.name for one in Supervisor(self._settings.run_dir).processes()} & set(names)

    def _get_driver(self, minor: str, say: Say) -> Driver:
        if found := [one for one in drivers.added(self._settings) if one.minor == minor]:
            return found[0]
        self._leave_room_for_a_driver()
        add_driver(minor, self._settings, say, self._pip_environment())
        return drivers.find(minor, self._settings)

    def _leave_room_for_a_driver(self) -> None:
        """Remove drivers that nobody uses until DRIVERS_MAX allows another one, the least recently used first."""
        there = self._kept_drivers()
        used = {pool.minor for pool in [*self._now().all_pools, *self._settings.all_pools]}
        free = sorted((one for one in there if one.minor not in used and not _is_run(one)), key=_used_at)
        for driver in free[: max(0, len(there) + 1 - self._settings.drivers_max)]:
            remove_driver(driver.version, self._settings, self._now())
        if len(self._kept_drivers()) >= self._settings.drivers_max:
            raise PoolError(f"all {self._settings.drivers_max} drivers that DRIVERS_MAX allows are in use")

    def _kept_drivers(self) -> list[Driver]:
        """Return the drivers that count towards DRIVERS_MAX; drivers built into an image do not."""
        return [one for one in drivers.added(self._settings) if one.folder.parent != drivers.shipped()]

    def _pip_environment(self) -> dict[str, Any]:
        try:
            content: dict[str, Any] = json.loads(self._settings.paths.pip_environment.read_text())
        except (OSError, ValueError):
            return {}
        return content

    def _serves(self, pool: Pool) -> bool:
        own = [worker for worker in self._grid.workers() if worker.appliance == self._settings.appliance_name]
        return any((worker.browser, minor_version(worker.version)) == pool[:2] for worker in own)

    def _why_it_does_not_start(self, pool: Pool) -> str:
        names = [name for name, one in self._now().pool_by_name.items() if one[:2] == pool[:2]]
        failures = {failure.name: failure.reason for failure in self._grid.failures(pool.browser)}
        reasons = [failures[name] for name in names if name in failures]
        return reasons[0] if reasons else f"its worker did not start within {self._settings.launch_timeout:g} s"


def _touch(driver: Driver) -> None:
    """Note that a driver is used now; which one is removed first goes by that."""
    if driver.folder.parent != drivers.shipped():
        os.utime(driver.folder / "node")


def _used_at(driver: Driver) -> float:
    return (driver.folder / "node").stat().st_mtime


def _is_run(driver: Driver) -> bool:
    """Return whether a worker that is being drained still runs it."""
    program = str(driver.folder / "node")
    return any(process.info["exe"] == program for process in psutil.process_iter(["exe"]))


def words_of(error: Exception) -> str:
    """Return why something failed, with what to do about it, for a client to read."""
    hint = error.hint if isinstance(error, ApplianceError) else ""
    return f"{error} ({hint.rstrip('.')})" if hint else str(error)
