"""What a client asks for beside a browser, in the headers that Playwright's `connect` sends.

Shared browsers are started before a client connects, so launch options come too late for them. Rules:
 1. What the shared browsers have anyway needs nothing.
 2. `proxy`, `channel`, `slowMo`, allowed `args` and `exposeNetwork` are honoured, by a browser of the session's own
    (workers/preload/launch_options.js). It has one then, and its log says why, unless it asked for isolation=context.
 3. An option that would reach the grid's machine is refused before a slot is taken.
 4. An option that only changes how safely a browser runs is named in the client's log.
 5. Options for the client's own machine are passed over, and so is what every stock client sends: Playwright Test
    always sends `headless`, `handleSIGINT`, `tracesDir` and `artifactsDir`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from appliance.names import CHROMIUM_CHANNELS, Browser
from appliance.request_errors import BadRequest
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

OWN = "a browser of its own"  # instead of a hint: the option is honoured so

_LEAVE_OUT = "Leave {} out: it would reach the grid's machine."
_SAVE_AS = "Leave downloadsPath out, and save downloads with download.saveAs() or download.save_as()."
_NO_WINDOW = "Leave out headless: false, --headed and --debug; or set HEADLESS=false on the appliance."
_BROWSER_ARGS = "Leave {} out; LAUNCH_ARGS of the appliance names what clients may set, BROWSER_ARGS sets it for all."


@dataclass(frozen=True, slots=True)
class Asked:
    """What a client asks for that only a browser of its own can honour, and lines for its log on what has no effect."""

    own_browser: list[str]
    log_lines: list[str]


def read(headers: Mapping[str, str], browser: Browser, settings: Settings) -> Asked:
    """Return what a client asks for; raises BadRequest if the grid refuses one of them.

    `headers` are those of the client's request by their names in lower case, `settings` those of this appliance.
    """
    for name in _NOT_OFFERED:
        if headers.get(name, "").strip():
            raise BadRequest(f"This grid does not offer what the header {name} asks for.", "Leave the header out.")
    options = _options(headers.get(_OPTIONS, ""))
    found = {name: _HINTS[name](value, browser, settings) for name, value in options.items() if name in _HINTS}
    refused = {name: hint for name, hint in found.items() if hint not in ("", OWN)}
    if refused:
        raise BadRequest(
            f"This grid cannot honour the launch option{'s' * (len(refused) > 1)} {', '.join(refused)}.",
            " ".join(dict.fromkeys(refused.values())),
        )
    network = ["exposeNetwork"] if headers.get(_NETWORK, "").strip() else []
    return Asked(network + [name for name, hint in found.items() if hint == OWN], _log_lines(options, headers))


def _options(header: str) -> dict[str, Any]:
    """Return the launch options that have a value."""
    try:
        options = json.loads(header or "{}", parse_constant=_constant)
    except (ValueError, RecursionError):
        options = None
    if not isinstance(options, dict):
        raise BadRequest(f"The header {_OPTIONS} is not a JSON object.", "Send launch options as a JSON object.")
    return {name: value for name, value in options.items() if value or name == "headless"}


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON, though Python reads it")


def _log_lines(options: Mapping[str, Any], headers: Mapping[str, str]) -> list[str]:
    idle = [name for name in options if name not in _OF_THE_CLIENT and name not in _HINTS]
    shown = [name if _PRINTABLE.fullmatch(name) else "(an unprintable one)" for name in idle]
    lines = [f"launch options without effect on this grid: {', '.join(shown)[:500]}"] if shown else []
    unknown = [name for name in headers if name.startswith(_PREFIX) and name not in _KNOWN]
    return lines + [f"header that this grid does not know: {name[:100]}" for name in unknown]


def _args(value: Any, _: Browser, settings: Settings) -> str:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        return "The launch option args must be a list of strings."
    unusual = [one for one in value if one not in settings.browser_args]
    names = [one.partition("=")[0] for one in unusual]
    refused = [name if _PRINTABLE.fullmatch(name) else "args" for name in names if name not in settings.launch_args]
    return _BROWSER_ARGS.format(", ".join(refused[:5])) if refused else OWN if unusual else ""


def _proxy(value: Any, _: Browser, __: Settings) -> str:
    is_one = isinstance(value, dict) and isinstance(value.get("server"), str)
    return OWN if is_one else "The launch option proxy must be an object with a server."


def _slow_mo(value: Any, _: Browser, __: Settings) -> str:
    return OWN if isinstance(value, (int, float)) and value > 0 else "The launch option slowMo must be a number."


def _headless(value: Any, _: Browser, settings: Settings) -> str:
    return _NO_WINDOW if value is False and settings.headless else ""


def _channel(value: Any, browser: Browser, settings: Settings) -> str:
    channels = {Browser.CHROMIUM: settings.chromium_channel, Browser.FIREFOX: settings.firefox_channel}
    usual = channels.get(browser, str(browser))
    if value == usual:
        return ""
    can_be = browser is Browser.CHROMIUM and value in CHROMIUM_CHANNELS
    return OWN if can_be else f"Leave channel out: this grid's {browser} is {usual}."


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
    "proxy": _proxy,
    "slowMo": _slow_mo,
}
