"""Checks of the machine: folders, disk, memory, limits, the port."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Callable, Iterator

import psutil

from appliance.checks.check import Check, failed, ok, warning
from appliance.errors import SettingsError
from appliance.machine import certificate, room
from appliance.machine.start_stop import require_free_port
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
    remedy = "Free some space: downloads, uploads and browser profiles are kept there."
    if lack := room.shortage(settings.run_dir):
        yield failed("disk", f"{settings.run_dir} has {lack}", remedy)
    elif lack := room.shortage(settings.run_dir, _ENOUGH_BYTES):
        yield warning("disk", f"{settings.run_dir} has {lack}", remedy)
    else:
        yield ok("disk", f"{settings.run_dir} has at least {_ENOUGH_BYTES // 2**30} GiB free")


def check_memory(settings: Settings) -> Iterator[Check]:
    """There is enough memory for the workers."""
    total, workers = psutil.virtual_memory().total, sum(map(settings.processes_of, Browser))
    found = f"{total / 2**30:.1f} GiB for {workers} workers"
    if total < workers * _WORKER_BYTES:
        yield warning("memory", found, "Lower CHROMIUM_WORKERS, FIREFOX_WORKERS or WEBKIT_WORKERS.")
    else:
        yield ok("memory", found)


def check_shared_memory(settings: Settings) -> Iterator[Check]:
    """Containers often have 64 MB of /dev/shm, too little for browsers that render pages there."""
    size = shutil.disk_usage(_SHM).total
    found = f"{_SHM} has {size // 2**20} MiB"
    if size < _MIN_SHM_BYTES and settings.workers_of(Browser.FIREFOX) + settings.workers_of(Browser.CHROMIUM):
        yield warning(_SHM, found, "Give it 1 GiB: docker run --shm-size=1g, or mount it with size=1g.")
    else:
        yield ok(_SHM, found)


def check_open_files(settings: Settings) -> Iterator[Check]:
    """The proxy can open enough connections."""
    sessions = sum(settings.pools.values()) * settings.max_concurrent_sessions + settings.queue_max_length
    needed = sessions * _FILES_PER_SESSION + _OTHER_FILES
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]  # as far as the proxy raises its own
    found = f"{'any number' if hard == resource.RLIM_INFINITY else hard} allowed, {needed} needed"
    if resource.RLIM_INFINITY != hard < needed:
        remedy = f"Raise it before `applctl up`, as root: ulimit -Hn {needed}; for a service: LimitNOFILE={needed}"
        yield warning("open files", found, remedy)
    else:
        yield ok("open files", found)


def check_certificate(settings: Settings) -> Iterator[Check]:
    """The certificate and its key can be used."""
    if not settings.tls_cert:
        return
    try:
        certificate.require_usable(settings.tls_cert, settings.tls_key)
    except SettingsError as error:
        yield failed("certificate", str(error), error.hint or "Fix the file. A running proxy keeps the last good one.")
    else:
        yield ok("certificate", f"{settings.tls_cert} and its key can be used")


def check_port(settings: Settings) -> Iterator[Check]:
    """The port is free, or this appliance uses it."""
    if Supervisor(settings.run_dir).running():
        return  # the check of the proxy says whether it answers
    try:
        require_free_port(settings)
    except SettingsError as error:
        yield failed("port", str(error), error.hint)
    else:
        yield ok("port", f"{settings.host} port {settings.port} is free")


def check_proxy(settings: Settings) -> Iterator[Check]:
    """Browsers do not use the proxy that this shell names."""
    named = [name for name in _PROXIES if os.environ.get(name)]
    if settings.browser_proxy:
        yield ok("browser proxy", f"browsers use {upstream_proxy(settings.browser_proxy).server}")
    elif named:
        found = f"this shell sets {', '.join(named)}, which browsers ignore"
        yield warning("browser proxy", found, "If browsers need that proxy, set BROWSER_PROXY to it.")


CHECKS: tuple[Callable[[Settings], Iterator[Check]], ...] = (
    check_run_dir,
    check_disk,
    check_memory,
    check_shared_memory,
    check_open_files,
    check_certificate,
    check_port,
    check_proxy,
)
