"""A browser's program: kept if it is there and runs, else downloaded by Playwright, else installed with apt."""

from __future__ import annotations

import contextlib
import platform
from pathlib import Path

from appliance.errors import LaunchError
from appliance.machine import browsers
from appliance.machine.install.programs import (
    APT_TIMEOUT_S,
    How,
    Provided,
    ProvisionError,
    Say,
    apt_install,
    as_root,
    run,
    run_version,
)
from appliance.names import Browser
from appliance.settings.config import Settings

_DOWNLOAD_TIMEOUT_S = 600

# What Playwright's `install` takes for a browser; a stock Firefox is none of its downloads.
_DOWNLOADS = {
    "chromium-headless-shell": ["--only-shell", "chromium"],
    "chromium": ["--no-shell", "chromium"],
    "chrome": ["chrome"],
    "msedge": ["msedge"],
    "firefox": ["firefox"],
    "webkit": ["webkit"],
}
_PACKAGES = {
    "chromium-headless-shell": "chromium-headless-shell",
    "chromium": "chromium",
    "moz-firefox": "firefox-esr",
}


def provide_browser(browser: Browser, settings: Settings, say: Say) -> Provided:
    """Return the program of a browser; if it is missing, install it by Playwright's download, else by apt.

    Raises ProvisionError, or LaunchError if a setting names a program that is not usable.
    """
    found = _runnable(browser, settings, "found")
    if found:
        return found
    _require_no_setting(browser, settings)
    channel = browsers.channel_of(browser, settings)
    failed_download = _download(channel, settings, say)
    downloaded = _runnable(browser, settings, "downloaded")
    if downloaded:
        return downloaded
    _disregard_download(browser, settings)
    failed_install = _install(channel, settings, say)
    installed = _runnable(browser, settings, "installed")
    if installed:
        return installed
    reasons = "; ".join(filter(None, (failed_download, failed_install))) or "`--version` fails"
    raise ProvisionError(f"no program of {browser} ({channel}) runs: {reasons}", _advice(browser, channel))


def _require_no_setting(browser: Browser, settings: Settings) -> None:
    """Raise LaunchError if a setting names the program: no other would be used, so none is installed."""
    if settings.executable_of(browser):
        program = browsers.find(browser, settings)  # raises if it is not there at all
        raise LaunchError(
            f"{browser.upper()}_EXECUTABLE names {program.path}, which does not run: `--version` fails",
            f"Correct {browser.upper()}_EXECUTABLE, or remove it to use what is found on this machine.",
        )


def _runnable(browser: Browser, settings: Settings, how: How) -> Provided | None:
    try:
        program = browsers.find(browser, settings)
    except LaunchError:
        return None
    version = browser_version(browser, program.path)
    return Provided(browser, str(program.path), version, how) if version else None


def browser_version(browser: Browser, program: Path) -> str:
    """Return the version that a browser prints; "" if it does not run, as without its system libraries."""
    # WebKit's wrapper script picks the build that needs no display by this argument.
    arguments = ["--headless"] if browser is Browser.WEBKIT else []
    return run_version(program, *arguments)


def _download(channel: str, settings: Settings, say: Say) -> str:
    """Let Playwright download a browser, and as root its libraries. Return why it failed, or ""."""
    arguments = _DOWNLOADS.get(channel)
    if not arguments:
        return ""
    driver = browsers.driver_folder(settings)
    cli = [str(driver / "node"), str(driver / "package" / "cli.js")]
    say(f"downloading Playwright's {channel}")
    reason = run([*cli, "install", "--no-progress", *arguments], _DOWNLOAD_TIMEOUT_S)
    prefix = as_root()
    if reason:
        return f"Playwright's download failed ({reason})"
    if prefix is None or channel in ("chrome", "msedge"):
        return "Playwright's download does not run, for lack of system libraries"
    say(f"installing the libraries that {channel} needs")
    return run([*prefix, *cli, "install-deps", channel], APT_TIMEOUT_S)


def _disregard_download(browser: Browser, settings: Settings) -> None:
    """Mark a download that does not run as incomplete, so that the system's browser comes before it."""
    with contextlib.suppress(LaunchError):
        program = browsers.find(browser, settings)
        if program.source == "playwright":
            downloads = browsers.downloads_folder(browsers.driver_folder(settings))
            (downloads / program.path.relative_to(downloads).parts[0] / "INSTALLATION_COMPLETE").unlink()


def _install(channel: str, settings: Settings, say: Say) -> str:
    """Install the system's browser. Return why it failed, or ""."""
    package = _PACKAGES.get(channel)
    if not package:
        return ""
    if _is_ubuntu():
        return f"Ubuntu has no {package} package outside snap, which the grid cannot run"
    say(f"installing {package} with apt")
    reason = apt_install(package)
    return f"apt could not install {package} ({reason})" if reason else ""


def _advice(browser: Browser, channel: str) -> str:
    name = browser.upper()
    if channel in ("firefox", "webkit"):
        stock = (
            " For a stock Firefox, set FIREFOX_CHANNEL=moz-firefox and POOLS=firefox@1.62:1."
            if channel == "firefox"
            else ""
        )
        return f"Allow Playwright's download (cdn.playwright.dev), or set {name}_EXECUTABLE.{stock}"
    if browser is Browser.CHROMIUM and _is_ubuntu():
        return "Allow Playwright's download, or install Google Chrome and set CHROMIUM_CHANNEL=chrome."
    package = _PACKAGES.get(channel)
    if not package:
        return f"Install {channel} from its maker's package, or leave CHROMIUM_CHANNEL out to run the headless shell."
    return f"Run `apt-get install {package}` as root, or set {name}_EXECUTABLE to a program that runs."


def _is_ubuntu() -> bool:
    try:
        return "ubuntu" in platform.freedesktop_os_release().get("ID", "")
    except OSError:
        return False
