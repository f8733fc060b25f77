"""How commands reach the grid: by the settings that the appliance runs with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from appliance.errors import NotRunning
from appliance.grid.grid import Grid, open_grid
from appliance.machine.environment import started_settings
from appliance.settings import config
from appliance.settings.config import Settings


def current_settings() -> Settings:
    """Return the settings that the appliance was started with, or would be; raises SettingsError."""
    settings = config.load()
    return started_settings(settings) or settings


def running_settings() -> Settings:
    """Return the settings that the appliance was started with; raises NotRunning."""
    if found := started_settings(config.load()):
        return found
    raise NotRunning


@contextmanager
def current_grid() -> Iterator[tuple[Settings, Grid]]:
    """Return the settings and the grid's state, until the block ends.

    A Redis that other appliances share has a grid even if none runs here. Raises NotRunning if there is neither.
    """
    settings = config.load()
    running = started_settings(settings)
    if running is None and not settings.redis_url:
        raise NotRunning
    with open_grid(running or settings) as grid:
        yield running or settings, grid
