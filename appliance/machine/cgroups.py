"""Control groups (cgroup v2), where the machine hands the appliance a part of their tree: one for each worker.

Facts (cgroups(7); systemd's docs/CGROUP_DELEGATION.md)
 1. systemd marks the part that a service may divide (Delegate=) by the attribute user.delegate. No other is touched.
 2. A group that has controllers for its children has no processes of its own: those of the appliance move to a child.
 3. cgroup.kill ends all that is in a group and below, with what they fork meanwhile.
 4. Who moves a process must own cgroup.procs of where it goes, and of the next group that has both places below it.

Layout: PART/appliance has supervisord, Redis and the proxy; PART/chromium-00 a worker, with the limits for all of it;
and PART/chromium-00/browser its driver and browser. Root makes a worker's group before the worker gives root up.
Without such a part, as in a login session, in most containers and with cgroup v1, nothing here does anything.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from appliance.deadline import wait_until

CONTROLLERS = ("memory", "pids")
THREADS_MAX = 16_384  # of a worker; a renderer has 15 to 30. It stops a fork bomb, and no page
MEMORY_MARGIN = 1.25  # beyond the hard bound that the worker minds itself, which says why it ends

_END_TIMEOUT_S = 5.0
_LOOK_S = 0.01


@dataclass(frozen=True, slots=True)
class Group:
    """A worker's group; `browser` is where its driver and browser are."""

    path: Path

    @property
    def browser(self) -> Path:
        """The group of driver and browser."""
        return self.path / "browser"

    def join_browser(self) -> None:
        """Move this process, one that is about to become the driver."""
        _write(self.browser / "cgroup.procs", "0")

    def kill_browser(self) -> None:
        """Kill driver and browser, and whatever they have left; raises OSError."""
        _write(self.browser / "cgroup.kill", "1")


def find_part(mounts: Path = Path("/proc/self/mounts"), own: Path = Path("/proc/self/cgroup")) -> Path | None:
    """Return the part of the tree that this appliance may divide, if there is one."""
    places = [fields[1] for fields in map(str.split, mounts.read_text().splitlines()) if fields[2] == "cgroup2"]
    names = [line.removeprefix("0::") for line in own.read_text().splitlines() if line.startswith("0::")]
    if not places or not names:
        return None
    group = Path(places[0] + names[0])
    return next((one for one in (group, *group.parents) if _is_delegated(one)), None)


def divide(part: Path) -> None:
    """Make room for the workers' groups; raises OSError. The caller, who starts the appliance, is in the part."""
    appliance = part / "appliance"
    appliance.mkdir(exist_ok=True)
    for pid in (part / "cgroup.procs").read_text().split():
        with suppress(ProcessLookupError):  # it has just ended
            _write(appliance / "cgroup.procs", pid)
    offered = (part / "cgroup.controllers").read_text().split()
    _write(part / "cgroup.subtree_control", " ".join(f"+{name}" for name in CONTROLLERS if name in offered))


def enter(part: Path, name: str, uid: int, memory_bytes: int) -> Group:
    """Move this process to the group of a worker, end what is left in there, and let a user id manage what is below it.

    `memory_bytes` is the worker's hard bound, 0 if there is none. Raises OSError.
    """
    group = Group(part / name)
    _end(group.path)
    group.browser.mkdir(parents=True, exist_ok=True)
    limits = {
        "memory.max": str(int(memory_bytes * MEMORY_MARGIN)) if memory_bytes else "max",
        "pids.max": str(THREADS_MAX),
    }
    for name, value in limits.items():
        if (group.path / name).exists():
            _write(group.path / name, value)
    _write(group.path / "cgroup.procs", "0")
    for file in (group.path / "cgroup.procs", group.browser / "cgroup.procs", group.browser / "cgroup.kill"):
        os.chown(file, uid, -1)
    return group


def _end(group: Path) -> None:
    """Kill all that is in a group, and wait until it is empty."""
    kill = group / "cgroup.kill"
    if not kill.exists():
        return
    _write(kill, "1")
    wait_until(lambda: "populated 1" not in (group / "cgroup.events").read_text(), _END_TIMEOUT_S, _LOOK_S)


def _is_delegated(group: Path) -> bool:
    try:
        return os.getxattr(group, "user.delegate") == b"1"
    except OSError:
        return False


def _write(file: Path, text: str) -> None:
    """Write to one of the kernel's files, in one step; it is never made."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
