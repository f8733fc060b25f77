"""Change which workers a running appliance has, without a restart and without harm to a session.

The order matters:
 1. The file says which worker is in which pool, so that whatever starts from now on goes by it.
 2. supervisord starts the new workers, and does not start the leaving ones again. New ones take launch turns, which are
    STARTUP_STAGGER apart.
 3. Redis learns the new size of each team, so that no spare takes the place of a worker that leaves for good.
 4. The workers that leave drain: they get no new session, and end when their last one has, after DRAIN_TIMEOUT at most.

Each step can be repeated: if one fails, the same change again does what is missing.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import psutil

from appliance import resources
from appliance.errors import ApplianceError, SupervisorError
from appliance.grid.grid import Grid
from appliance.grid.records import WorkerInfo
from appliance.grid.values import WorkerStatus
from appliance.machine import browsers, drivers, folders, pool_file
from appliance.machine.supervisor import Supervisor
from appliance.names import Browser, minor_version
from appliance.settings.config import Settings
from appliance.settings.pools import Pool, place

WORKER_BYTES = 512 * 2**20  # what must be free for each further worker: driver, browser and some pages (docs/sizing.md)

_REASON = "its pool was made smaller"
_LEAVES_FIRST = {WorkerStatus.STANDBY: 0, WorkerStatus.AVAILABLE: 1, WorkerStatus.DRAINING: 2}


class PoolError(ApplianceError):
    """The pools cannot be as they are wanted."""


class NoRoom(PoolError):
    """There is no memory for further workers now."""


def require_room(before: Sequence[Pool], after: Sequence[Pool], free_bytes: int | None = None) -> None:
    """Raise NoRoom if there is no memory for the workers that the pools have more than before."""
    workers = sum(pool.size for pool in before)
    replaced = sum(min(was.size, pool.size) for was in before for pool in after if _replaces(pool, was))
    further = sum(pool.size for pool in after) - workers + replaced
    free = _free_bytes(workers) if free_bytes is None else free_bytes
    if further > 0 and free < further * WORKER_BYTES:
        needed = further * WORKER_BYTES // 2**20
        raise NoRoom(
            f"{further} more workers need {needed} MiB of memory, and {free // 2**20} MiB are free",
            "Make another pool smaller first, or take fewer workers: docs/sizing.md."
            + " Or change options while the appliance is down." * bool(replaced),
        )


def _replaces(pool: Pool, was: Pool) -> bool:
    """Return whether a pool has other options than it had: its workers end only when the new ones have started."""
    return pool.key == was.key and not pool.runs_as(was)


def _free_bytes(workers: int) -> int:
    """Return what is free on this machine; in a container, what its limit leaves beside so many workers."""
    return max(0, min(psutil.virtual_memory().available, resources.memory_bytes() - workers * WORKER_BYTES))


def unclaimed_bytes(settings: Settings, own: Iterable[WorkerInfo], leaving: Iterable[str] = ()) -> int:
    """Return what is free on this machine beyond what the workers of all pools may still take, WORKER_BYTES each.

    `own` are this appliance's workers; `leaving` names those that still run and are in no pool. In a container, its
    limit counts.
    """
    used = {worker.name: worker.memory_bytes for worker in own}
    promised = {name: max(WORKER_BYTES, used.get(name, 0)) for name in {*settings.worker_names, *leaving}}
    still_to_come = sum(size - used.get(name, 0) for name, size in promised.items())
    free = psutil.virtual_memory().available - still_to_come
    return max(0, min(free, resources.memory_bytes() - sum(promised.values())))


def require_usable(pool: Pool, settings: Settings) -> None:
    """Raise LaunchError if a pool's driver or browser is missing; the hint says how it is installed."""
    own = drivers.for_pool(pool, settings)
    browsers.driver_folder(own)
    browsers.find(pool.browser, own)


@contextmanager
def resizing(settings: Settings) -> Iterator[Settings]:
    """Let nobody else change the pools meanwhile; yield the settings with the pools as they are then."""
    lock = os.open(settings.paths.workers, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield pool_file.as_written(settings)
    finally:
        os.close(lock)


def resize(settings: Settings, pools: Sequence[Pool], grid: Grid) -> list[str]:
    """Change an appliance's pools to these; `settings` are those of `resizing`. Return the names of workers that leave.

    Raises PoolError, SupervisorError and StoreUnavailable.
    """
    supervisor, own = Supervisor(settings.run_dir), _own(settings, grid)
    running = {process.name for process in supervisor.processes()}
    try:
        placed = place(pools, settings.pool_by_name, _in_order_of_leaving(settings, own), running)
    except ValueError as error:
        raise PoolError(str(error), "Take fewer workers.") from error
    after = settings.as_placed(placed)
    folders.make_folders(after, placed.keys() - settings.pool_by_name.keys())
    pool_file.write(after)
    leaving = supervisor.keep_workers(placed)
    _tell_teams(settings, after, own, grid)
    _let_go(leaving, _own(settings, grid), supervisor, grid)
    return leaving


def _own(settings: Settings, grid: Grid) -> list[WorkerInfo]:
    return [worker for worker in grid.workers() if worker.appliance == settings.appliance_name]


def _in_order_of_leaving(settings: Settings, own: Iterable[WorkerInfo]) -> list[str]:
    """Return the names of all workers: first the missing ones, then by the number of sessions."""
    known = {worker.name: worker for worker in own}
    newest_first = settings.worker_names[::-1]

    def cost(name: str) -> tuple[int, int]:
        worker = known.get(name)
        return (-1, 0) if worker is None else (worker.active, _LEAVES_FIRST[WorkerStatus(worker.status)])

    return sorted(newest_first, key=cost)


def _tell_teams(before: Settings, after: Settings, own: Iterable[WorkerInfo], grid: Grid) -> None:
    """Tell Redis the sizes of all teams; a team that is gone, or is left by an earlier change, gets the size 0."""
    minor_of_own = minor_version(browsers.driver_version(after))
    gone = {(pool.browser, pool.minor_in_grid(minor_of_own)) for pool in before.all_pools}
    gone |= {(Browser(worker.browser), worker.minor) for worker in own}
    sizes = {(pool.browser, pool.minor_in_grid(minor_of_own)): (pool.workers, pool.spares) for pool in after.all_pools}
    for (browser, minor), (target, spares) in {**dict.fromkeys(gone, (0, 0)), **sizes}.items():
        grid.resize_team(after.appliance_name, browser, minor, target=target, spares=spares)


def _let_go(leaving: Sequence[str], own: Iterable[WorkerInfo], supervisor: Supervisor, grid: Grid) -> None:
    """Drain the workers that leave, and stop those that have not registered yet."""
    ids = {worker.name: worker.id for worker in own}
    for name in leaving:
        if name in ids:
            grid.drain_worker(ids[name], _REASON)
    for name in leaving:
        if name not in ids:
            _stop(name, supervisor)


def _stop(name: str, supervisor: Supervisor) -> None:
    """Stop a worker, unless it ends already."""
    try:
        supervisor.stop_process(name)
    except SupervisorError:
        if any(one.name == name and one.started for one in supervisor.processes()):
            raise
