"""Checks of the machine: folders, disk, memory, limits, the port."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from appliance import resources
from appliance.checks.check import Check, failed, ok, tried, warning
from appliance.machine import accounts, certificate, ports, room, user_ids
from appliance.machine.processes import left_over
from appliance.machine.supervisor import Supervisor
from appliance.names import Browser
from appliance.settings.config import Settings
from appliance.settings.proxies import upstream_proxy

_SHM = "/dev/shm"  # noqa: S108  # only looked at
_MIN_SHM_BYTES = 512 * 2**20
_ENOUGH_BYTES = 2**30
_WORKER_BYTES = 2**29  # what a browser takes with a few pages open, at least
_FILES_PER_SESSION = 2  # the client's connection and the worker's
_PROXIES = tuple(name for kind in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY") for name in (kind, kind.lower()))
_OTHER_FILES = 1300  # connections whose request is awaited, Redis, logs


def check_run_dir(settings: Settings) -> Iterator[Check]:
    """RUN_DIR, or the folder in which it will be created, can be written."""
    folder = settings.run_dir
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not os.access(folder, os.W_OK | os.X_OK):
        yield failed(
            "RUN_DIR",
            f"this account cannot write to {folder}",
            "Set RUN_DIR to another folder, or use the account that owns this one.",
        )
        return
    others = 0o006 if settings.browser_user else 0o077  # its own accounts pass through it (folders.py)
    if folder == settings.run_dir and folder.stat().st_mode & others:
        mode = "1771" if settings.browser_user else "700"
        yield warning("RUN_DIR", f"{folder} is open to other users", f"Run: chmod {mode} {folder}")
        return
    yield ok("RUN_DIR", f"{settings.run_dir} can be written")


def check_disk(settings: Settings) -> Iterator[Check]:
    """There is disk space for what browsers and their drivers write."""
    remedy = (
        "Free some space: downloads, uploads and browser profiles are kept there. Or set RUN_DIR to another folder."
    )
    if lack := room.shortage(settings.run_dir):
        yield failed("disk", f"RUN_DIR {settings.run_dir} has {lack}", remedy)
    elif lack := room.shortage(settings.run_dir, _ENOUGH_BYTES):
        yield warning("disk", f"RUN_DIR {settings.run_dir} has {lack}", remedy)
    else:
        yield ok("disk", f"{settings.run_dir} has at least {_ENOUGH_BYTES // 2**30} GiB free")


def check_memory(settings: Settings) -> Iterator[Check]:
    """There is enough memory for the workers."""
    total, workers = resources.memory_bytes(), len(settings.worker_names)
    found = f"{total / 2**30:.1f} GiB for {workers} workers"
    if total < workers * _WORKER_BYTES:
        remedy = "Lower CHROMIUM_WORKERS, FIREFOX_WORKERS, WEBKIT_WORKERS, or the numbers in POOLS."
        yield warning("memory", found, remedy)
    else:
        yield ok("memory", found)


def check_shared_memory(settings: Settings) -> Iterator[Check]:
    """Containers often have 64 MB of /dev/shm, too little for Firefox; drivers let Chromium do without."""
    size = shutil.disk_usage(_SHM).total
    found = f"{_SHM} has {size // 2**20} MiB"
    if size < _MIN_SHM_BYTES and settings.workers_of(Browser.FIREFOX):
        yield warning(_SHM, found, "Give it 1 GiB: docker run --shm-size=1g, or mount it with size=1g.")
    else:
        yield ok(_SHM, found)


def check_open_files(settings: Settings) -> Iterator[Check]:
    """The proxy can open enough connections."""
    slots = sum(pool.workers * settings.of_pool(pool).max_concurrent_sessions for pool in settings.all_pools)
    sessions = slots + settings.queue_max_length
    needed = sessions * _FILES_PER_SESSION + _OTHER_FILES
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]  # as far as the proxy raises its own
    found = f"{'any number' if hard == resource.RLIM_INFINITY else hard} allowed, {needed} needed"
    if resource.RLIM_INFINITY != hard < needed:
        remedy = f"Raise it before `applctl up`, as root: ulimit -Hn {needed}; for a service: LimitNOFILE={needed}"
        yield warning("open files", found, remedy)
    else:
        yield ok("open files", found)


def check_user_ids(settings: Settings) -> Iterator[Check]:
    """The user ids of workers are theirs alone."""
    if settings.browser_user:
        yield tried("user ids", partial(_require_user_ids, settings), "those of the workers are free")


def _require_user_ids(settings: Settings) -> None:
    accounts.require_free_uids(settings, settings.worker_names)
    user_ids.require_unshared(settings)


def check_certificates(settings: Settings) -> Iterator[Check]:
    """The certificates and their keys can be used, and read by who serves them."""
    remedy = "Fix the file. A running proxy keeps the last good one."
    for prefix in ("", "REDIS_"):
        names = (f"{prefix}TLS_CERT", f"{prefix}TLS_KEY")
        files = {name: getattr(settings, name.lower()) for name in names}
        if all(files.values()):
            check = partial(_require_certificate, settings, files, prefix)
            yield tried("certificate", check, f"{files[names[0]]} and its key can be used", remedy)


def _require_certificate(settings: Settings, files: dict[str, Path], prefix: str) -> None:
    tls_certificate, tls_key = files.values()
    certificate.require_usable(tls_certificate, tls_key, prefix)
    accounts.require_readable(settings, files)


def check_port(settings: Settings) -> Iterator[Check]:
    """The port is free. If the appliance runs, the check of the proxy says whether it answers."""
    if not (Supervisor(settings.run_dir).running() or left_over(settings.run_dir)):
        well = f"{settings.host} port {settings.port} is free"
        yield tried("port", partial(ports.require_free, settings), well)


def check_browser_proxy(settings: Settings) -> Iterator[Check]:
    """Browsers do not use the proxy that this shell names."""
    named = [name for name in _PROXIES if os.environ.get(name)]
    if settings.browser_proxy:
        yield ok("browser proxy", f"browsers use {upstream_proxy(settings.browser_proxy).server}")
    elif named:
        found = f"this shell sets {', '.join(named)}, which browsers ignore"
        yield warning("browser proxy", found, "If browsers need that proxy, set BROWSER_PROXY to it.")
