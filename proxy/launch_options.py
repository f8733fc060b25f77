"""What a client asks for beside a browser, in the headers that Playwright's `connect` sends.

The grid's browsers are started before a client connects, so most launch options come too late. Rules:
 1. An option that changes what a test sees is refused before a slot is taken, unless the browsers are so anyway.
 2. An option that only changes how fast or how safely a browser runs is named in the client's log.
 3. Options for the client's own machine are passed over, and so is what every stock client sends: Playwright Test
    always sends `headless`, `handleSIGINT`, `tracesDir` and `artifactsDir`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from appliance.errors import BadRequest
from appliance.names import Browser
from appliance.settings.config import Settings

_PREFIX = "x-playwright-"
_OPTIONS = "x-playwright-launch-options"
_NETWORK = "x-playwright-proxy"  # what `exposeNetwork` is called on the wire; empty without it
_KNOWN = frozenset({"x-playwright-browser", _NETWORK, _OPTIONS})
# Headers of clients up to 1.40, which asked a server of Playwright's own for more than a browser.
_NOT_OFFERED = ("x-playwright-reuse-context", "x-playwright-debug-controller", "x-playwright-network-tethering")

_OF_THE_CLIENT = frozenset(
    {"headless", "handleSIGINT", "handleSIGTERM", "handleSIGHUP", "tracesDir", "artifactsDir", "logger"}
)
_PRINTABLE = re.compile(r"[\w-]{1,40}", re.ASCII)

_LEAVE_OUT = "Leave {} out: the grid's browsers run before a client connects."
_SAVE_AS = "Leave downloadsPath out, and save downloads with download.saveAs() or download.save_as()."
_ON_THE_CONTEXT = "Set the proxy on the context: browser.newContext({ proxy }), or use.proxy in Playwright Test."
_NO_WINDOW = "Leave out headless: false, --headed and --debug; or set HEADLESS=false on the appliance."
_BROWSER_ARGS = "Leave args out, or set BROWSER_ARGS on the appliance to have them in all its browsers."


def check(headers: Mapping[str, str], browser: Browser, settings: Settings) -> list[str]:
    """Return lines for the client's log, one for each wish without effect; raises BadRequest for a refused one.

    `headers` are those of the client's request by their names in lower case, `settings` those of this appliance.
    """
    if headers.get(_NETWORK, "").strip():
        raise BadRequest(
            "This grid does not offer exposeNetwork yet: its pages reach the grid's network, not the client's.",
            "Leave out exposeNetwork (expose_network), and open an address that the grid reaches.",
        )
    for name in _NOT_OFFERED:
        if headers.get(name, "").strip():
            raise BadRequest(f"This grid does not offer what the header {name} asks for.", "Leave the header out.")
    options = _read(headers.get(_OPTIONS, ""))
    refused = {name: hint for name, hint in _refusals(options, browser, settings) if hint}
    if refused:
        raise BadRequest(
            f"This grid cannot honour the launch option{'s' * (len(refused) > 1)} {', '.join(refused)}.",
            " ".join(dict.fromkeys(refused.values())),
        )
    return _log_lines(options, headers)


def _read(header: str) -> dict[str, Any]:
    """Return the launch options that have a value."""
    try:
        options = json.loads(header or "{}")
    except (ValueError, RecursionError):
        options = None
    if not isinstance(options, dict):
        raise BadRequest(f"The header {_OPTIONS} is not a JSON object.", "Send launch options as a JSON object.")
    return {name: value for name, value in options.items() if value or name == "headless"}


def _refusals(options: dict[str, Any], browser: Browser, settings: Settings) -> list[tuple[str, str]]:
    """Return each option that the grid knows with its hint if it is refused, "" if it is honoured."""
    return [(name, _HINTS[name](value, browser, settings)) for name, value in options.items() if name in _HINTS]


def _log_lines(options: Mapping[str, Any], headers: Mapping[str, str]) -> list[str]:
    idle = [name for name in options if name not in _OF_THE_CLIENT and name not in _HINTS]
    shown = [name if _PRINTABLE.fullmatch(name) else "(an unprintable one)" for name in idle]
    lines = [f"launch options without effect, as the browser runs already: {', '.join(shown)[:500]}"] if shown else []
    unknown = [name for name in headers if name.startswith(_PREFIX) and name not in _KNOWN]
    return lines + [f"header that this grid does not know: {name[:100]}" for name in unknown]


def _args(value: Any, _: Browser, settings: Settings) -> str:
    honoured = isinstance(value, list) and all(one in settings.browser_args for one in value)
    return "" if honoured else _BROWSER_ARGS


def _headless(value: Any, _: Browser, settings: Settings) -> str:
    return _NO_WINDOW if value is False and settings.headless else ""


def _channel(value: Any, browser: Browser, settings: Settings) -> str:
    channels = {Browser.CHROMIUM: settings.chromium_channel, Browser.FIREFOX: settings.firefox_channel}
    own = channels.get(browser, str(browser))
    return "" if value == own else f"Leave channel out: this grid's {browser} is {own}."


def _executable(value: Any, browser: Browser, settings: Settings) -> str:
    return "" if value == str(settings.executable_of(browser)) else _LEAVE_OUT.format("executablePath")


def _preferences(_: Any, browser: Browser, __: Settings) -> str:
    return _LEAVE_OUT.format("firefoxUserPrefs") if browser is Browser.FIREFOX else ""


def _always(hint: str) -> Callable[[Any, Browser, Settings], str]:
    return lambda _, __, ___: hint


_HINTS: dict[str, Callable[[Any, Browser, Settings], str]] = {
    "args": _args,
    "channel": _channel,
    "devtools": _always(_LEAVE_OUT.format("devtools")),
    "downloadsPath": _always(_SAVE_AS),
    "env": _always(_LEAVE_OUT.format("env")),
    "executablePath": _executable,
    "firefoxUserPrefs": _preferences,
    "headless": _headless,
    "ignoreDefaultArgs": _always(_LEAVE_OUT.format("ignoreDefaultArgs")),
    "proxy": _always(_ON_THE_CONTEXT),
}
