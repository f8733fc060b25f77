"""Get a pool that clients want: make room for it, get its driver, start its worker; or end it."""

from __future__ import annotations

import functools
import json
import os
import threading
from collections.abc import Callable
from contextlib import suppress

import psutil

from appliance import resources
from appliance.deadline import wait_until
from appliance.errors import ApplianceError
from appliance.grid.grid import Grid
from appliance.grid.records import WorkerInfo
from appliance.grid.values import Wish
from appliance.machine import browsers, drivers, pool_file
from appliance.machine.drivers import Driver
from appliance.machine.install.driver import DriverError, add_driver, remove_driver
from appliance.machine.supervisor import Supervisor
from appliance.names import Browser, minor_version
from appliance.pools.index import Index
from appliance.pools.resizing import (
    NoRoom,
    PoolError,
    require_room,
    require_usable,
    resize,
    resizing,
    unclaimed_bytes,
)
from appliance.pools.usage import Key, Usage
from appliance.settings.config import Settings
from appliance.settings.pools import Pool

Say = Callable[[str], None]

_ROOM_S = 15.0  # for a worker that makes room to end
_POLL_S = 0.1
_MARGIN_S = 10.0
_FETCH_S = 300.0  # no other appliance of the grid fetches a driver meanwhile


class Provider:
    """What one appliance does for wishes."""

    def __init__(self, settings: Settings, grid: Grid, usage: Usage, index: Index) -> None:
        """Set the settings that the appliance was started with."""
        self._settings, self._grid, self._usage, self._index = settings, grid, usage, index
        self._is_settled = False  # the process before this one may have ended in the midst of a change
        self.usage_lock = threading.Lock()  # the usage is read and acted on by one thread at a time

    def provide(self, wish: Wish, say: Say) -> None:
        """Get a pool of one worker; `say` announces each step. Raises ApplianceError."""
        pool = Pool(wish.browser, wish.minor, 1, 0, on_demand=True)
        if pool.name not in [one.name for one in self._now().all_pools]:
            self._require_browser(pool)
            self._make_room(pool, say)
            driver = self._get_driver(wish.minor, say)
            require_usable(pool, self._settings)
            _touch(driver)
            say(f"starting a worker of Playwright {driver.version}")
            self._change(lambda pools: pools if pool.key in [one.key for one in pools] else [*pools, pool])
        if not wait_until(lambda: self._serves(pool), self._settings.launch_timeout + _MARGIN_S, _POLL_S):
            reason = self._why_it_does_not_start(pool)
            self.end((pool.browser, pool.minor))
            raise PoolError(reason)

    def end(self, key: Key) -> None:
        """End a pool that is on demand; its workers drain."""
        self._change(lambda pools: [pool for pool in pools if not (pool.on_demand and pool[:2] == key)])
        if found := [one for one in drivers.added(self._settings) if one.minor == key[1]]:
            _touch(found[0])

    def grow(self, key: Key) -> bool:
        """Give a pool on demand one more worker; return False if there is no memory, or it has one per processor.

        Room for one worker is left: another version may come.
        """
        found = [pool for pool in self._now().all_pools if pool.on_demand and pool[:2] == key]
        if not found or found[0].workers >= max(1, int(resources.processors())):
            return False
        try:
            self._require_room(found[0], 2)
        except NoRoom:
            return False
        self.set_size(key, found[0].workers + 1)
        return True

    def set_size(self, key: Key, workers: int) -> None:
        """Set how many workers a pool on demand has; those that are too many drain."""

        def resized(pool: Pool) -> Pool:
            return pool._replace(workers=workers) if pool.on_demand and pool[:2] == key else pool

        self._change(lambda pools: [resized(pool) for pool in pools])

    def settle(self) -> None:
        """Do what is missing of a change that ended half-way: a worker that was let go may not have been told."""
        if not self._is_settled:
            self._change(lambda pools: pools)

    def observe(self) -> None:
        """Note how the pools on demand are used now."""
        pools = self._now().all_pools
        keys = [(str(pool.browser), pool.minor) for pool in pools if pool.on_demand]
        self._usage.note(pools, self._own() if keys else [], self._grid.queue_lengths(keys))

    def _now(self) -> Settings:
        return pool_file.as_written(self._settings)

    def _change(self, change: Callable[[list[Pool]], list[Pool]]) -> None:
        with resizing(self._settings) as now:
            self._is_settled = False
            resize(now, change(now.all_pools), self._grid)
            self._is_settled = True

    def _make_room(self, pool: Pool, say: Say) -> None:
        """Get memory for one more worker; raises NoRoom if other pools on demand do not give way within a while."""
        while True:
            try:
                return self._require_room(pool)
            except NoRoom:
                with self.usage_lock:
                    leaving = self._give_way(say)
                if not (leaving and wait_until(functools.partial(self._has_ended_one, leaving), _ROOM_S, _POLL_S)):
                    raise

    def _give_way(self, say: Say) -> set[str]:
        """End the pool on demand that was used before all others; if all are used, take a worker from the largest.

        Return the names of all workers that are leaving.
        """
        self.observe()
        there, leaving = set(self._now().worker_names), self._leaving()
        if victim := self._usage.least_recent():
            say(f"ending the pool of {victim[0]} {victim[1]} to make room")
            self.end(victim)
            self._usage.forget(victim)
        elif not leaving and (largest := self._usage.largest()):
            (browser, minor), size = largest
            say(f"waiting for a worker of {browser} {minor} to end its sessions, to make room")
            self.set_size((browser, minor), size - 1)
        return leaving | there - set(self._now().worker_names)

    def _has_ended_one(self, leaving: set[str]) -> bool:
        return bool(leaving - self._leaving())

    def _leaving(self) -> set[str]:
        """Return the names of the workers that run and are in no pool any more."""
        processes = Supervisor(self._settings.run_dir).processes()
        running = {one.name for one in processes if one.name.rpartition("-")[0] in list(Browser)}
        return running - set(self._now().worker_names)

    def _require_room(self, pool: Pool, workers: int = 1) -> None:
        """Raise NoRoom unless there is memory for so many more workers like those of a pool."""
        now = self._now()
        further = pool._replace(workers=workers)
        require_room(now.all_pools, [*now.all_pools, further], unclaimed_bytes(now, self._own(), self._leaving()))

    def _require_browser(self, pool: Pool) -> None:
        """Raise LaunchError if the browser is missing, before a driver is fetched for it."""
        if pool.minor not in [driver.minor for driver in drivers.added(self._settings)]:
            browsers.find(pool.browser, self._settings)

    def _get_driver(self, minor: str, say: Say) -> Driver:
        if found := [one for one in drivers.added(self._settings) if one.minor == minor]:
            return found[0]
        self._index.settle()
        if why := self._index.why_not(minor):
            raise PoolError(why)
        if len(self._kept_drivers()) - len(self._removable_drivers()) >= self._settings.drivers_max:
            raise PoolError(f"all {self._settings.drivers_max} drivers that DRIVERS_MAX allows are in use")
        try:
            add_driver(minor, self._settings, say, pip_environment(self._settings), _FETCH_S)
        except ApplianceError:
            self._index.doubt()
            raise
        self._remove_drivers_beyond_the_limit(minor)
        return drivers.find(minor, self._settings)

    def _remove_drivers_beyond_the_limit(self, added: str) -> None:
        """Remove unused drivers beyond DRIVERS_MAX, the least recently used first; not the one just added."""
        removable = sorted((one for one in self._removable_drivers() if one.minor != added), key=_used_at)
        for driver in removable[: max(0, len(self._kept_drivers()) - self._settings.drivers_max)]:
            with suppress(DriverError):  # in use by now, or not to be changed
                remove_driver(driver.version, self._settings, self._now())

    def _removable_drivers(self) -> list[Driver]:
        """Return the kept drivers that no pool uses, no worker runs, and this account can remove."""
        used = {pool.version for pool in [*self._now().all_pools, *self._settings.all_pools]}
        unused = [one for one in self._kept_drivers() if one.minor not in used and not _is_run(one)]
        return [one for one in unused if os.access(one.folder, os.W_OK)]

    def _kept_drivers(self) -> list[Driver]:
        """Return the drivers that count towards DRIVERS_MAX; drivers built into an image do not."""
        return [one for one in drivers.added(self._settings) if one.folder.parent != drivers.shipped()]

    def _own(self) -> list[WorkerInfo]:
        return [worker for worker in self._grid.workers() if worker.appliance == self._settings.appliance_name]

    def _serves(self, pool: Pool) -> bool:
        return any((worker.browser, minor_version(worker.version)) == pool[:2] for worker in self._own())

    def _why_it_does_not_start(self, pool: Pool) -> str:
        names = [name for name, one in self._now().pool_by_name.items() if one[:2] == pool[:2]]
        failures = {failure.name: failure.reason for failure in self._grid.failures(pool.browser)}
        reasons = [failures[name] for name in names if name in failures]
        return reasons[0] if reasons else f"its worker did not start within {self._settings.launch_timeout:g} s"


def _touch(driver: Driver) -> None:
    """Note that a driver is used now; which one is removed first goes by that.

    A driver that this account can only read is never removed, and served without the note.
    """
    with suppress(OSError):
        os.utime(driver.folder / "node")


def _used_at(driver: Driver) -> float:
    return (driver.folder / "node").stat().st_mtime


def _is_run(driver: Driver) -> bool:
    """Return whether a worker that is being drained still runs it."""
    program = str(driver.folder / "node")
    return any(process.info["exe"] == program for process in psutil.process_iter(["exe"]))


def pip_environment(settings: Settings) -> dict[str, str]:
    """Return the variables by which pip finds its package index, as `applctl up` has kept them."""
    try:
        content: dict[str, str] = json.loads(settings.paths.pip_environment.read_text())
    except (OSError, ValueError):
        return {}
    return content
