"""Checks of programs: Python packages, the driver, browsers, ffmpeg, Redis."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from appliance.checks.check import Check, failed, ok, warning
from appliance.checks.shared_redis import require_usable_redis
from appliance.errors import LaunchError, SettingsError, StoreRefuses, StoreUnavailable
from appliance.grid.grid import Grid, open_grid
from appliance.machine import browsers, ffmpeg, sandbox
from appliance.machine.accounts import browser_prefix
from appliance.machine.install import MIN_REDIS, browser_version, find_redis
from appliance.machine.supervisor import Supervisor
from appliance.names import Browser
from appliance.settings.config import Settings

_DISTRIBUTION = "playwright-appliance"
_CLIENTS_SHARE = 0.8  # of the connections that Redis allows, beyond which a grid that grows runs into them


def check_packages(settings: Settings) -> Iterator[Check]:
    """The installed packages are those of setup.py, with which this version was tested."""
    wrong = [text for pin in requires(_DISTRIBUTION) or [] if (text := _deviation(pin))]
    python = ".".join(map(str, sys.version_info[:3]))
    if wrong:
        yield warning(
            "packages", f"they differ from setup.py: {', '.join(wrong)}", "Run `make up`, or install again with pip."
        )
    else:
        yield ok("packages", f"Python {python}, and the packages of setup.py")


def _deviation(requirement: str) -> str:
    """Compare one line of the metadata, `name==version`, with what is installed; "" if it agrees."""
    pin = re.match(r"([\w.-]+)==([^;\s]+)$", requirement)
    if not pin:  # a test's requirement: it has a marker
        return ""
    try:
        installed = version(pin[1])
    except PackageNotFoundError:
        return f"{pin[1]} is missing"
    return "" if installed == pin[2] else f"{pin[1]} {installed} instead of {pin[2]}"


def check_driver(settings: Settings) -> Iterator[Check]:
    """Playwright's driver is installed."""
    folder = browsers.driver_folder(settings)
    yield ok("driver", f"Playwright {browsers.driver_version(settings)} in {folder}")


def check_browsers(settings: Settings) -> Iterator[Check]:
    """Each pool's browser is installed and runs."""
    for browser, workers in settings.pools.items():
        if workers:
            yield _check_browser(browser, settings)


def _check_browser(browser: Browser, settings: Settings) -> Check:
    try:
        program = browsers.find(browser, settings)
    except LaunchError as error:
        return failed(browser, str(error), f"Run `applctl setup`. {error.hint}")
    found = browser_version(browser, program.path)
    if not found:
        remedy = "Run `applctl setup`. System libraries may be missing: as root, run playwright install-deps."
        return failed(browser, f"{program.path} does not run", remedy)
    return ok(browser, f"{found}, {program.path} ({program.source})")


def check_ffmpeg(settings: Settings) -> Iterator[Check]:
    """Sessions can record videos: ffmpeg is installed, runs as browsers do, and has the encoders that drivers use."""
    try:
        program = ffmpeg.require_usable(settings, browser_prefix(settings))
    except LaunchError as error:
        yield warning("ffmpeg", str(error), error.hint)
    else:
        yield ok("ffmpeg", f"{program.path} ({program.source}) records videos")


def check_sandbox(settings: Settings) -> Iterator[Check]:
    """Chromium's sandbox is on."""
    if not settings.workers_of(Browser.CHROMIUM):
        return
    try:
        program = browsers.find(Browser.CHROMIUM, settings)
    except LaunchError:  # check_browsers reports it
        return
    try:
        decision = sandbox.decide(settings, program.path, browser_prefix(settings))
    except SettingsError as error:
        yield failed("sandbox", str(error), error.hint)
        return
    if decision.on:
        yield ok("sandbox", "Chromium runs in its sandbox")
    else:
        found = f"Chromium runs without its sandbox: open only pages that you trust ({decision.why})"
        yield warning("sandbox", found, decision.remedy)


def check_redis(settings: Settings) -> Iterator[Check]:
    """There is a Redis that has Functions."""
    if settings.redis_url or Supervisor(settings.run_dir).running():
        yield from _check_redis_server(settings)
        return
    found = find_redis()
    if found:
        yield ok("redis", f"{found.name} {found.version}, {found.path}")
    else:
        yield failed(
            "redis", f"there is no Redis {MIN_REDIS} or Valkey server", "Run `applctl setup`, or set REDIS_URL."
        )


def _check_redis_server(settings: Settings) -> Iterator[Check]:
    try:
        with open_grid(settings) as grid:
            version = require_usable_redis(grid)
            yield ok("redis", f"Redis {version or 'of an unknown version'} answers")
            if version:
                yield _check_connections(grid)
    except StoreRefuses as error:
        yield failed("redis", str(error), error.hint)
    except StoreUnavailable as error:
        remedy = "Check REDIS_URL." if settings.redis_url else "See its log: applctl logs redis."
        yield failed("redis", str(error), remedy)


def _check_connections(grid: Grid) -> Check:
    """Redis accepts more connections. Only a user who may ask for its version may ask for that."""
    info = grid.store.ping()
    clients, most = int(info["connected_clients"]), int(info["maxclients"])
    found = f"{clients} of at most {most} connections are open"
    if clients > most * _CLIENTS_SHARE:
        return warning("redis", found, "Raise its maxclients and its limit of open files: each worker needs two.")
    return ok("redis", found)


CHECKS: tuple[Callable[[Settings], Iterator[Check]], ...] = (
    check_packages,
    check_driver,
    check_browsers,
    check_ffmpeg,
    check_sandbox,
    check_redis,
)
