"""Whether the guard is in force, as the settings ask."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from appliance import guard
from appliance.config import Settings
from appliance.doctor.check import Check, failed, ok, warning
from appliance.supervision import started_settings


def check_guard(settings: Settings) -> Iterator[Check]:
    """The rules are loaded, and are what the settings, and the machine's resolvers of names, make of them."""
    if settings.browser_user is None:
        return
    settings = started_settings(settings) or settings
    if not settings.guard:
        yield warning("guard", "pages reach this machine and its private networks", "Leave GUARD out.")
        return
    if os.geteuid() != 0:
        yield warning("guard", "only root can see whether the rules are loaded", "Run `applctl doctor` as root.")
        return
    loaded = guard.is_loaded(guard.ruleset(guard.values_of(settings)))
    if loaded is None:
        yield failed("guard", "its rules are not loaded: pages reach private networks", "Run: applctl guard apply")
    elif not loaded:
        found = "its rules were changed, or the settings or /etc/resolv.conf were after they had been loaded"
        yield failed("guard", found, "Run: applctl guard apply")
    else:
        yield ok("guard", "its rules are loaded, as the settings ask")


CHECKS: tuple[Callable[[Settings], Iterator[Check]], ...] = (check_guard,)
