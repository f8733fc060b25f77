"""Which program a browser has on this machine, and which Playwright driver runs it.

The order, per browser: what a setting names; Playwright's own download; the system's. The facts about
Playwright are those of its driver's `package/browsers.json` and, in `package/lib/coreBundle.js`,
`EXECUTABLE_PATHS`, `readDescriptors` and `registryDirectory`.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from appliance.errors import LaunchError
from appliance.names import CHROMIUM_CHANNELS, Browser
from appliance.settings.config import Settings

# Paths of the program in a download's folder: today's, then those of earlier Playwright versions.
_DOWNLOADED = {
    "chromium": ("chrome-linux64/chrome", "chrome-linux-arm64/chrome", "chrome-linux/chrome"),
    "chromium-headless-shell": (
        "chrome-headless-shell-linux64/chrome-headless-shell",
        "chrome-headless-shell-linux-arm64/chrome-headless-shell",
        "chrome-linux/headless_shell",
    ),
    "firefox": ("firefox/firefox",),
    "webkit": ("pw_run.sh",),
}

# The system's programs, by path or by name on the PATH. Debian's chromium-headless-shell on the PATH
# is a shell script that does not `exec`, an extra process for each worker: its binary comes first.
_SYSTEM = {
    "chromium-headless-shell": (
        "/usr/lib/chromium/chromium-headless-shell",
        "chromium-headless-shell",
        "chrome-headless-shell",
    ),
    "chromium": ("/usr/bin/chromium", "chromium", "chromium-browser", "google-chrome"),
    "chrome": ("/opt/google/chrome/chrome", "google-chrome", "google-chrome-stable"),
    "msedge": ("/opt/microsoft/msedge/msedge", "microsoft-edge", "microsoft-edge-stable"),
    "moz-firefox": ("firefox-esr", "firefox"),
}


@dataclass(frozen=True, slots=True)
class Program:
    """The program of a browser, and who put it there."""

    path: Path
    source: Literal["setting", "playwright", "system"]


def find(browser: Browser, settings: Settings) -> Program:
    """Return the program that a browser's workers run.

    Raises LaunchError, whose hint says how to get one, if there is none or the setting's is not usable.
    """
    named = settings.executable_of(browser)
    if named is not None:
        return _named(browser, named)
    channel = channel_of(browser, settings)
    if program := _program(channel, _drivers_that_download(browser, settings)):
        return program
    raise LaunchError(f"there is no program for {browser} (channel {channel}) on this machine", _hint(browser, channel))


def wanted(settings: Settings) -> Iterator[tuple[Browser, Settings]]:
    """Yield each kind of browser that the pools run, once, with the settings of the first pool that runs it."""
    seen = set()
    for pool in settings.all_pools:
        own = settings.of_pool(pool)
        kind = (pool.browser, own.executable_of(pool.browser) or channel_of(pool.browser, own))
        if kind not in seen:
            seen.add(kind)
            yield pool.browser, own


def channels(browser: Browser, settings: Settings) -> dict[str, Path]:
    """Return the programs of a browser that are on this machine, by the channels that a client can name."""
    if browser is not Browser.CHROMIUM:
        return {}
    drivers = _drivers_that_download(browser, settings)
    found = {channel: _program(channel, drivers) for channel in CHROMIUM_CHANNELS}
    return {channel: program.path for channel, program in found.items() if program}


def channel_of(browser: Browser, settings: Settings) -> str:
    """Return Playwright's name of the kind of browser; the headless shell knows no windows."""
    if browser is Browser.CHROMIUM:
        shell = "chromium-headless-shell"
        with_window = settings.chromium_channel == shell and not settings.headless
        return "chromium" if with_window else settings.chromium_channel
    if browser is Browser.FIREFOX:
        return settings.firefox_channel
    return browser.value


def driver_folder(settings: Settings) -> Path:
    """Return the folder of Playwright's driver, which holds `node` and `package/`.

    Raises LaunchError if PLAYWRIGHT_DRIVER names no such folder or Playwright is not installed.
    """
    folder = settings.playwright_driver or installed_driver()
    for part in (folder / "node", folder / "package" / "cli.js"):
        if not part.is_file():
            raise LaunchError(
                f"{folder} is no Playwright driver: {part.name} is missing",
                "PLAYWRIGHT_DRIVER takes the folder `playwright/driver` of an installed playwright wheel.",
            )
    return folder


def installed_driver() -> Path:
    """Return the folder of the driver that is installed with the appliance; raises LaunchError if it is not."""
    spec = find_spec("playwright")
    if spec is None or spec.origin is None:
        raise LaunchError("the Python package `playwright` is not installed", "`make up` installs it.")
    return Path(spec.origin).parent / "driver"


def driver_version(settings: Settings) -> str:
    """Return the driver's Playwright version, such as "1.65.1"; raises LaunchError as driver_folder does."""
    return str(_read_json(driver_folder(settings) / "package" / "package.json")["version"])


def downloads_folder(driver: Path) -> Path:
    """Return the folder that Playwright downloads browsers into."""
    chosen = os.environ.get("PLAYWRIGHT_BROWSERS_PATH")  # Playwright's own variable, not a setting of ours
    if chosen == "0":
        return driver / "package" / ".local-browsers"
    if chosen:
        return Path(chosen).absolute()
    cache_home = os.environ.get("XDG_CACHE_HOME")
    # A worker's user id has no name, and a service has no HOME: then there is no home, and "~" stays as it is.
    return (Path(cache_home) if cache_home else Path(os.path.expanduser("~")) / ".cache") / "ms-playwright"


def _drivers_that_download(browser: Browser, settings: Settings) -> list[Path]:
    """Return the drivers whose downloads are looked for. Chromium speaks with each; the others only with their own."""
    drivers = [driver_folder(settings)]
    if browser is Browser.CHROMIUM and settings.playwright_driver:
        drivers.append(installed_driver())
    return drivers


def _program(channel: str, drivers: list[Path]) -> Program | None:
    for path in (path for driver in drivers for path in _downloads(channel, driver)):
        if is_program(path):
            return Program(path, "playwright")
    for name in _SYSTEM.get(channel, ()):
        found = shutil.which(name)
        if found:
            return Program(Path(found), "system")
    return None


def _named(browser: Browser, path: Path) -> Program:
    if not is_program(path):
        raise LaunchError(
            f"{browser.upper()}_EXECUTABLE names {path}, which is not there or not executable",
            f"Correct {browser.upper()}_EXECUTABLE, or leave it out to use what is found on this machine.",
        )
    return Program(path, "setting")


def _downloads(channel: str, driver: Path) -> Iterator[Path]:
    """Return the paths at which Playwright's own download of a browser can be, if it is complete."""
    for name in folder_names(channel, driver):
        folder = downloads_folder(driver) / name
        if os.path.isfile(folder / "INSTALLATION_COMPLETE"):
            yield from (folder / path for path in _DOWNLOADED.get(channel, ()))


def folder_names(name: str, driver: Path) -> list[str]:
    """Return what a driver may call the folder of one of its downloads; older systems have revisions of their own."""
    described = _read_json(driver / "package" / "browsers.json")["browsers"]
    prefix = name.replace("-", "_")
    return [
        folder
        for entry in described
        if entry["name"] == name
        for folder in (
            f"{prefix}-{entry['revision']}",
            *(f"{prefix}_{host}_special-{rev}" for host, rev in entry.get("revisionOverrides", {}).items()),
        )
    ]


def is_program(path: Path) -> bool:
    """Return whether a path leads to a program that this account may run."""
    return os.path.isfile(path) and os.access(path, os.X_OK)  # False, too, in a folder that is closed to this user


def _hint(browser: Browser, channel: str) -> str:
    package = {"chromium-headless-shell": "chromium-headless-shell", "chromium": "chromium"}.get(channel)
    package = "firefox-esr" if channel == "moz-firefox" else package
    ways = [f"`playwright install {channel}`"] if channel != "moz-firefox" else []
    ways += [f"`apt-get install {package}`"] if package else []
    return f"Install it by {' or '.join(ways)}, or set {browser.upper()}_EXECUTABLE."


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise LaunchError(f"{path} cannot be read: {error}", "Install the playwright wheel again.") from error
