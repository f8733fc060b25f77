"""The settings by their subjects; `appliance.settings.config` makes one class of them and reads it."""

from appliance.settings.accounts import AccountSettings
from appliance.settings.endpoint import EndpointSettings
from appliance.settings.redis import RedisSettings
from appliance.settings.timings import TimingSettings
from appliance.settings.workers import BrowserSettings, WorkerSettings

__all__ = [
    "AccountSettings",
    "BrowserSettings",
    "EndpointSettings",
    "RedisSettings",
    "TimingSettings",
    "WorkerSettings",
]
