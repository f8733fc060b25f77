"""What a pool may have of its own beside its size: the options of POOLS, and the settings whose place they take."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from appliance.names import Browser
from appliance.settings.proxies import upstream_proxy
from appliance.settings.sentences import sentence

SPARES = "spare_workers"  # the one option that is the pool's, not that of each of its workers

# The setting that each option takes the place of, and what it says, for the help of commands.
OPTIONS = {
    "isolation": ("isolation", "What its sessions have for themselves unless they ask: context or browser."),
    "max_concurrent_sessions": ("max_concurrent_sessions", "Sessions that one worker serves at the same time."),
    "max_lifetime_sessions": ("max_lifetime_sessions", "Sessions after which a worker is recycled; 0: never."),
    SPARES: (SPARES, "Workers on standby."),
    "reserve_browsers": ("reserve_browsers", "Launched browsers that each worker keeps for isolation=browser."),
    "channel": ("{}_channel", "Kind of browser: chromium-headless-shell, chromium, chrome, msedge; moz-firefox."),
    "executable": ("{}_executable", "Program of the browser."),
    "args": ("browser_args", "More arguments for the browser, separated by spaces."),
    "headless": ("headless", "false: with a window, which needs a display."),
    "proxy": ("browser_proxy", "Proxy for browsers, without a password."),
    "proxy_bypass": ("browser_proxy_bypass", "Hosts that are reached without the proxy."),
    "timezone": ("browser_timezone", "Time zone of pages, like Europe/Berlin."),
    "language": ("browser_language", "Language of pages, like de-DE."),
}
_OF_BROWSERS = {"channel": (Browser.CHROMIUM, Browser.FIREFOX)}  # options that only some browsers have

S = TypeVar("S", bound=BaseSettings)
Options = Iterable[tuple[str, str]]


def with_options(settings: S, browser: Browser, options: Options) -> S:
    """Return the settings of a pool's workers; raises ValueError, whose text names the option that is wrong."""
    found = settings.model_copy()
    for name, value in options:
        if browser not in _OF_BROWSERS.get(name, Browser):
            raise ValueError(f"{browser} has no {name}")
        try:  # by the setting's own rules
            type(found).__pydantic_validator__.validate_assignment(found, OPTIONS[name][0].format(browser), value)
        except ValidationError as error:
            raise ValueError(f"{name}: {sentence(error.errors()[0])}") from None
        if name == "proxy" and upstream_proxy(value).username:
            raise ValueError("proxy: one with a password can only be BROWSER_PROXY: every account can read pools")
    return found


def wrong_options(settings: BaseSettings, browser: Browser, options: Options) -> list[str]:
    """Return what is wrong with the options of a pool, a sentence each."""
    wrong = []
    for option in options:
        try:
            with_options(settings, browser, [option])
        except ValueError as error:
            wrong.append(str(error))
    return wrong
