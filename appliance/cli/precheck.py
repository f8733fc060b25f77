"""What would keep an appliance from serving, said before anything is started or stopped."""

from __future__ import annotations

from rich.console import Console

from appliance import accounts, browsers, certificate, room, sandbox
from appliance.config import Settings
from appliance.errors import SettingsError, StoreRefuses, StoreUnavailable
from appliance.models import Browser
from appliance.registry import open_registry
from appliance.supervision import require_free_name, require_guarded, require_usable_redis


def require_startable(settings: Settings, out: Console) -> None:
    """Raise SettingsError or StoreRefuses if disk, files or a shared Redis do not fit the settings, which are valid."""
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


def require_sandbox(settings: Settings) -> str:
    """Return what to warn of if Chromium runs without its sandbox where it may; raises SettingsError where it must not.

    Raises LaunchError if there is no Chromium.
    """
    if not settings.workers_of(Browser.CHROMIUM):
        return ""
    program = browsers.find(Browser.CHROMIUM, settings)
    decision = sandbox.decide(settings, program.path, accounts.browser_prefix(settings))
    if decision.on or settings.chromium_sandbox == "false":
        return ""
    return f"Chromium runs without its sandbox, not for pages that you do not trust: {decision.why}. {decision.remedy}"


def _require_welcome(settings: Settings, out: Console) -> None:
    """See that the grid takes this appliance; a Redis that is away may come back while everything starts."""
    try:
        with open_registry(settings) as registry:
            require_usable_redis(registry)
            require_free_name(settings, registry)
            require_guarded(settings, registry)
    except StoreRefuses:
        raise
    except StoreUnavailable as error:
        out.print(f"{str(error).rstrip('.')}. The appliance waits for it.", style="yellow", markup=False)
