"""Which pools an appliance has, and which worker is in which: a file, for all its processes to read.

`applctl up` writes it from the settings. Whoever changes the size of a running appliance writes it again
(appliance/pools/resizing.py): processes that start later, and commands, then go by the file. Only the account that
starts the appliance can write it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

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


class Current:
    """The settings with the pools as they are now: the file is read again when it has changed."""

    def __init__(self, settings: Settings) -> None:
        """Set the settings that the appliance was started with."""
        self._settings = self._read = settings
        self._state: tuple[int, ...] = ()

    def __call__(self) -> Settings:
        """Return the settings as they are now."""
        try:
            status = self._settings.paths.pools.stat()
            state: tuple[int, ...] = (status.st_mtime_ns, status.st_ino)
        except OSError:
            state = ()
        if state != self._state:
            self._state, self._read = state, as_written(self._settings)
        return self._read


def _pool(
    browser: str, minor: str, workers: int, spares: int, on_demand: bool, options: Sequence[tuple[str, str]] = ()
) -> Pool:
    named = tuple((str(name), str(value)) for name, value in options)
    return Pool(Browser(browser), str(minor), int(workers), int(spares), bool(on_demand), named)
