"""Whether the Redis that an appliance is to use takes it: its password, its version, and the appliance's name there."""

from __future__ import annotations

from typing import Any

from appliance.config import Settings
from appliance.errors import SettingsError, StoreRefuses
from appliance.provision import MIN_REDIS
from appliance.registry import Appliances, Registry
from appliance.store import Store


def require_usable_redis(settings: Settings) -> dict[str, Any]:
    """Give what the Redis that the settings name says of itself (`Store.ping`).

    Raises StoreRefuses if it does not take this appliance, StoreUnavailable if it is away.
    """
    store = Store(settings.effective_redis_url, settings.grid_namespace)
    try:
        info = store.ping()
        version = str(info.get("redis_version", "0"))
        if int(version.split(".")[0]) < MIN_REDIS:
            raise StoreRefuses(f"Redis {version} has no Functions", f"Use Redis {MIN_REDIS} or later, or Valkey.")
        store.read(("FUNCTION", "STATS"))
    finally:
        store.close()
    return info


def require_free_name(settings: Settings) -> None:
    """Raise SettingsError if another appliance of the grid that lives has this one's name.

    What an earlier run of this one has left there does not count.
    """
    store = Store(settings.effective_redis_url, settings.grid_namespace)
    try:
        name = settings.appliance_name
        if taken_by := Appliances(Registry(store)).rival(name, settings.memory.read().run):
            raise SettingsError(
                f"the grid has an appliance called {name} already: {taken_by}",
                "Set APPLIANCE_NAME to another name. If it was this one, which is gone, the grid forgets it within "
                f"{settings.lease_ttl:g} s: try again then.",
            )
    finally:
        store.close()
