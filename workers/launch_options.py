"""What the driver is told: the options of its `launch-server` and its environment. No I/O in here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from appliance.browsers import channel_of
from appliance.config import Settings
from appliance.models import Browser
from workers.leftovers import MARKER

# For a grid, beyond what Playwright passes by itself (chromiumSwitches in its coreBundle.js): there is
# no GPU, and QUIC would go around the proxies that sessions are given.
CHROMIUM_ARGS = ("--disable-gpu", "--disable-quic")

# For the driver's node: room for what its start allocates. With V8's usual 1 MB, it begins by collecting
# garbage many times over, in several threads.
NODE_FLAGS = ("--min-semi-space-size=8",)

# What `applctl up` (appliance/supervision/environment.py) and supervisord add to the settings.
_OWN_NAMES = {"REDIS_SERVER", "REDIS_PROCESSES", "STOP_WAIT", *(f"{browser.upper()}_PROCESSES" for browser in Browser)}
_OWN_PREFIXES = ("APPLIANCE_", "SUPERVISOR_")

# What driver and browsers of another account are given of root's environment: what they read that is no secret.
# PLAYWRIGHT_SERVICE_… are of Microsoft's cloud, its access token among them; NODE_AUTH_TOKEN is npm's.
_PASSED_NAMES = {
    *("PATH", "LANG", "LANGUAGE", "TZ", "TZDIR", "TERM", "DEBUG", "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY"),
    *("NODE_OPTIONS", "NODE_EXTRA_CA_CERTS", "NODE_DEBUG", "NODE_NO_WARNINGS", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *(f"{kind}_PROXY" for kind in ("HTTP", "HTTPS", "ALL", "NO", "FTP")),
}
_PASSED_PREFIXES = ("LC_", "PLAYWRIGHT_", "FONTCONFIG_", "DBUS_", "CHROME_", "MOZ_", "WEBKIT_", "LIBGL_", "MESA_")
_WITHHELD_PREFIX = "PLAYWRIGHT_SERVICE_"

_CHANNELS_TO_NAME = ("chromium-headless-shell", "chromium", "chrome", "msedge", "moz-firefox")


def launch_options(settings: Settings, program: Path, host: str, ws_path: str, sandbox: bool) -> dict[str, Any]:
    """Give the content of `launch-server --config`.

    `host` is the address to listen on, `ws_path` the endpoint's path; `sandbox` is for Chromium alone,
    to which Playwright passes --no-sandbox if it is false.
    """
    browser = settings.browser_type
    options: dict[str, Any] = {
        "headless": settings.headless,
        "executablePath": str(program),
        "host": host,
        "port": 0,
        "wsPath": ws_path,
        "args": [*(CHROMIUM_ARGS if browser is Browser.CHROMIUM else ()), *settings.browser_args],
        "timeout": int(settings.launch_timeout * 1000),
        "handleSIGINT": False,  # a Ctrl-C is the worker's to handle
    }
    channel = channel_of(browser, settings)
    if channel in _CHANNELS_TO_NAME:  # it selects the way to speak with the browser
        options["channel"] = channel
    if browser is Browser.CHROMIUM:
        options["chromiumSandbox"] = sandbox
    return options


def driver_environment(
    environment: Mapping[str, str], workspace: Path, temporary: Path, compile_cache: Path
) -> dict[str, str]:
    """Give the environment of driver and browser: the worker's own, without what is the appliance's.

    In that are the ways to Redis and to supervisord, which are none of the browser's business.
    In `compile_cache` node keeps what it compiled of the driver's program (nodejs.org/api/module.html,
    "Module compile cache"; before node 22 it does not), for the drivers that come after.
    An account of the browsers' own (BROWSER_USER) cannot use the home of root, who started the appliance, and is
    given what browsers read alone: root's environment may hold keys to anything.
    """
    kept = {name: value for name, value in environment.items() if not _is_own(name)}
    if environment.get("BROWSER_USER"):
        kept = {name: value for name, value in kept.items() if _is_passed(name)}
        kept["HOME"] = str(temporary)
    added = {"TMPDIR": str(temporary), MARKER: str(workspace), "NODE_COMPILE_CACHE": str(compile_cache)}
    return {**kept, **added}


def _is_passed(name: str) -> bool:
    known = name.upper() in _PASSED_NAMES or name.startswith(_PASSED_PREFIXES)
    return known and not name.startswith(_WITHHELD_PREFIX)


def _is_own(name: str) -> bool:
    return name.lower() in Settings.model_fields or name in _OWN_NAMES or name.startswith(_OWN_PREFIXES)
