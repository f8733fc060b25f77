"""The drivers of other Playwright versions than the appliance's own: which can be confined, and where they are.

Each is the folder `playwright/driver` of an official wheel, in a folder of its own below DRIVERS_DIR, named by its
version. `applctl drivers add` puts it there whole or not at all (appliance/machine/install/driver.py); nothing changes
in it afterwards. All workers share it.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from appliance.errors import LaunchError
from appliance.machine import browsers
from appliance.names import minor_version
from appliance.settings.config import Settings
from appliance.settings.installation import installation_root
from appliance.settings.pools import AUTO, Pool

# The minors whose drivers workers/preload confines: tests/attacks passed with each. And what is different in them.
CONFINED = {
    "1.58": "its server is hundreds of modules; a page's agent reads and writes files",
    "1.59": "its server is hundreds of modules; contexts record HARs",
    "1.60": "time-outs are parameters; a wait is told by waitForEventInfo, a method, and not by __waitInfo__",
    "1.61": "",
    "1.62": "the first that films a stock Firefox",
    "1.63": "the first with Debugger.enable",
    "1.64": "its package.json names a beta, 1.64.0-beta-…, for the wheel 1.64.1",
    "1.65": "does not start a stock Firefox 153: it knows no emulation.setMediaFeaturesOverride",
}

# Why drivers of other minors are not installed. One that is not confined would offer its clients all that it can do.
_UNTESTED = "this release of the appliance was not tested with it"

_DESCRIPTION = "driver.json"
_FOLDER = re.compile(r"\d+\.\d+\.\d+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Driver:
    """A driver that was added: the wheel's version and SHA-256, and the folder that holds `node` and `package/`."""

    version: str
    sha256: str
    folder: Path

    @property
    def minor(self) -> str:
        """The version of the clients that it serves."""
        return minor_version(self.version)

    @property
    def order(self) -> tuple[int, ...]:
        """What sorts drivers by their versions."""
        return tuple(map(int, self.version.split(".")))


def why_not_confined(minor: str) -> str:
    """Return why drivers of a minor version are not run, or ""."""
    return "" if minor in CONFINED else _UNTESTED


def on_demand(settings: Settings) -> list[str]:
    """Return the versions that clients may get on demand, by DRIVERS; the own driver's is not among them."""
    own = minor_version(browsers.driver_version(settings))
    named = CONFINED if AUTO in settings.drivers else settings.drivers
    return [minor for minor in named if minor in CONFINED and minor != own]


def describe(folder: Path, version: str, sha256: str) -> Driver:
    """Describe the driver in a folder, for `added` to find it."""
    driver = Driver(version, sha256, folder)
    (folder / _DESCRIPTION).write_text(json.dumps({"version": version, "sha256": sha256}))
    return driver


def added(settings: Settings) -> list[Driver]:
    """Return the drivers in DRIVERS_DIR, and those that an image was built with, the newest first."""
    found = {driver.version: driver for folder in (shipped(), settings.drivers_dir) for driver in _found(folder)}
    return sorted(found.values(), key=lambda driver: driver.order, reverse=True)


def shipped() -> Path:
    """Return the folder of the drivers that an image was built with (packer/provision/drivers.sh)."""
    return installation_root() / "shipped-drivers"


def _found(parent: Path) -> Iterator[Driver]:
    folders = parent.iterdir() if parent.is_dir() else ()
    for folder in folders:
        if _FOLDER.fullmatch(folder.name):
            try:
                described: dict[str, Any] = json.loads((folder / _DESCRIPTION).read_text())
            except (OSError, ValueError):  # being removed
                continue
            yield Driver(folder.name, str(described.get("sha256", "")), folder)


def find(minor: str, settings: Settings) -> Driver:
    """Return the driver for clients of a minor version, the newest patch; raises LaunchError if there is none."""
    if why := why_not_confined(minor):
        raise LaunchError(f"Playwright {minor} is not served: {why}", f"Served: {', '.join(CONFINED)}.")
    for driver in added(settings):
        if driver.minor == minor:
            return driver
    raise LaunchError(f"there is no driver of Playwright {minor} here", f"Run `applctl drivers add {minor}`.")


def changeable(driver: Driver) -> Path | None:
    """Return a part of a driver that other accounts than this one and root can change; its workers would run it."""
    package, library = driver.folder / "package", driver.folder / "package" / "lib"
    folders = [driver.folder.parent, driver.folder, package, library]
    for path in [*folders, driver.folder / "node", *library.iterdir()]:
        status = path.stat()
        if status.st_uid not in (0, os.geteuid()) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return path
    return None


def version_for_clients(settings: Settings) -> str:
    """Return the version that clients of the default browser need: the own driver's, if that has a pool of it."""
    pools = [pool for pool in settings.all_pools if pool.browser is settings.default_browser_type]
    return pools[0].version if pools and pools[0].version else browsers.driver_version(settings)


def for_worker(settings: Settings) -> Settings:
    """Return a worker's settings, with the driver and the options of its pool; raises LaunchError."""
    pool = settings.pool_by_name.get(settings.worker_name)
    return settings if pool is None else for_pool(pool, settings)


def for_pool(pool: Pool, settings: Settings) -> Settings:
    """Return the settings of a pool's workers, with its driver; raises LaunchError if that is missing."""
    try:
        own = settings.of_pool(pool)
    except ValueError as error:
        raise LaunchError(f"the pool {pool.name}: {error}", f"Run `applctl pools set {pool.name}`.") from error
    return own.model_copy(update={"playwright_driver": find(pool.version, settings).folder}) if pool.version else own


def as_data(driver: Driver) -> dict[str, Any]:
    """Return a driver as plain data."""
    return asdict(driver) | {"minor": driver.minor}
