"""Which pools an appliance has, and which worker is in which: a file, for all its processes to read.

`applctl up` writes it from the settings. Whoever changes the size of a running appliance writes it again
(appliance/pools/resizing.py): processes that start later, and commands, then go by the file. Only the account that
starts the appliance can write it.
"""

from __future__ import annotations

import json

from appliance import files
from appliance.names import Browser
from appliance.settings.config import Settings
from appliance.settings.pools import Pool

_READABLE_BY_ALL = 0o644


def write(settings: Settings) -> None:
    """Write the pools of these settings; raises OSError."""
    placed = {name: list(pool) for name, pool in settings.pool_by_name.items()}
    files.replace(settings.paths.pools, json.dumps(placed, indent=1), mode=_READABLE_BY_ALL)


def as_written(settings: Settings) -> Settings:
    """Return these settings with the pools of the file; as they are if there is none that can be read."""
    try:
        content = json.loads(settings.paths.pools.read_text())
        return settings.as_placed({str(name): _pool(*fields) for name, fields in content.items()})
    except (OSError, ValueError, TypeError, AttributeError):
        return settings


def _pool(browser: str, minor: str, workers: int, spares: int, on_demand: bool) -> Pool:
    return Pool(Browser(browser), str(minor), int(workers), int(spares), bool(on_demand))
