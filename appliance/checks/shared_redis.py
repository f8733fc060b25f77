"""Whether a grid accepts an appliance: Redis accepts it, its name is free, and the grid has a token."""

from __future__ import annotations

from appliance.errors import OpenToAll, SettingsError, StoreRefuses
from appliance.grid.grid import Grid
from appliance.grid.token_copy import token_copy_of
from appliance.machine.install import MIN_REDIS
from appliance.machine.record import record_of
from appliance.names import Browser
from appliance.settings.config import Settings


def require_usable_redis(grid: Grid) -> str:
    """Give the version of a Redis, "" if it does not tell, after a call that needs all that an appliance needs.

    Raises StoreRefuses if it does not take this appliance, StoreUnavailable if it is away.
    """
    version = str(grid.store.facts().get("redis_version", ""))
    if version and int(version.split(".")[0]) < MIN_REDIS:
        raise StoreRefuses(f"Redis {version} has no Functions", f"Use Redis {MIN_REDIS} or later, or Valkey.")
    grid.store.require_keeping()
    grid.is_ready(Browser.CHROMIUM)
    return version


def require_free_name(settings: Settings, grid: Grid) -> None:
    """Raise SettingsError if another appliance of the grid that lives has this one's name.

    What an earlier run of this one has left there does not count.
    """
    name = settings.appliance_name
    if taken_by := grid.rival_of(name, record_of(settings).read().run):
        raise SettingsError(
            f"the grid already has an appliance called {name}: {taken_by}",
            "Set APPLIANCE_NAME to another name. If that was an earlier run of this one, the grid forgets it within "
            f"{settings.lease_ttl:g} s: try again then.",
        )


def require_token(settings: Settings, grid: Grid | None = None) -> None:
    """Raise OpenToAll if the endpoint would be open to anybody: the grid has no token, and never had one."""
    if not settings.requires_token or settings.appliance_token:
        return
    if not (token_copy_of(settings).read() or (grid and grid.tokens())):
        raise OpenToAll
