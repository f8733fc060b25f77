"""`applctl pools`: list, add, change and remove pools of workers."""

from __future__ import annotations

from typing import Any

import click

from appliance.cli.command import command, group
from appliance.cli.connection import current_settings
from appliance.cli.output import Output, table
from appliance.cli.scale import change_sizes, pool_key
from appliance.errors import ApplianceError
from appliance.grid.grid import open_grid
from appliance.grid.records import PoolCapacity
from appliance.machine import browsers
from appliance.machine.environment import started_settings
from appliance.names import minor_version
from appliance.settings import config
from appliance.settings.config import Settings
from appliance.settings.pools import Pool


@group("applctl pools list", "applctl pools add chromium@1.62 --workers 2", "applctl pools remove chromium@1.62")
def pools() -> None:
    """List, add, change and remove pools.

    A pool is the workers of one browser for clients of one Playwright version. A running appliance changes at once, and
    no session is harmed.
    """


@command("applctl pools list", "applctl pools list --json | jq -r '.[].pool'", name="list", of=pools)
def list_(out: Output) -> list[dict[str, Any]]:
    """List the pools of this appliance.

    Shows which clients each serves, how large it is, what a session has for itself unless it asks for something else,
    and where the pool is set. If the appliance runs, its current pools are shown. Sessions are those of the whole grid.
    """
    settings = current_settings()
    own, used = minor_version(browsers.driver_version(settings)), _capacity(settings)
    rows = [_row(pool, settings, pool.minor or own, used) for pool in settings.all_pools]
    columns = (
        "Pool",
        "Clients",
        "Workers",
        "Spares",
        "Sessions each",
        "Isolation",
        "Options",
        "Set by",
        "Sessions",
        "Waiting",
    )
    shown = table(*columns)
    for row in rows:
        shown.add_row(*(str(value) for value in row.values()))
    out.show(shown if rows else "There are no pools: `applctl pools add chromium` adds one.")
    return rows


def _row(pool: Pool, settings: Settings, minor: str, used: dict[tuple[str, str], PoolCapacity]) -> dict[str, Any]:
    capacity = used.get((pool.browser, minor))
    return {
        "pool": pool.name,
        "clients": f"{minor}.*",
        "workers": pool.workers,
        "spares": pool.spares,
        "sessions_each": settings.max_concurrent_sessions,
        "isolation": settings.isolation.value,
        "options": _options(pool, settings),
        "set_by": _set_by(pool),
        "active": capacity.active if capacity else 0,
        "waiting": capacity.waiting if capacity else 0,
    }


def _options(pool: Pool, settings: Settings) -> str:
    """Return which browser runs, as the settings say."""
    program = getattr(settings, f"{pool.browser}_executable", None)
    channel = getattr(settings, f"{pool.browser}_channel", "")
    return " ".join(filter(None, [str(program or channel), "" if settings.headless else "headed"])) or "-"


def _set_by(pool: Pool) -> str:
    if pool.on_demand:
        return "a client"
    return "POOLS" if pool.minor else f"{pool.browser.upper()}_WORKERS"


def _capacity(settings: Settings) -> dict[tuple[str, str], PoolCapacity]:
    """Return what the grid's pools have to do; nothing if the appliance does not run."""
    if started_settings(config.load()) is None:
        return {}
    with open_grid(settings) as grid:
        return {(pool.browser, pool.version): pool for pool in grid.capacity()}


_workers = click.option("-w", "--workers", type=click.IntRange(1), default=1, show_default=True)


@command("applctl pools add chromium@1.62", "applctl pools add firefox --workers 2", of=pools)
@click.argument("pool")
@_workers
def add(out: Output, pool: str, workers: int) -> dict[str, Any]:
    """Add a pool.

    POOL is a browser, or a browser and a Playwright version whose driver is there: `applctl drivers add`.
    """
    found = _find(pool)
    if found and not found.on_demand:  # one that is on demand is there for good from now on
        raise ApplianceError(f"there is a pool {found.name} of {found.workers}", f"applctl pools set {pool} {workers}")
    return change_sizes({pool_key(pool): workers}, out)


@command("applctl pools set chromium 6", name="set", of=pools)
@click.argument("pool")
@click.argument("workers", type=click.IntRange(1))
def set_(out: Output, pool: str, workers: int) -> dict[str, Any]:
    """Set how many workers a pool has.

    `applctl scale` does the same for several pools in one step.
    """
    _require(pool)
    return change_sizes({pool_key(pool): workers}, out)


@command("applctl pools remove chromium@1.62", of=pools)
@click.argument("pool")
def remove(out: Output, pool: str) -> dict[str, Any]:
    """Remove a pool.

    Its workers end when their sessions have. Clients that wait for it are refused.
    """
    _require(pool)
    return change_sizes({pool_key(pool): 0}, out)


def _find(name: str) -> Pool | None:
    key = pool_key(name)
    return next((pool for pool in current_settings().all_pools if pool[:2] == key), None)


def _require(name: str) -> None:
    if not _find(name):
        there = ", ".join(pool.name for pool in current_settings().all_pools) or "none"
        raise ApplianceError(f"there is no pool {name}", f"The pools: {there}. `applctl pools add {name}` adds it.")
