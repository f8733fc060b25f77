"""Checks before anything is started or stopped: what would keep an appliance from serving."""

from __future__ import annotations

from appliance.checks.shared_redis import require_free_name, require_token, require_usable_redis
from appliance.cli.output import Output
from appliance.errors import SettingsError, StoreRefuses, StoreUnavailable
from appliance.grid.grid import open_grid
from appliance.machine import accounts, browsers, certificate, room, sandbox
from appliance.names import Browser
from appliance.settings.config import Settings


def require_startable(settings: Settings, out: Output) -> None:
    """Check disk space, files and a shared Redis. Raises SettingsError or StoreRefuses."""
    if lack := room.shortage(settings.run_dir):
        raise SettingsError(
            f"RUN_DIR {settings.run_dir} has {lack}", "Make room there, or set RUN_DIR to another folder."
        )
    certificate.require_usable(settings.tls_cert, settings.tls_key)
    certificate.require_usable(settings.redis_tls_cert, settings.redis_tls_key, "REDIS_")
    files = ("tls_cert", "tls_key", "redis_tls_cert", "redis_tls_key")
    accounts.require_readable(settings, {name.upper(): getattr(settings, name) for name in files})
    if settings.redis_url:
        _require_welcome(settings, out)
    else:
        require_token(settings)


def require_sandbox(settings: Settings) -> str:
    """Return a warning if Chromium runs without its sandbox, "" if it runs in it.

    Raises SettingsError if the sandbox is needed and cannot be used, and LaunchError if there is no Chromium.
    """
    if not settings.workers_of(Browser.CHROMIUM):
        return ""
    program = browsers.find(Browser.CHROMIUM, settings)
    decision = sandbox.decide(settings, program.path, accounts.browser_prefix(settings))
    if decision.on or settings.chromium_sandbox == "false":
        return ""
    return f"Chromium runs without its sandbox: open only pages that you trust. {decision.why}. {decision.remedy}"


def _require_welcome(settings: Settings, out: Output) -> None:
    """Check that the grid accepts this appliance; a Redis that is away may come back while everything starts."""
    try:
        with open_grid(settings) as grid:
            require_usable_redis(grid)
            require_free_name(settings, grid)
            require_token(settings, grid)
    except StoreRefuses:
        raise
    except StoreUnavailable as error:
        out.warn(f"{str(error).rstrip('.')}. The appliance waits for it.")
