"""`applctl drivers`: list, add and remove the drivers of other Playwright versions."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import click

from appliance.checks import on_demand
from appliance.cli.command import command, group
from appliance.cli.output import Output, table
from appliance.errors import SupervisorError
from appliance.grid.grid import open_grid
from appliance.machine import browsers
from appliance.machine import drivers as installed
from appliance.machine.environment import started_settings
from appliance.machine.install.driver import add_driver, pools_of, remove_driver
from appliance.names import minor_version
from appliance.request_errors import StoreUnavailable
from appliance.settings import config
from appliance.settings.config import Settings


@group("applctl drivers list", "applctl drivers add 1.62", "applctl drivers remove 1.62")
def drivers() -> None:
    """List, add and remove drivers of other Playwright versions.

    A client needs a driver of its own major.minor version. The appliance has one; others, with pools of their own
    (POOLS), let clients of other versions use the same endpoint.
    """


@command("applctl drivers list", "applctl drivers list --json | jq -r '.[].version'", name="list", of=drivers)
def list_(out: Output) -> list[dict[str, Any]]:
    """List the drivers of this machine.

    Shows which clients each serves, which pools use it, and whether clients of other versions get one on demand.
    """
    settings = config.load()
    rows = [_own(settings), *(_added(driver, settings) for driver in installed.added(settings))]
    shown = table("VERSION", "CLIENTS", "POOLS", "FOLDER")
    for row in rows:
        shown.add_row(row["version"], f"{row['minor']}.*", ", ".join(row["pools"]) or "-", str(row["folder"]))
    out.show(shown)
    out.say(of_other_clients(settings))
    return rows


def of_other_clients(settings: Settings) -> str:
    """Say what clients of other Playwright versions get from the appliance, as it runs or would run."""
    lacking = {}
    with suppress(SupervisorError, StoreUnavailable):  # `applctl doctor` says so
        if started := started_settings(settings):
            settings = started
            with open_grid(settings) as grid:
                lacking = grid.lacking_drivers(list(installed.CONFINED))
    return on_demand.describe(settings, lacking)


@command("applctl drivers add 1.62", "applctl drivers add 1.62.0", of=drivers)
@click.argument("version")
def add(out: Output, version: str) -> dict[str, Any]:
    """Add the driver of a Playwright version.

    VERSION is major.minor, for the newest patch of it, or major.minor.patch. pip fetches the official wheel from the
    package index that it is configured for, and checks its hash. A driver that the appliance cannot confine is refused.
    POOLS says how many workers run it.
    """
    settings = config.load()
    with out.busy(f"Adding Playwright {version}"):
        driver, is_new = add_driver(version, settings, out.say)
    out.say(f"{'Added' if is_new else 'It is there already:'} Playwright {driver.version}, in {driver.folder}.")
    if not pools_of(driver, settings):
        out.say(f"To serve its clients: applctl pools add chromium@{driver.minor}")
    return _added(driver, settings) | {"added": is_new}


@command("applctl drivers remove 1.62", of=drivers)
@click.argument("version")
def remove(out: Output, version: str) -> dict[str, Any]:
    """Remove the driver of a Playwright version.

    VERSION is major.minor, for all its patches, or major.minor.patch. A driver that a pool uses is not removed.
    """
    settings = config.load()
    removed = remove_driver(version, settings, started_settings(settings))
    out.say(f"Removed Playwright {', '.join(driver.version for driver in removed)}.")
    return {"removed": [driver.version for driver in removed]}


def _own(settings: Settings) -> dict[str, Any]:
    """Return the row of the appliance's own driver, whose wheel is not known."""
    version, folder = browsers.driver_version(settings), browsers.driver_folder(settings)
    pools = [str(pool) for pool in settings.all_pools if not pool.version]
    return {"version": version, "sha256": "", "folder": folder, "minor": minor_version(version), "pools": pools}


def _added(driver: installed.Driver, settings: Settings) -> dict[str, Any]:
    return installed.as_data(driver) | {"pools": pools_of(driver, settings)}
