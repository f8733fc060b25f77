"""Checks of programs: Python packages, the driver, browsers, ffmpeg."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from appliance.checks.check import Check, failed, ok, warning
from appliance.errors import LaunchError, SettingsError
from appliance.machine import browsers, drivers, ffmpeg, sandbox
from appliance.machine.accounts import browser_prefix
from appliance.machine.install import browser_version
from appliance.machine.install.programs import run_version
from appliance.names import Browser, minor_version
from appliance.settings.config import Settings
from appliance.settings.pools import AUTO, NONE, Pool

_DISTRIBUTION = "playwright-appliance"


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


def check_pools(settings: Settings) -> Iterator[Check]:
    """The drivers of POOLS are installed, run, cannot be changed by others, and are not of the own driver's version.

    All versions that DRIVERS names can be served.
    """
    own = minor_version(browsers.driver_version(settings))
    for minor in settings.drivers:
        if minor not in (own, AUTO, NONE) and (why := drivers.why_not_confined(minor)):
            remedy = f"Take it out of DRIVERS. Served: {', '.join(drivers.CONFINED)}."
            yield failed("pools", f"DRIVERS has {minor}, which is not served: {why}", remedy)
    for pool in settings.all_pools:
        if pool.version == own:
            finding = f"POOLS has {pool}, but {own} is the version of the appliance's own driver"
            yield failed("pools", finding, f"Take it out of POOLS, and set {pool.browser.upper()}_WORKERS.")
        elif pool.version:
            yield _check_pool(pool, settings)


def _check_pool(pool: Pool, settings: Settings) -> Check:
    try:
        driver = drivers.find(pool.version, settings)
    except LaunchError as error:
        return failed("pools", f"POOLS has {pool}: {error}", error.hint)
    if path := drivers.changeable(driver):
        remedy = f"Set DRIVERS_DIR to a folder of your own, and run `applctl drivers add {pool.version}`."
        return failed("pools", f"POOLS has {pool}, but other accounts can change {path}", remedy)
    program, *arguments = [*browser_prefix(settings), str(driver.folder / "node")]
    if not run_version(Path(program), *arguments):
        finding = f"POOLS has {pool}, but {driver.folder / 'node'} cannot be run by the account of browsers"
        return failed("pools", finding, "Set DRIVERS_DIR to a folder that it can read, and add the driver again.")
    return ok("pools", f"{pool}: Playwright {driver.version} in {driver.folder}")


def check_browsers(settings: Settings) -> Iterator[Check]:
    """Each pool's browser is installed and runs."""
    for browser, own in browsers.wanted(settings):
        yield _check_browser(browser, own)


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
    found = [own for browser, own in browsers.wanted(settings) if browser is Browser.CHROMIUM]
    if found:
        yield from _check_sandbox(found[0])


def _check_sandbox(settings: Settings) -> Iterator[Check]:
    """What the kernel allows is the same for every program; AppArmor's profiles name programs."""
    try:
        program = browsers.find(Browser.CHROMIUM, settings)
        decision = sandbox.decide(settings, program.path, browser_prefix(settings))
    except LaunchError:  # check_browsers reports it
        return
    except SettingsError as error:
        yield failed("sandbox", str(error), error.hint)
        return
    if decision.on:
        yield ok("sandbox", "Chromium runs in its sandbox")
    else:
        found = f"Chromium runs without its sandbox: open only pages that you trust ({decision.why})"
        yield warning("sandbox", found, decision.remedy, mild=settings.chromium_sandbox == "false")
