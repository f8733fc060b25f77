"""Checks of the running appliance, by one look at it."""

from __future__ import annotations

import fcntl
import os
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

from appliance.audit import audit
from appliance.checks.check import Check, failed, ok, warning
from appliance.checks.on_demand import check_on_demand
from appliance.checks.view import GridView, look
from appliance.grid.grid import open_grid
from appliance.grid.values import WorkerStatus
from appliance.machine import pool_file
from appliance.machine.environment import started_settings
from appliance.machine.record import record_of
from appliance.request_errors import StoreUnavailable
from appliance.run_dir import RunDir
from appliance.settings import config
from appliance.settings.config import Settings
from appliance.settings.redis_url import mask


def check_running(settings: Settings) -> Iterator[Check]:
    """Look at the appliance, and make the checks of this file."""
    started = started_settings(settings)
    view = look(started or settings)
    for check in _CHECKS:
        yield from check(view)
    if started:
        yield from check_changes(settings, started)


def check_supervisord(view: GridView) -> Iterator[Check]:
    """There is a supervisord for this RUN_DIR."""
    if view.running:
        yield ok("supervisord", f"runs as process {view.supervisor_pid}")
    else:
        yield warning("supervisord", "; ".join(view.problems), "Start the appliance: applctl up.")


def check_processes(view: GridView) -> Iterator[Check]:
    """All processes are alive."""
    if not view.running:
        return
    wrong = [f"{process.name} is {process.state}" for process in view.processes if not process.started]
    if wrong:
        yield failed("processes", "; ".join(wrong), "See the log: applctl logs NAME. Then: applctl restart NAME.")
    else:
        yield ok("processes", f"all {len(view.processes)} are running")


def check_workers(view: GridView) -> Iterator[Check]:
    """Every configured worker is registered."""
    if not view.running:
        return
    if view.redis_error:
        yield failed("workers", view.redis_error, "Workers cannot be seen without Redis: fix that first.")
        return
    configured = len(view.settings.worker_names)
    found = f"{configured - len(view.missing)} of {configured} are registered"
    if view.missing and _is_drained(view):
        yield warning("workers", f"{found}; the others of this drained appliance are restarting", "Wait for them.")
    elif view.missing:
        remedy = f"A worker that was just recycled is back soon. Otherwise see: applctl logs {view.missing[0]}"
        yield failed("workers", f"{found}; missing: {', '.join(view.missing)}", remedy)
    else:
        yield ok("workers", found)


def _is_drained(view: GridView) -> bool:
    return record_of(view.settings).read().drained


_TOLD = {"isolation": "isolation", "channel": "channel", "concurrency": "max_concurrent_sessions",
         "quota": "max_lifetime_sessions"}  # fmt: skip


def check_pools_alike(view: GridView) -> Iterator[Check]:
    """The workers of a pool are alike on all appliances: sessions get one of any."""
    for browser, version in sorted({(one.browser, one.minor) for one in view.workers}):
        pool = [
            one
            for one in (*view.workers, *view.other_workers)
            if (one.browser, one.minor) == (browser, version) and one.status != WorkerStatus.DRAINING
        ]
        for field, option in _TOLD.items():
            found = {one.appliance: str(getattr(one, field)) for one in pool}
            if len(set(found.values()) - {""}) > 1:
                told = ", ".join(f"{name}: {value or 'unknown'}" for name, value in sorted(found.items())[:_SHOWN])
                finding = f"appliances differ in {option} of {browser} {version} ({told})"
                yield warning("pools", finding, "Give them the same settings, or `applctl pools set`: docs/pools.md.")


def check_proxy(view: GridView) -> Iterator[Check]:
    """The proxy answers, and has a worker for new sessions."""
    if not view.running:
        return
    if view.ready:
        yield ok("proxy", f"{view.settings.endpoint} accepts sessions")
    elif view.proxy_answers and _is_drained(view):
        yield warning("proxy", "the appliance is drained", "To put it back in service: applctl appliance undrain")
    elif view.proxy_answers:
        yield failed("proxy", f"it answers, but is not ready: {view.not_ready_because}", "Fix what failed above first.")
    else:
        yield failed("proxy", view.not_ready_because, "See its log: applctl logs proxy.")


def check_audit(view: GridView) -> Iterator[Check]:
    """Redis agrees with this machine's sockets, processes and folders."""
    if not view.running or view.redis_error:
        return
    try:
        with open_grid(view.settings) as grid:
            done = audit(view.settings, grid)
    except StoreUnavailable as error:
        yield failed("audit", str(error), "Fix that, then run `applctl doctor` again.")
        return
    for difference in done.differences:
        yield failed("audit", difference.text, difference.remedy)
    if not done.differences:
        counted = f"sessions: {done.sessions}, workers: {done.workers}"
        yield ok("audit", f"Redis, sockets, processes and folders agree ({counted})")


def check_workspaces(view: GridView) -> Iterator[Check]:
    """No worker left temporary files. While the appliance runs, the audit checks that."""
    if view.running and not view.redis_error:
        return
    left = [str(folder) for folder in _workspaces(view.settings.run_dir) if _is_abandoned(folder)]
    if left:
        remedy = f"The next worker that starts removes them. Or: rm -r {shlex.join(left)}"
        yield warning("workspaces", f"{len(left)} folders are left by workers that are gone", remedy)
    else:
        yield ok("workspaces", "no worker left temporary files")


_SHOWN = 5  # appliances that a finding names
_POOL_SETTINGS = {"chromium_workers", "firefox_workers", "webkit_workers", "pools", "spare_workers"}


def check_changes(settings: Settings, started: Settings) -> Iterator[Check]:
    """The appliance was started with the current settings, or its pools have been changed to them since."""
    excluded = {"appliance_token"}  # it is not kept
    running = [pool for pool in pool_file.as_written(started).all_pools if not pool.on_demand]
    if sorted(running) == sorted(settings.all_pools):
        excluded |= _POOL_SETTINGS
    now, then = (one.model_dump(exclude=excluded) for one in (settings, started))
    changed = [name for name in now if now[name] != then[name]]
    if changed:
        differences = [
            f"{name.upper()}={config.as_text(mask(then[name]))} (here {config.as_text(mask(now[name]))})"
            for name in changed
        ]
        yield warning(
            "changes",
            f"The running appliance uses different settings from this shell: {', '.join(differences)}",
            "`applctl restart` applies those of this shell. To keep the others, set them in the settings file "
            f"{config.settings_file()}.",
        )
    else:
        yield ok("changes", "the running appliance uses the current settings")


def _workspaces(run_dir: Path) -> list[Path]:
    return sorted(path for path in RunDir(run_dir).workers.glob("*/*/"))


def _is_abandoned(folder: Path) -> bool:
    """A worker holds a lock in its folder while it lives (workers/workspace.py)."""
    try:
        lock = os.open(RunDir.lock_in(folder), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:  # just being made, or just removed
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True


_CHECKS: tuple[Callable[[GridView], Iterator[Check]], ...] = (
    check_supervisord,
    check_processes,
    check_workers,
    check_pools_alike,
    check_proxy,
    check_on_demand,
    check_audit,
    check_workspaces,
)
