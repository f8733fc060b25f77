"""The processes that belong to a workspace, living or left over, and their end.

Rules
 1. The driver is started with the marker APPLIANCE_WORKSPACE in its environment, which the browser
    inherits. A process with the marker belongs to the workspace.
 2. Chromium's zygotes wipe their environment, and so the renderers have none. But Playwright starts
    the browser with setsid (packages/utils/processLauncher.ts, `detached`), and session ids are
    inherited: a process of the browser's session belongs to the workspace.
 3. A session's number can be that of another session by now. If the process that leads it lives and
    has not the marker, or if a member runs a program that the browser did not, it is none of ours.
 4. Descendants of what belongs to the workspace belong to it, too.
 5. Where the worker has a user id of its own (machine/accounts.py), all that has it belongs to the worker:
    a process can hide all of the above, but not that.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from appliance.deadline import Deadline
from appliance.machine import kernel
from appliance.names import MARKER

_LOOK_INTERVAL_S = 0.02


@dataclass(frozen=True, slots=True)
class BrowserSession:
    """The kernel's session that a browser was started in, and the programs that ran in it."""

    sid: int
    programs: tuple[str, ...]


def session_of(pid: int) -> BrowserSession:
    """Describe the session that a browser's process leads."""
    members = [p.pid for p in psutil.process_iter() if _sid(p.pid) == pid]
    with kernel.as_real_group():
        programs = {program for member in members if (program := _program(member))}
    return BrowserSession(pid, tuple(sorted(programs)))


def processes_of(workspace: Path, session: BrowserSession | None) -> set[int]:
    """Return the ids of the processes that belong to a workspace, by the rules above."""
    parents = {p.pid: p.info["ppid"] for p in psutil.process_iter(["ppid"]) if _lives(p)}
    with kernel.as_real_group():
        marked = {pid for pid in parents if _has_marker(pid, workspace)}
        found = marked | _members(session, parents, marked)
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {os.getpid()}


def kill_account(timeout_s: float) -> None:
    """Kill every process of this one's effective user id: only for a worker whose user ids nobody else has.

    The kernel kills all of them in one step, so that none can start another meanwhile. Raises TimeoutError.
    """
    deadline = Deadline(timeout_s)
    while left := _of_account():
        if deadline.is_over:
            raise TimeoutError(f"processes {sorted(left)} of user id {os.geteuid()} do not end")
        with suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        time.sleep(_LOOK_INTERVAL_S)


def kill(workspace: Path, session: BrowserSession | None, timeout_s: float, family: bool = False) -> set[int]:
    """Kill what belongs to a workspace, again and again until nothing is left.

    With `family`, descendants of this process count as well. Return the ids of the killed processes.
    Raises TimeoutError if some are left after `timeout_s` seconds.
    """
    deadline = Deadline(timeout_s)
    killed: set[int] = set()
    while left := processes_of(workspace, session) | (_descendants() if family else set()):
        if deadline.is_over:
            raise TimeoutError(f"processes {sorted(left)} of {workspace} do not end")
        for pid in left:
            _send_kill(pid)
        killed |= left
        time.sleep(_LOOK_INTERVAL_S)
    return killed


def _of_account() -> set[int]:
    own = os.geteuid()
    return {p.pid for p in psutil.process_iter(["uids"]) if p.info["uids"].real == own and _lives(p)} - {os.getpid()}


def _members(session: BrowserSession | None, pids: Iterable[int], marked: set[int]) -> set[int]:
    if session is None:
        return set()
    members = {pid for pid in pids if _sid(pid) == session.sid}
    if session.sid in members - marked:
        return set()
    # A sandboxed renderer hides its program from all but root; that alone does not acquit it.
    return {pid for pid in members if _program(pid) in (*session.programs, None)}


def _descendants() -> set[int]:
    return {p.pid for p in psutil.Process().children(recursive=True) if _lives(p)}


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _has_marker(pid: int, workspace: Path) -> bool:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:  # ended, or another user's
        return False
    return os.fsencode(f"{MARKER}={workspace}") in environment.split(b"\0")


def _sid(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None


def _program(pid: int) -> str | None:
    try:
        # An upgrade replaces the file of a program that runs.
        return os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")
    except OSError:  # ended, or hidden
        return None


def _send_kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # seen again, or not, by the next look
        return
