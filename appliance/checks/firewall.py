"""A check of the firewall: whether the rules that the settings ask for are loaded."""

from __future__ import annotations

import os
from collections.abc import Iterator

from appliance.checks.check import Check, failed, ok, warning
from appliance.machine import firewall
from appliance.machine.environment import started_settings
from appliance.settings.config import Settings
from appliance.settings.networks import is_loopback

_OPEN = "off: pages reach this machine and its private networks"


def check_firewall(settings: Settings) -> Iterator[Check]:
    """The loaded rules match the settings and the machine's networks."""
    settings = started_settings(settings) or settings
    if settings.browser_user is None:
        yield _without_accounts(settings)
    elif not settings.guard:
        yield warning("firewall", _OPEN, "Remove GUARD=false.")
    elif os.geteuid() != 0:
        yield warning("firewall", "only root can see whether its rules are loaded", "Run `applctl doctor` as root.")
    else:
        yield _loaded(settings)


def _without_accounts(settings: Settings) -> Check:
    if is_loopback(settings.host):
        return ok("firewall", f"{_OPEN}, as programs of this account do")
    remedy = "As root, set SERVICE_USER and BROWSER_USER (docs/firewall.md)."
    return warning("firewall", _OPEN, remedy)


def _loaded(settings: Settings) -> Check:
    loaded = firewall.is_loaded(firewall.ruleset(firewall.values_of(settings)))
    if loaded:
        return ok("firewall", "its rules are loaded")
    finding = "its rules are not loaded: pages reach private networks"
    if loaded is not None:
        finding = "its rules were changed, or the settings or this machine's networks were"
    return failed("firewall", finding, "Run: applctl firewall apply")
