"""`applctl down`: stop the appliance, and show which sessions it waits for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from appliance.cli.command import command
from appliance.cli.output import Output, counted
from appliance.deadline import Deadline
from appliance.grid.grid import Grid, open_grid
from appliance.grid.records import SessionInfo
from appliance.machine.environment import started_settings
from appliance.machine.stop import clear, stop
from appliance.names import WorkerId, appliance_of_proxy
from appliance.request_errors import StoreUnavailable
from appliance.settings import config
from appliance.settings.config import Settings

_LOOK_INTERVAL_S = 1.0


@command("applctl down")
def down(out: Output) -> dict[str, Any]:
    """Stop the appliance.

    Running sessions have SHUTDOWN_GRACE seconds to end. Harmless if nothing runs. If supervisord or workers were
    killed, the processes and folders that they left are removed.
    """
    was_running, folders = stop_appliance(config.load(), out)
    out.say("The appliance is stopped." if was_running else "The appliance was not running.")
    return {"stopped": was_running, "removed_folders": folders}


def stop_appliance(settings: Settings, out: Output) -> tuple[bool, list[str]]:
    """Stop the appliance, count down while sessions are left, and remove what killed workers left.

    Return whether anything ran, and the names of the folders that were removed.
    """
    was_running, folders = _stop(settings, out), clear(settings)
    if folders:
        out.say(f"Removed {counted(len(folders), 'folder')} of workers that were killed: {', '.join(folders)}.")
    return was_running, folders


def _stop(settings: Settings, out: Output) -> bool:
    running = started_settings(settings)
    if running is None:
        return stop(settings)
    with open_grid(running) as grid, out.console.status("Stopping …") as status:
        show = status.update if out.console.is_terminal else out.say
        return stop(settings, Countdown(running, grid, show).look)


class Countdown:
    """Says how many sessions an appliance that stops still waits for, and for how long at most."""

    def __init__(self, settings: Settings, grid: Grid, show: Callable[[str], None]) -> None:
        """Count from now; `show` is called with each new sentence."""
        self._settings = settings
        self._grid: Grid | None = grid
        self._show = show
        self._grace = Deadline(settings.shutdown_grace)
        self._next_look = Deadline(0)
        self._left = 0

    def look(self) -> None:
        """Look at Redis, once a second at most, and say what has changed."""
        if self._grid is None or not self._next_look.is_over:
            return
        self._next_look = Deadline(_LOOK_INTERVAL_S)
        try:
            sessions = self._grid.sessions()
        except StoreUnavailable:  # it stops last: nothing is waited for any more
            self._grid = None
            return
        left = sum(is_of(session, self._settings.appliance_name) for session in sessions)
        if left or self._left:
            self._show(waiting_for(left, self._grace.left_s))
        self._left = left


def waiting_for(sessions: int, seconds: float) -> str:
    """Return a sentence about the sessions that are left; `seconds` is the time that they still have."""
    if not sessions:
        return "All sessions have ended."
    return f"Waiting for {counted(sessions, 'session')} to end, {max(0, round(seconds))} s at most …"


def is_of(session: SessionInfo, appliance: str) -> bool:
    """Return whether an active session has a worker or the proxy of an appliance."""
    owners = (WorkerId.parse(session.worker).appliance, appliance_of_proxy(session.proxy))
    return session.holds_slot and appliance in owners
