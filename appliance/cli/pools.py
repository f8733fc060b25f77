"""`applctl pools`: list, add, change and remove pools of workers."""

from __future__ import annotations

import functools
from collections.abc import Callable
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
from appliance.names import minor_version, without_beside
from appliance.settings import config
from appliance.settings.config import Settings
from appliance.settings.pool_options import OPTIONS, SPARES
from appliance.settings.pools import Pool, further_pools

_IN_COLUMNS = {
    "isolation",
    "max_concurrent_sessions",
    "max_lifetime_sessions",
    SPARES,
    "channel",
    "executable",
    "headless",
}


@group("applctl pools list", "applctl pools add chromium@1.62 --workers 2", "applctl pools remove chromium@1.62")
def pools() -> None:
    """List, add, change and remove pools.

    A pool is the workers of one browser for clients of one Playwright version, with options of its own. One named like
    chromium/browser takes the sessions with isolation=browser of the pool chromium. A running appliance changes at
    once, and no session is harmed.
    """


@command("applctl pools list", "applctl pools list --json | jq -r '.[].pool'", name="list", of=pools)
def list_(out: Output) -> list[dict[str, Any]]:
    """List the pools of this appliance.

    Shows which clients each serves, how large it is, what a session has for itself unless it asks for something else,
    and where the pool is set. If the appliance runs, its current pools are shown. Sessions are those of the whole grid.
    """
    settings = current_settings()
    own, used = minor_version(browsers.driver_version(settings)), _capacity(settings)
    rows = [_row(pool, settings.of_pool(pool), pool.minor_in_grid(own), used) for pool in settings.all_pools]
    columns = (
        "Pool",
        "Clients",
        "Workers",
        "Spares",
        "Sessions each",
        "Recycled after",
        "Isolation",
        "Options",
        "Set by",
        "Sessions",
        "Waiting",
    )
    shown = table(*columns)
    for row in rows:
        shown.add_row(*("-" if value is None else str(value) for value in row.values()))
    out.show(shown if rows else "There are no pools: `applctl pools add chromium` adds one.")
    return rows


def _row(pool: Pool, settings: Settings, minor: str, used: dict[tuple[str, str], PoolCapacity]) -> dict[str, Any]:
    capacity = used.get((pool.browser, minor))
    return {
        "pool": pool.name,
        "clients": f"{without_beside(minor)}.*" + ", isolation=browser" * pool.is_beside,
        "workers": pool.workers,
        "spares": pool.spares,
        "sessions_each": settings.max_concurrent_sessions,
        "recycled_after": settings.max_lifetime_sessions or None,
        "isolation": settings.isolation.value,
        "options": _options(pool, settings),
        "set_by": _set_by(pool, settings),
        "active": capacity.active if capacity else 0,
        "waiting": capacity.waiting if capacity else 0,
    }


def _options(pool: Pool, settings: Settings) -> str:
    """Return which browser runs, and the pool's own options that no other column shows."""
    kind = settings.executable_of(pool.browser) or browsers.channel_of(pool.browser, settings)
    others = [f"{name}={value}" for name, value in pool.options if name not in _IN_COLUMNS]
    return " ".join([str(kind), *([] if settings.headless else ["headed"]), *others])


def _set_by(pool: Pool, settings: Settings) -> str:
    if pool.on_demand:
        return "a client"
    is_named = pool.key in [one.key for one in further_pools(settings.pools)]
    return "POOLS" if pool.minor or is_named else f"{pool.browser.upper()}_WORKERS"


def _capacity(settings: Settings) -> dict[tuple[str, str], PoolCapacity]:
    """Return what the grid's pools have to do; nothing if the appliance does not run."""
    if started_settings(config.load()) is None:
        return {}
    with open_grid(settings) as grid:
        return {(pool.browser, pool.version): pool for pool in grid.capacity()}


def _with_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command an option for each option of a pool; those that are given come as `options`."""

    @functools.wraps(function)
    def run(out: Output, **arguments: Any) -> Any:
        given = {name: arguments.pop(name) for name in OPTIONS}
        options = {name: value for name, value in given.items() if value is not None}
        return function(out, **arguments, options=options)

    for name, (_, said) in reversed(OPTIONS.items()):
        run = click.option(f"--{name.replace('_', '-')}", name, metavar="VALUE", help=said)(run)
    return run


@command(
    "applctl pools add chromium@1.62 --workers 2",
    "applctl pools add chromium@1.62 --isolation browser --channel chrome",
    of=pools,
)
@click.argument("pool")
@click.option("-w", "--workers", type=click.IntRange(1), default=1, show_default=True)
@_with_options
def add(out: Output, pool: str, workers: int, options: dict[str, str]) -> dict[str, Any]:
    """Add a pool.

    POOL is a browser, or a browser and a Playwright version whose driver is there: `applctl drivers add`. What its
    options do not say is as in the settings.
    """
    found = _find(pool)
    if found and not found.on_demand:  # one that is on demand is there for good from now on
        raise ApplianceError(f"there is a pool {found.name} of {found.workers}", f"applctl pools set {pool} {workers}")
    key = pool_key(pool)
    return change_sizes({key: workers}, out, {key: options} if options else {})


@command("applctl pools set chromium 6", "applctl pools set chromium@1.62 --channel ''", name="set", of=pools)
@click.argument("pool")
@click.argument("workers", type=click.IntRange(1), required=False)
@_with_options
def set_(out: Output, pool: str, workers: int | None, options: dict[str, str]) -> dict[str, Any]:
    """Set how many workers a pool has, or options of it.

    '' as a value takes an option out. Other options need other workers: new ones start, and those that are there end
    when their sessions have. `applctl scale` sets the numbers of several pools in one step.
    """
    found = _require(pool)
    if workers is None and not options:
        raise click.UsageError("Say how many workers, or name an option.")
    return change_sizes({found.key: workers or found.workers}, out, {found.key: options} if options else {})


@command("applctl pools remove chromium@1.62", of=pools)
@click.argument("pool")
def remove(out: Output, pool: str) -> dict[str, Any]:
    """Remove a pool.

    Its workers end with their last sessions. Clients that wait for it are refused.
    """
    return change_sizes({_require(pool).key: 0}, out)


def _find(name: str) -> Pool | None:
    key = pool_key(name)
    return next((pool for pool in current_settings().all_pools if pool.key == key), None)


def _require(name: str) -> Pool:
    if found := _find(name):
        return found
    there = ", ".join(pool.name for pool in current_settings().all_pools) or "none"
    raise ApplianceError(f"there is no pool {name}", f"The pools: {there}. `applctl pools add {name}` adds it.")
