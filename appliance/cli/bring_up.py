"""What `up` and `restart` have in common: check, start, wait until the grid is ready, and say how to use it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from appliance.checks import When, require
from appliance.cli import welcome
from appliance.cli.demo import Demo, describe, run_demo
from appliance.cli.drivers import of_other_clients
from appliance.cli.firewall import apply_firewall
from appliance.cli.output import Output
from appliance.cli.setup import provide
from appliance.grid.token_copy import keep_boot_token, token_copy_of
from appliance.grid.token_table import has_boot_token
from appliance.machine import drivers, install
from appliance.machine.addresses import endpoint_for_others
from appliance.machine.environment import started_settings
from appliance.machine.folders import bringing_up
from appliance.machine.start import start
from appliance.machine.stop import stop
from appliance.names import Browser
from appliance.settings.config import Settings
from appliance.settings.networks import is_loopback


def check(settings: Settings, out: Output) -> None:
    """Make the checks that need nothing installed; raises SettingsError for the first that fails."""
    for concern in require(settings, When.SETUP):
        out.warn(concern)


def bring_up(settings: Settings, out: Output, *, with_setup: bool) -> None:
    """End what an earlier run left, and start the appliance."""
    with bringing_up(settings):
        if started_settings(settings):  # by another `up`, since the first look
            return
        if stop(settings):
            out.say("Ended what an earlier run had left.")
        if with_setup:
            provide(settings, out)
        redis = None if settings.redis_url else _require_redis()
        for concern in require(settings, When.START):
            out.warn(concern)
        if settings.has_firewall:
            apply_firewall(settings, out)
        start(settings, redis, keep_boot_token)


def _require_redis() -> Path:
    if redis := install.find_redis():
        return Path(redis.path)
    raise install.ProvisionError(
        f"there is no Redis {install.MIN_REDIS} or Valkey server",
        "`applctl setup` installs one; or set REDIS_URL to a Redis that runs elsewhere.",
    )


def try_out(settings: Settings, out: Output) -> Demo:
    """Open a page through the grid; raises SessionFailed. It leaves no file."""
    with out.busy("Opening a page through the grid"):
        result = run_demo(settings)
    out.say(describe(result))
    return result


def present(settings: Settings, tried: Demo | None, out: Output) -> dict[str, Any]:
    """Show how to use the grid, and return the same as data."""
    version, for_others = drivers.version_for_clients(settings), endpoint_for_others(settings)
    is_for_all = not is_loopback(settings.host) or has_boot_token(token_copy_of(settings).read())
    out.show(
        welcome.text(
            settings.endpoint,
            settings.default_browser_type,
            version,
            for_others=for_others,
            wants_token=is_for_all and not settings.allow_anonymous,
        )
    )
    out.say(of_other_clients(settings))
    return {
        "endpoint": settings.endpoint,
        "endpoint_for_others": for_others or None,
        "playwright": version,
        "run_dir": settings.run_dir,
        "workers": {browser: settings.workers_of(browser) for browser in Browser if settings.workers_of(browser)},
        "demo": tried.as_dict() if tried else None,
    }
