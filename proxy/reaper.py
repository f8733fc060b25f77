"""The reaper: removes from Redis what is lost, as soon as it is known to be lost."""

from __future__ import annotations

import gevent

from appliance import logs
from appliance.grid.grid import Grid
from appliance.grid.observer import Observer
from appliance.grid.sessions import Sessions
from appliance.grid.story import Bounds
from appliance.request_errors import StoreUnavailable
from appliance.settings.config import Settings

log = logs.get_logger()

SOON_S = 0.05  # after the moment in which something is overdue


class Reaper:
    """Reaps at intervals, and in between when a lease or a heartbeat is over."""

    def __init__(self, grid: Grid, sessions: Sessions, settings: Settings, observer: Observer) -> None:
        """Reap for the appliance of the settings; `sessions` are those of its proxy, `observer` hears what is found."""
        self._grid = grid
        self._sessions = sessions
        self._settings = settings
        self._observer = observer

    def reap(self) -> None:
        """Reap once."""
        settings = self._settings
        history = Bounds(settings.history_keep, settings.history_max_age)
        self._sessions.renew()  # or a proxy that was paused past its leases would reap its own sessions
        count = self._grid.reap(settings.longest_silence, settings.appliance_name, history)
        if any(count.values()):
            self._observer.reaped(count)
            log.warning("reaped", **count)

    def pause(self) -> None:
        """Wait for the next time to reap."""
        try:
            due_in_s = self._grid.due_in_s() + SOON_S
        except StoreUnavailable:
            due_in_s = self._settings.reaper_run_interval
        gevent.sleep(min(due_in_s, self._settings.reaper_run_interval))
