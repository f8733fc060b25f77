"""`applctl scale`: change how many workers the pools have, without a restart."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import click

from appliance.checks.programs import check_pools
from appliance.cli.command import command
from appliance.cli.output import Output
from appliance.grid.grid import open_grid
from appliance.machine import browsers
from appliance.machine.environment import started_settings
from appliance.names import minor_version, without_beside
from appliance.pools.resizing import PoolError, require_room, require_usable, resize, resizing
from appliance.settings import config
from appliance.settings import file as settings_file
from appliance.settings.config import Settings
from appliance.settings.networks import split
from appliance.settings.pools import Key, Pool, further_pools, parse_name, with_option

Options = Mapping[str, str]  # of a pool, by their names; "" takes one out


@command("applctl scale chromium=6", "applctl scale chromium=4 chromium@1.62=2 firefox=0")
@click.argument("sizes", metavar="POOL=WORKERS...", nargs=-1, required=True)
def scale(out: Output, sizes: tuple[str, ...]) -> dict[str, Any]:
    """Change how many workers pools have.

    POOL is a browser, for clients of the appliance's own Playwright version, or a browser and another version, like
    chromium@1.62. A running appliance changes at once: new workers start one after another. Workers that are removed
    drain first. The settings file keeps the numbers (CHROMIUM_WORKERS and so on, POOLS). 0 removes a pool.
    """
    return change_sizes(dict(_parse(size) for size in sizes), out)


def _parse(text: str) -> tuple[Key, int]:
    name, equals, number = text.partition("=")
    if not equals or not number.isdecimal():
        raise click.UsageError(f"{text!r} is not of the form POOL=WORKERS, like chromium=4 or chromium@1.62=2.")
    return pool_key(name), int(number)


def pool_key(name: str) -> Key:
    """Return the browser and the version of a pool's name; the version is "" for that of the own driver."""
    try:
        browser, minor = parse_name(name)
    except ValueError as error:
        raise click.UsageError(f"{error}.") from error
    own = minor_version(browsers.driver_version(config.load()))
    return browser, minor.removeprefix(own) if without_beside(minor) == own else minor


def change_sizes(
    sizes: Mapping[Key, int], out: Output, options: Mapping[Key, Options] = MappingProxyType({})
) -> dict[str, Any]:
    """Set the numbers of workers of some pools, and options: in the settings file, and in the appliance if it runs."""
    settings = config.load()
    values = settings_of(sizes, settings, options)
    _require_possible(sizes, _changed(values))
    running = started_settings(settings)
    if running is None:
        _keep(values, out)
        out.say("The appliance is not running: `applctl up` starts it with these pools.")
        return {"changed": list(values), "leaving": []}
    with resizing(running) as now, open_grid(now) as grid:
        pools = merged(now, sizes, options)
        require_room(now.all_pools, pools)
        _keep(values, out)
        leaving = resize(now, pools, grid)
    out.say(f"The pools are now: {', '.join(map(str, pools)) or 'none'}. `applctl status --watch` shows the workers.")
    if leaving:
        out.say(f"{', '.join(leaving)} will end when the last session there has, after DRAIN_TIMEOUT at most.")
    return {"changed": list(values), "leaving": leaving}


def _changed(values: Mapping[str, str]) -> Settings:
    """Return the settings with these values; "" takes one out, and what it was does not count."""
    unset = [name.lower() for name, value in values.items() if not value]
    overrides: dict[str, Any] = {name.lower(): value for name, value in values.items()}
    for pool in further_pools(split(values.get("POOLS", ""))):
        if f"{pool.browser}_workers" in unset:
            overrides[f"{pool.browser}_workers"] = pool.workers
    return config.load(**overrides)


def settings_of(
    sizes: Mapping[Key, int], settings: Settings, options: Mapping[Key, Options] = MappingProxyType({})
) -> dict[str, str]:
    """Return the settings that give these pools these sizes and options; "" for one that is to be taken out.

    A pool of the own driver is in its short form, CHROMIUM_WORKERS, unless it has options, or is in POOLS anyway.
    """
    before = {pool.key: pool for pool in further_pools(settings.pools)}
    named, values = dict(before), {}
    for key, size in sizes.items():
        pool = with_options(named.get(key, Pool(*key, 0))._replace(workers=size), options.get(key, {}))
        is_named = bool(size and (key[1] or pool.options or (key in named and key not in options)))
        named = {**named, key: pool} if is_named else {other: named[other] for other in named if other != key}
        if not key[1]:
            values[f"{key[0].upper()}_WORKERS"] = "" if is_named else str(size)
    if named != before:
        values["POOLS"] = ", ".join(map(str, named.values()))
    return values


def with_options(pool: Pool, options: Options) -> Pool:
    """Return a pool with some options changed."""
    for name, value in options.items():
        pool = with_option(pool, name, value)
    return pool


def merged(
    settings: Settings, sizes: Mapping[Key, int], options: Mapping[Key, Options] = MappingProxyType({})
) -> list[Pool]:
    """Return an appliance's pools with some of them changed. One that was on demand is there for good then."""
    pools = {pool.key: pool for pool in settings.all_pools}
    for key, size in sizes.items():
        pool = pools.get(key, Pool(*key, 0, settings.spare_workers))
        spares = settings.spare_workers if pool.on_demand else pool.spares
        pools[key] = with_options(pool._replace(workers=size, spares=spares, on_demand=False), options.get(key, {}))
    return [pool for pool in pools.values() if pool.workers]


def _require_possible(sizes: Mapping[Key, int], settings: Settings) -> None:
    """Raise an error that says what is missing, before anything is changed."""
    for pool in settings.all_pools:
        if pool.key in sizes:
            require_usable(pool, settings)
    for found in check_pools(settings):
        if found.status == "failed":
            raise PoolError(found.finding, found.remedy)


def _keep(values: Mapping[str, str], out: Output) -> None:
    file = settings_file.change({name: value or None for name, value in values.items()})
    for name in values:
        if name in os.environ:
            out.warn(f"Warning: the environment sets {name}, too, and will override {file} when the appliance starts.")
