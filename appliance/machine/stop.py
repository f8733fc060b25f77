"""Stop the process tree."""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil

from appliance.deadline import Deadline
from appliance.machine import processes, user_ids
from appliance.machine.environment import started_settings, stop_wait_s
from appliance.machine.folders import alone_in, remove_left
from appliance.machine.supervisor import Supervisor
from appliance.settings.config import Settings

_REDIS_STOP_S = 15  # supervisord stops it when the others are gone, and kills it after 10 s
_POLL_INTERVAL_S = 0.1


def stop(settings: Settings, meanwhile: Callable[[], None] = lambda: None) -> bool:
    """Stop the appliance of RUN_DIR, and what an earlier run of it left. Returns False if nothing ran.

    Sessions have SHUTDOWN_GRACE to end. The wait is bounded; what is left then is killed. While it waits, it calls
    `meanwhile` several times a second.
    """
    supervisor = Supervisor(settings.run_dir)
    was_running = supervisor.running()
    if was_running:
        left = _shut_down(supervisor, started_settings(settings) or settings, meanwhile)
    else:
        left = processes.left_over(settings.run_dir)
    processes.end(left)
    user_ids.end_left(settings)
    for path in (settings.paths.supervisor_socket, settings.paths.supervisor_pid):  # left by one that was killed
        path.unlink(missing_ok=True)
    return was_running or bool(left)


def clear(settings: Settings) -> list[str]:
    """End and remove what killed workers left that had no successor to do it: supervisord starts none as it stops.

    Return the names of their folders, such as "chromium-00.1a2b3c". Nothing is touched if the appliance runs again, or
    is being started, which clears the same. Raises SettingsError if a folder cannot be removed.
    """
    if not settings.paths.logs.is_dir():
        return []
    with alone_in(settings.paths) as is_alone:
        if not is_alone or Supervisor(settings.run_dir).running():
            return []
        processes.end(processes.left_over(settings.run_dir))
        return remove_left(settings.paths)


def _shut_down(supervisor: Supervisor, settings: Settings, meanwhile: Callable[[], None]) -> list[psutil.Process]:
    """Let supervisord stop its processes and itself. Return those that are left."""
    root = psutil.Process(supervisor.pid())
    family = {root}
    supervisor.shutdown()
    deadline = Deadline(stop_wait_s(settings) + _REDIS_STOP_S)
    while processes.is_alive(root) and not deadline.is_over:
        family |= processes.children(root)
        meanwhile()
        time.sleep(_POLL_INTERVAL_S)
    return [process for process in family if processes.is_alive(process)]
