"""The appliance as a process tree: start supervisord, speak with it, look at what it runs, stop it."""

from appliance.supervision.client import ProcessInfo, Supervisor
from appliance.supervision.environment import CONFIGURATION, export, recover
from appliance.supervision.lifecycle import (
    left_over,
    require_free_port,
    start,
    started_settings,
    stop,
)
from appliance.supervision.run_dir import bringing_up, prepare_run_dir
from appliance.supervision.shared_redis import (
    require_free_name,
    require_guarded,
    require_usable_redis,
)
from appliance.supervision.view import GridView, look

__all__ = [
    "CONFIGURATION",
    "GridView",
    "ProcessInfo",
    "Supervisor",
    "bringing_up",
    "export",
    "left_over",
    "look",
    "prepare_run_dir",
    "recover",
    "require_free_name",
    "require_free_port",
    "require_guarded",
    "require_usable_redis",
    "start",
    "started_settings",
    "stop",
]
