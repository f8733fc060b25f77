"""How commands reach the grid: by the settings that the appliance runs with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from appliance import config
from appliance.config import Settings
from appliance.registry import Registry
from appliance.store import Store
from appliance.supervision import started_settings


def current_settings(**overrides: Any) -> Settings:
    """Give the settings that the appliance was started with, or would be; raises SettingsError."""
    settings = config.load(**overrides)
    return started_settings(settings) or settings


@contextmanager
def open_registry(settings: Settings) -> Iterator[Registry]:
    """Give the registry of the grid, until the block's end; what it is asked raises StoreUnavailable."""
    store = Store(settings.effective_redis_url, settings.grid_namespace)
    try:
        yield Registry(store)
    finally:
        store.close()
