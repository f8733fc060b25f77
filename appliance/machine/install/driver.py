"""Drivers of other Playwright versions: fetched by pip, tried, and put into DRIVERS_DIR whole or not at all.

pip takes the wheel from the package index that it is configured for, and refuses one whose hash is not what the index
publishes. Nothing of a wheel runs before that, and of its parts only the driver is kept.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from appliance.errors import ApplianceError
from appliance.machine import browsers, drivers, kernel, room
from appliance.machine.drivers import CONFINED, Driver
from appliance.machine.install.pip_words import why_pip_failed
from appliance.machine.install.programs import Say
from appliance.machine_errors import remedy_of
from appliance.names import minor_version
from appliance.settings.config import Settings
from appliance.settings.installation import installation_root

_VERSION = re.compile(r"\d+\.\d+(\.\d+)?", re.ASCII)
_WHEEL = re.compile(r"playwright-(?P<version>\d+\.\d+\.\d+)-.*\.whl", re.ASCII)
_INSIDE = "playwright/driver/"
_NEEDED_BYTES = 512 * 2**20  # for the wheel, and for what is in it
_PIP_TIMEOUT_S = 900  # of a slow line
_TRIAL_TIMEOUT_S = 90
_BEING_ADDED, _BEING_REMOVED = ".adding-", ".removing-"


class DriverError(ApplianceError):
    """A driver cannot be added or removed."""


def add_driver(
    wanted: str,
    settings: Settings,
    say: Say,
    pip_environment: Mapping[str, str] | None = None,
    within_s: float = _PIP_TIMEOUT_S,
) -> tuple[Driver, bool]:
    """Add the driver of a version: "1.62" for its newest patch, or "1.62.0".

    Return it, and whether it is new. `say` announces each longer step. The download may take `within_s`. Raises
    DriverError and LaunchError.
    """
    _require_servable(wanted, settings)
    with _changing(settings) as folder:
        known = {driver.version: driver for driver in drivers.added(settings)}
        if wanted in known:
            return known[wanted], False
        if lack := room.shortage(folder, _NEEDED_BYTES):
            raise DriverError(f"{folder} has {lack}; a driver needs {_NEEDED_BYTES // 2**20} MiB while it is added",
                              "Free some space, or set DRIVERS_DIR to another folder.")  # fmt: skip
        place = Path(tempfile.mkdtemp(prefix=_BEING_ADDED, dir=folder))
        try:
            say(f"fetching Playwright {wanted} from the package index")
            wheel, version = _fetch(wanted, place, pip_environment or {}, within_s)
            if version in known:
                return known[version], False
            say(f"trying the driver of Playwright {version}")
            return _install(wheel, version, place, folder), True
        except zipfile.BadZipFile as error:
            raise DriverError(f"what the package index offers as Playwright {wanted} is no wheel: {error}") from error
        finally:
            shutil.rmtree(place, ignore_errors=True)


def remove_driver(named: str, settings: Settings, also_used: Settings | None) -> list[Driver]:
    """Remove the drivers of a version, "1.62.0", or of all its patches, "1.62"; return them.

    `also_used` are the settings that the appliance runs with. Raises DriverError if there is no such driver, or if a
    pool of either settings uses one.
    """
    with _changing(settings) as folder:
        found = [one for one in drivers.added(settings) if named in (one.version, one.minor)]
        if not found:
            raise DriverError(
                f"there is no driver of Playwright {named} in {folder}", "`applctl drivers list` lists all."
            )
        for driver in found:
            if driver.folder.parent == drivers.shipped():
                raise DriverError(f"Playwright {driver.version} came with the image", "Build the image without it.")
            for one in filter(None, (settings, also_used)):
                _require_unused(driver, one)
            _require_not_running(driver)
        for driver in found:
            gone = Path(tempfile.mkdtemp(prefix=_BEING_REMOVED, dir=folder)) / "driver"
            driver.folder.rename(gone)
            shutil.rmtree(gone.parent)
        return found


def pools_of(driver: Driver, settings: Settings) -> list[str]:
    """Return the pools that a driver serves, as POOLS has them."""
    newest = next(one for one in drivers.added(settings) if one.minor == driver.minor)
    return [str(pool) for pool in settings.all_pools if pool.version == driver.minor and driver == newest]


def _require_servable(wanted: str, settings: Settings) -> None:
    if not _VERSION.fullmatch(wanted):
        raise DriverError(
            f"{wanted!r} is no version of Playwright", "Name one like 1.62, or a patch of it like 1.62.0."
        )
    minor = minor_version(wanted)
    if why := drivers.why_not_confined(minor):
        raise DriverError(f"Playwright {minor} cannot be served: {why}", f"Served: {', '.join(CONFINED)}.")
    if minor == minor_version(own := browsers.driver_version(settings)):
        raise DriverError(f"the appliance's own driver has that version: {own}", "Set CHROMIUM_WORKERS for its pool.")


def _require_unused(driver: Driver, settings: Settings) -> None:
    """Raise DriverError if a pool uses it; a worker that restarts would find nothing."""
    if used := pools_of(driver, settings):
        raise DriverError(f"Playwright {driver.version} is used by the pool {', '.join(used)}",
                          "Remove the pool with `applctl pools remove`, then the driver.")  # fmt: skip


def _require_not_running(driver: Driver) -> None:
    """Raise DriverError if a worker runs it, as one does that has not restarted since a newer patch was added."""
    program = str(driver.folder / "node")
    pids = [str(process.pid) for process in psutil.process_iter(["exe"]) if process.info["exe"] == program]
    if pids:
        raise DriverError(f"Playwright {driver.version} is run by process {', '.join(pids)}",
                          "Workers that restart run the newest patch: `applctl restart`. Then remove it.")  # fmt: skip


@contextmanager
def _changing(settings: Settings) -> Iterator[Path]:
    """Let nobody else change DRIVERS_DIR meanwhile, and remove what a crash has left there; return it."""
    folder = settings.drivers_dir
    try:
        if not folder.is_dir():
            folder.mkdir(parents=True)
            folder.chmod(0o755)  # whatever the umask: workers with accounts of their own read there
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for left in [*folder.glob(f"{_BEING_ADDED}*"), *folder.glob(f"{_BEING_REMOVED}*")]:
                shutil.rmtree(left)
            yield folder
        finally:
            os.close(lock)
    except BlockingIOError:
        raise DriverError(
            f"another `applctl drivers` is changing {folder}", "Run this again when it is done."
        ) from None
    except OSError as error:
        raise DriverError(f"{folder} cannot be changed: {error.strerror}",
                          remedy_of(error) or "Set DRIVERS_DIR to another folder.") from error  # fmt: skip


def _fetch(wanted: str, place: Path, more: Mapping[str, str], within_s: float) -> tuple[Path, str]:
    """Let pip fetch a wheel; return it and its version. `more` is for its environment."""
    exact = wanted if wanted.count(".") == 2 else f"{wanted}.*"  # two dots: a patch is named
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--no-cache-dir", "--retries=1", "--timeout=20"]
    environment = {**os.environ, **more, "TMPDIR": str(place)}  # else a small /tmp would have to hold it
    try:
        done = subprocess.run(
            [*command, f"--dest={place}", f"playwright=={exact}"],
            env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=within_s, check=False,
            preexec_fn=kernel.bound_to_parent(signal.SIGKILL),
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise DriverError(
            f"Playwright {wanted} was not fetched within {within_s:g} s", f"Run `applctl drivers add {wanted}`."
        ) from error
    wheels = [(file, found["version"]) for file in place.iterdir() if (found := _WHEEL.fullmatch(file.name))]
    if done.returncode or not wheels:
        raise DriverError(*why_pip_failed(done.stderr, wanted, place.parent))
    return wheels[0]


def _install(wheel: Path, version: str, place: Path, parent: Path) -> Driver:
    """Unpack a wheel's driver, try it, and give it its name, which makes it count."""
    unpacked = place / "driver"
    _unpack(wheel, unpacked)
    with wheel.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    _require_confined(unpacked, version)
    drivers.describe(unpacked, version, digest)
    _close_to_writers(unpacked)
    final = parent / version
    unpacked.rename(final)
    _sync(parent)
    return Driver(version, digest, final)


def _unpack(wheel: Path, folder: Path) -> None:
    """Unpack the driver of a wheel, each file safely on the disk: a crash later leaves no half of one."""
    with zipfile.ZipFile(wheel) as archive:
        members = [one for one in archive.infolist() if one.filename.startswith(_INSIDE) and not one.is_dir()]
        for member in members:
            target = folder / member.filename.removeprefix(_INSIDE)
            if ".." in target.parts:
                raise zipfile.BadZipFile(f"{member.filename} leads elsewhere")
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, target.open("wb") as out:
                shutil.copyfileobj(source, out, 2**20)
                out.flush()
                os.fsync(out.fileno())
            target.chmod(0o755 if member.external_attr >> 16 & 0o100 else 0o644)
    if not (folder / "node").is_file():
        raise zipfile.BadZipFile("it holds no driver")


def _require_confined(folder: Path, version: str) -> None:
    """Raise DriverError unless workers/preload can be installed in a driver, as a worker does."""
    command = [sys.executable, "-m", "workers.trial", str(folder)]
    done = subprocess.run(
        command, cwd=installation_root(), capture_output=True, text=True, timeout=_TRIAL_TIMEOUT_S, check=False
    )
    if done.returncode:
        said = done.stderr.strip().replace(str(folder), version)
        raise DriverError(f"Playwright {version} cannot be confined: {said[-300:]}",
                          "It was not added: its sessions could do what this grid refuses.")  # fmt: skip


def _close_to_writers(folder: Path) -> None:
    """Let everybody read a folder, and nobody but its owner write there."""
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError as error:  # some file systems know no such thing
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(handle)
