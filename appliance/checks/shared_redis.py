"""Whether a grid accepts an appliance: Redis accepts it, its name is free, and the grid has a token."""

from __future__ import annotations

from appliance.errors import SettingsError, StoreRefuses
from appliance.grid.appliances import Appliances
from appliance.grid.grid import Registry
from appliance.machine.install import MIN_REDIS
from appliance.names import Browser
from appliance.settings.config import Settings
from appliance.settings.cross_checks import NOT_GUARDED, WAYS_TO_GUARD, is_loopback


def require_usable_redis(registry: Registry) -> str:
    """Give the version of a Redis, "" if it does not tell, after a call that needs all that an appliance needs.

    Raises StoreRefuses if it does not take this appliance, StoreUnavailable if it is away.
    """
    version = str(registry.store.facts().get("redis_version", ""))
    if version and int(version.split(".")[0]) < MIN_REDIS:
        raise StoreRefuses(f"Redis {version} has no Functions", f"Use Redis {MIN_REDIS} or later, or Valkey.")
    registry.store.require_keeping()
    registry.is_ready(Browser.CHROMIUM)
    return version


def require_free_name(settings: Settings, registry: Registry) -> None:
    """Raise SettingsError if another appliance of the grid that lives has this one's name.

    What an earlier run of this one has left there does not count.
    """
    name = settings.appliance_name
    if taken_by := Appliances(registry).rival(name, settings.memory.read().run):
        raise SettingsError(
            f"the grid already has an appliance called {name}: {taken_by}",
            "Set APPLIANCE_NAME to another name. If that was an earlier run of this one, the grid forgets it within "
            f"{settings.lease_ttl:g} s: try again then.",
        )


def require_guarded(settings: Settings, registry: Registry) -> None:
    """Raise SettingsError if the endpoint would be open to anybody: the grid has no token, and never had one."""
    if settings.allow_anonymous or is_loopback(settings.host) or settings.appliance_token:
        return
    if not (settings.token_file.read() or registry.tokens()):
        raise SettingsError(NOT_GUARDED, WAYS_TO_GUARD)
