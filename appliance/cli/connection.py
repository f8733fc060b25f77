"""The settings by which commands reach the grid: those that the appliance runs with."""

from __future__ import annotations

from typing import Any

from appliance import config
from appliance.config import Settings
from appliance.supervision import started_settings


def current_settings(**overrides: Any) -> Settings:
    """Give the settings that the appliance was started with, or would be; raises SettingsError."""
    settings = config.load(**overrides)
    return started_settings(settings) or settings
