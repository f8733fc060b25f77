"""A check that PID 1 collects orphans, processes whose parent has ended.

The first program of a container is its PID 1. Most programs do not collect processes that they have not started. Those
stay as zombies, until the container reaches its limit of processes. The appliance collects its own
(appliance/machine/respawning.py, workers/family.py), but not supervisord, nor what other programs leave.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil

from appliance.checks.check import Check, ok, warning
from appliance.deadline import wait_until
from appliance.settings.config import Settings

_TRIAL = ["sh", "-c", "sleep 0.1 & echo $!"]  # sh ends at once, and leaves an orphan
_WITHIN_S = 2.0
_LOOK_INTERVAL_S = 0.02


def check_pid_1(_: Settings) -> Iterator[Check]:
    """Leave an orphan, and see whether it stays a zombie."""
    zombies = _zombies_of_pid_1()  # an earlier trial has left one already, if so
    if not zombies:
        pid = int(subprocess.run(_TRIAL, capture_output=True, text=True, check=True).stdout)
        wait_until(lambda: not _exists(pid), _WITHIN_S, _LOOK_INTERVAL_S)
        zombies = _zombies_of_pid_1()
    if zombies:
        yield warning(
            "PID 1",
            f"{_name_of_pid_1()} does not collect orphans: {len(zombies)} stay as zombies",
            "Start the container with an init: docker run --init, or `init: true` in a compose file. `applctl up "
            "--foreground` as the container's command is one, too.",
        )
    else:
        yield ok("PID 1", f"{_name_of_pid_1()} collects orphans")


def _zombies_of_pid_1() -> list[int]:
    """Return the children of PID 1 that stay zombies."""
    processes = psutil.process_iter(["ppid", "status"])
    found = [p.pid for p in processes if p.info["ppid"] == 1 and p.info["status"] == psutil.STATUS_ZOMBIE]
    wait_until(lambda: not any(map(_exists, found)), _WITHIN_S / 2, _LOOK_INTERVAL_S)
    return [pid for pid in found if _exists(pid)]


def _exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _name_of_pid_1() -> str:
    try:
        return Path("/proc/1/comm").read_text().strip()
    except OSError:
        return "unknown"
