"""See to what the appliance needs beside Python: a Redis server, and a program for each pool's browser.

What is there and runs is kept, so that running this again is quick and changes nothing.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from appliance import browsers
from appliance.config import Settings
from appliance.errors import ApplianceError, LaunchError
from appliance.models import Browser

Say = Callable[[str], None]

MIN_REDIS = 7  # Redis Functions came with 7.0, and every Valkey has them
_VERSION_TIMEOUT_S = 20
_DOWNLOAD_TIMEOUT_S = 600
_APT_TIMEOUT_S = 600
_LAST_LINES = 4

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


class ProvisionError(ApplianceError):
    """Something that the appliance needs is missing and could not be installed."""


@dataclass(frozen=True, slots=True)
class Provided:
    """A program that is there and runs, and how it came: it was there, or this call put it there."""

    name: str
    path: str
    version: str
    how: Literal["found", "downloaded", "installed", "elsewhere"]

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data, for JSON."""
        return asdict(self)


def provide(settings: Settings, say: Say) -> list[Provided]:
    """See to Redis and to the configured pools' browsers; `say` is told of each step that takes time.

    Raises ProvisionError, whose message is one sentence that says what to install.
    """
    provided = [provide_redis(settings, say)]
    return provided + [provide_browser(b, settings, say) for b, workers in settings.pools.items() if workers]


# ── Redis ─────────────────────────────────────────────────────────────────────────────────────────


def find_redis() -> Provided | None:
    """Give a Redis or Valkey server that is recent enough; None if there is none on the path."""
    for name in ("redis-server", "valkey-server"):
        path = shutil.which(name) or shutil.which(name, path="/usr/bin:/usr/sbin:/usr/local/bin")
        version = re.search(r"v=(\d+)\.[\d.]+", run_version(Path(path)) or "") if path else None
        if path and version and int(version[1]) >= MIN_REDIS:
            return Provided(name, path, version[0][2:], "found")
    return None


def provide_redis(settings: Settings, say: Say) -> Provided:
    """Give the Redis server to run, after installing it if need be; raises ProvisionError."""
    if settings.redis_url:
        return Provided("redis", "", "", "elsewhere")
    found = find_redis()
    if found:
        return found
    reasons = []
    for package in ("redis-server", "valkey-server"):
        say(f"installing {package} with apt")
        reasons.append(apt_install(package))
        installed = find_redis()
        if installed:
            return Provided(installed.name, installed.path, installed.version, "installed")
    raise ProvisionError(
        f"there is no Redis {MIN_REDIS} or Valkey server, and apt could not install one: {reasons[0]}",
        "Install redis-server or valkey-server, or set REDIS_URL to a Redis that runs elsewhere.",
    )


# ── Browsers ──────────────────────────────────────────────────────────────────────────────────────


def provide_browser(browser: Browser, settings: Settings, say: Say) -> Provided:
    """Give the program of a browser, after getting it if need be: by Playwright's download, else by apt.

    Raises ProvisionError, or LaunchError if a setting names a program that is not usable.
    """
    found = _runnable(browser, settings, "found")
    if found:
        return found
    if settings.executable_of(browser):
        program = browsers.find(browser, settings)  # raises if it is not there at all
        raise LaunchError(
            f"{browser.upper()}_EXECUTABLE names {program.path}, which does not run: `--version` fails",
            f"Correct {browser.upper()}_EXECUTABLE, or leave it out to use what is found on this machine.",
        )
    channel = browsers.channel_of(browser, settings)
    reasons = []
    for get, how in ((_download, "downloaded"), (_install, "installed")):
        reason = get(channel, settings, say)
        found = _runnable(browser, settings, how)
        if found:
            return found
        reasons.append(reason)
    raise ProvisionError(
        f"there is no program for {browser} ({channel}) that runs: " + "; ".join(r for r in reasons if r),
        _advice(browser, channel),
    )


def _runnable(
    browser: Browser, settings: Settings, how: Literal["found", "downloaded", "installed"]
) -> Provided | None:
    try:
        program = browsers.find(browser, settings)
    except LaunchError:
        return None
    version = browser_version(browser, program.path)
    return Provided(browser, str(program.path), version, how) if version else None


def browser_version(browser: Browser, program: Path) -> str:
    """Give what a browser says of its version; "" if it does not run, as without its system libraries."""
    # WebKit's wrapper script picks the build that needs no display by this argument.
    arguments = ["--headless"] if browser is Browser.WEBKIT else []
    return run_version(program, *arguments)


def _download(channel: str, settings: Settings, say: Say) -> str:
    """Let Playwright download a browser, and its libraries where that may be. Gives why it failed, or ""."""
    arguments = _DOWNLOADS.get(channel)
    if not arguments:
        return ""
    driver = browsers.driver_folder(settings)
    cli = [str(driver / "node"), str(driver / "package" / "cli.js")]
    say(f"downloading Playwright's {channel}")
    reason = _run([*cli, "install", "--no-progress", *arguments], _DOWNLOAD_TIMEOUT_S)
    prefix = _as_root()
    if reason:
        return f"Playwright's download failed ({reason})"
    if prefix is None or channel in ("chrome", "msedge"):
        return "Playwright's download does not run, for lack of system libraries"
    say(f"installing the libraries that {channel} needs")
    return _run([*prefix, *cli, "install-deps", channel], _APT_TIMEOUT_S)


def _install(channel: str, settings: Settings, say: Say) -> str:
    """Install the system's browser. Gives why it failed, or ""."""
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
        stock = " For a stock Firefox, set FIREFOX_CHANNEL=moz-firefox." if channel == "firefox" else ""
        return f"Allow Playwright's download (cdn.playwright.dev), or set {name}_EXECUTABLE.{stock}"
    if browser is Browser.CHROMIUM and _is_ubuntu():
        return "Allow Playwright's download, or install Google Chrome and set CHROMIUM_CHANNEL=chrome."
    package = _PACKAGES.get(channel, channel)
    return f"Run `apt-get install {package}` as root, or set {name}_EXECUTABLE to a program that runs."


def _is_ubuntu() -> bool:
    try:
        return "ubuntu" in platform.freedesktop_os_release().get("ID", "")
    except OSError:
        return False


# ── Programs ──────────────────────────────────────────────────────────────────────────────────────


def run_version(program: Path, *arguments: str) -> str:
    """Give the first line that `program --version` prints; "" if it does not run."""
    try:
        done = subprocess.run(
            [program, *arguments, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_VERSION_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode(errors="replace").strip().partition("\n")[0]


def apt_install(package: str) -> str:
    """Install a Debian package. Gives why it failed, or "" if it did not."""
    prefix = _as_root()
    if not shutil.which("apt-get"):
        return "this system has no apt"
    if prefix is None:
        return "this user may not install packages (neither root nor sudo without a password)"
    apt = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qy", "-o", "DPkg::Lock::Timeout=120"]
    install = [*apt, "install", "--no-install-recommends", package]
    if not _run(install, _APT_TIMEOUT_S):
        return ""
    # The lists may be missing or old, as on a fresh machine.
    return _run([*apt, "update"], _APT_TIMEOUT_S) or _run(install, _APT_TIMEOUT_S)


def _as_root() -> list[str] | None:
    """Give what to put before a command to run it as root; None if this user may not."""
    if os.geteuid() == 0:
        return []
    return ["sudo", "-n"] if shutil.which("sudo") and not _run(["sudo", "-n", "true"], 10) else None


def _run(command: list[str], timeout_s: float) -> str:
    """Run a command. Gives the last lines that it printed as the reason why it failed, or ""."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it took longer than {timeout_s:g} s"
    except OSError as error:
        return str(error)
    lines = [line.strip() for line in done.stdout.decode(errors="replace").splitlines() if line.strip()]
    return "" if done.returncode == 0 else " | ".join(lines[-_LAST_LINES:]) or f"exit code {done.returncode}"
