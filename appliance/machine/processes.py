"""The appliance's processes on this machine: which are those of a RUN_DIR, and how they end."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

from appliance.deadline import Deadline
from appliance.names import MARKER
from appliance.run_dir import RunDir

_KILL_TIMEOUT_S = 5.0
_POLL_INTERVAL_S = 0.1


def left_over(run_dir: Path) -> list[psutil.Process]:
    """Return the processes of a RUN_DIR whose supervisord does not answer, because it was killed, say."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and _belongs(process, run_dir):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def end(processes: Iterable[psutil.Process]) -> None:
    """Ask processes to end, wait for them, and kill those that do not."""
    left = set(processes)
    for act in (psutil.Process.terminate, psutil.Process.kill):
        for process in left:
            try:
                act(process)
            except psutil.NoSuchProcess:
                continue
        deadline = Deadline(_KILL_TIMEOUT_S)
        while left and not deadline.is_over:
            left = {process for process in left if is_alive(process)}
            time.sleep(_POLL_INTERVAL_S if left else 0)


def children(process: psutil.Process) -> set[psutil.Process]:
    """Return the processes below another; none if it has ended."""
    try:
        return set(process.children(recursive=True))
    except psutil.NoSuchProcess:
        return set()


def is_alive(process: psutil.Process) -> bool:
    """Return whether a process runs. A zombie does not: in a container nobody may ever fetch its exit status."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _belongs(process: psutil.Process, run_dir: Path) -> bool:
    """Return whether a process is of a RUN_DIR: by its environment or, of Redis, by its title, which overwrites that.

    supervisord sets the environment of its processes; a worker sets its folder's in that of driver and browser.
    """
    if process.name().startswith(("redis-server", "valkey-server")):
        return any(str(RunDir(run_dir).redis_socket) in part for part in process.cmdline())
    environment = process.environ()
    if environment.get(MARKER, "").startswith(f"{RunDir(run_dir).workers}/"):
        return True
    return environment.get("RUN_DIR") == str(run_dir) and "REDIS_PROCESSES" in environment
