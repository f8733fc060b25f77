"""What the driver is told: the options of its `launch-server` and its environment. No I/O in here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from appliance.machine.browsers import channel_of
from appliance.machine.inherited import inherited
from appliance.names import MARKER, SESSIONS_PATH, Browser
from appliance.settings.browsers import DEFAULT_LANGUAGE
from appliance.settings.config import Settings
from appliance.settings.proxies import UpstreamProxy, upstream_proxy

# For a grid, beyond what Playwright passes by itself (chromiumSwitches in its coreBundle.js). There is no GPU, and QUIC
# would go around the proxies that sessions are given. A network process of its own has no sandbox on Linux; it would
# only cost each browser a part of its start.
CHROMIUM_ARGS = ("--disable-gpu", "--disable-quic", "--enable-features=NetworkServiceInProcess2")

# Beside those, for the browser of one session: they save a quarter of its CPU. Found for headless shells only.
# - Its default context needs no files, as Playwright's clients have contexts of their own.
# - Its GPU process would have no sandbox: without a GPU, SwiftShader has threads before Chromium would begin one. As a
#   thread of the browser it can end no other session.
# - Then no process is left for the zygote that starts those without a sandbox.
OWN_BROWSER_ARGS = ("--incognito", "--in-process-gpu", "--no-unsandboxed-zygote")

# For the driver's node: room for what its start allocates. With V8's usual 1 MB, it begins by collecting
# garbage many times over, in several threads.
NODE_FLAGS = ("--min-semi-space-size=8",)

_CHANNELS_TO_NAME = ("chromium-headless-shell", "chromium", "chrome", "msedge", "moz-firefox")


def launch_options(
    settings: Settings, program: Path, socket: Path, sandbox: bool, channels: Mapping[str, Path] = {}
) -> dict[str, Any]:
    """Return the content of `launch-server --config`.

    `socket` is where the driver listens: node takes a path for a port (nodejs.org/api/net.html, "server.listen(path)").
    `sandbox` is for Chromium alone, to which Playwright passes --no-sandbox if it is false. `channels` are the programs
    of other browsers of the same kind, by their channels.
    """
    browser = settings.browser_type
    options: dict[str, Any] = {
        "headless": settings.headless,
        "executablePath": str(program),
        "port": str(socket),
        "wsPath": SESSIONS_PATH,
        "args": [*(_chromium_args(settings) if browser is Browser.CHROMIUM else ()), *settings.browser_args],
        "timeout": int(settings.launch_timeout * 1000),
        "handleSIGINT": False,  # a Ctrl-C is the worker's to handle
        "allowFileUrls": settings.allow_file_urls,  # for workers/preload, as the next four; Playwright ignores them
        "reserveBrowsers": settings.reserve,
        "ownArgs": _own_args(program),
        "clientArgs": settings.launch_args,
        "channels": {name: str(path) for name, path in channels.items()},
    }
    channel = channel_of(browser, settings)
    if channel in _CHANNELS_TO_NAME:  # it selects the way to speak with the browser
        options["channel"] = channel
    if browser is Browser.CHROMIUM:
        options["chromiumSandbox"] = sandbox
    if settings.browser_proxy:
        options["proxy"] = _proxy(upstream_proxy(settings.browser_proxy), settings.browser_proxy_bypass)
    return options


def _chromium_args(settings: Settings) -> list[str]:
    """Return the arguments of our own; Chromium takes its language by them, unless it is its own default."""
    language = settings.browser_language
    told = [] if language == DEFAULT_LANGUAGE else [f"--lang={language}", f"--accept-lang={language}"]
    return [*CHROMIUM_ARGS, *told]


def _own_args(program: Path) -> list[str]:
    """Return the further arguments of a session's own browser."""
    is_headless_shell = program.name.replace("_", "-").endswith("headless-shell")
    return list(OWN_BROWSER_ARGS) if is_headless_shell else []


def _proxy(proxy: UpstreamProxy, bypass: list[str]) -> dict[str, str]:
    """Return Playwright's launch option `proxy`: for the browser, and for requests that the driver makes."""
    options = {"server": proxy.server, "bypass": ",".join(bypass)}
    options |= {"username": proxy.username, "password": proxy.password}
    return {name: value for name, value in options.items() if value}


def driver_environment(
    environment: Mapping[str, str], settings: Settings, workspace: Path, temporary: Path, compile_cache: Path
) -> dict[str, str]:
    """Return the environment of driver and browser: what is inherited (machine/inherited.py), and what settings say.

    The ways to Redis and to supervisord are not among it. In `compile_cache` node keeps what it compiled of the
    driver's program (nodejs.org/api/module.html, "Module compile cache"; before node 22 it does not), for the drivers
    that come after. BROWSER_USER cannot use the home of root, who started the appliance.
    """
    has_account = bool(settings.browser_user)
    return {
        **inherited(environment, same_account=not has_account),
        **({"HOME": str(temporary)} if has_account else {}),
        **_locale(settings),
        **settings.browser_variables,
        "TMPDIR": str(temporary),
        MARKER: str(workspace),
        "NODE_COMPILE_CACHE": str(compile_cache),
    }


def _locale(settings: Settings) -> dict[str, str]:
    """Return what tells browsers their time zone and language; LANG only says that text is UTF-8."""
    language = settings.browser_language.replace("-", "_")
    return {"TZ": settings.browser_timezone, "LANG": "C.UTF-8", "LANGUAGE": language}
