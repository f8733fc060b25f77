"""What faults do to processes: signals, and descriptors and folders that give out."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import psutil

from appliance.machine.supervisor import Supervisor
from tests.chaos.bounded import BoundedMember
from tests.support.appliance import Appliance

_limits: defaultdict[int, threading.RLock] = defaultdict(threading.RLock)  # of a process, by its id


def act_on(act: str, victims: list[psutil.Process], grid: Appliance, lasts_s: float = 0.0, number: int = 0) -> None:
    """Do something to processes of an appliance, for so many seconds; `number` chooses among the ways."""
    match act:
        case "kill" | "terminate":
            _send(signal.SIGKILL if act == "kill" else signal.SIGTERM, victims)
        case "descriptors":
            with ExitStack() as causes:
                for victim in victims:
                    causes.enter_context(out_of_descriptors(victim))
                time.sleep(lasts_s)
        case "unspawned":
            _kill_and_let_spawns_fail(victims, lasts_s, grid, number)
        case _:
            with _continued(victims):
                _send(signal.SIGSTOP, victims)
                time.sleep(lasts_s)


@contextmanager
def out_of_descriptors(process: psutil.Process, polls: bool = False) -> Iterator[None]:
    """Let a process open nothing more for as long as the block lasts (EMFILE), unless it closes something.

    Of two such blocks for one process, the second waits for the first: it would take its limit for the usual one.
    """
    with _limits[process.pid]:
        before = process.rlimit(psutil.RLIMIT_NOFILE)
        try:
            limit = _close_in(process, polls)
            yield
        finally:
            with suppress(psutil.NoSuchProcess):
                for one in [process, *process.children(recursive=True)]:  # what it started has its limit
                    if one.rlimit(psutil.RLIMIT_NOFILE)[0] == limit:
                        one.rlimit(psutil.RLIMIT_NOFILE, before)


@contextmanager
def unreadable_folder(grid: Appliance, name: str, supervisord: int) -> Iterator[None]:
    """Put a folder that nobody can lock among those of a worker's name for as long as the block lasts.

    It has a folder for a lock, and is closed. To root nothing is closed: for it, it is on a read-only file system, too.
    """
    workers = grid.run_dir / "workers"
    bad = workers / name / "0bad00" if (workers / name).is_dir() else workers / f"{name}.0bad00"
    (bad / "lock").mkdir(parents=True)
    bad.chmod(0)
    inside = ["nsenter", f"--target={supervisord}", "--mount"]
    if is_root := os.geteuid() == 0:
        subprocess.run([*inside, "mount", "-t", "tmpfs", "-o", "ro", "grid", bad], check=True)
    try:
        yield
    finally:
        if is_root:
            subprocess.run([*inside, "umount", bad], check=False)
        with suppress(FileNotFoundError):  # a worker may have made away with it
            bad.chmod(0o700)
            shutil.rmtree(bad)


def _kill_and_let_spawns_fail(victims: list[psutil.Process], lasts_s: float, grid: Appliance, number: int) -> None:
    """Kill processes that supervisord cannot start again for so long: it cannot fork, or has no descriptors."""
    supervisord = psutil.Process(Supervisor(grid.run_dir).pid())
    can_bound = isinstance(grid, BoundedMember) and number % 4 < 2
    without = grid.group.without_forks(supervisord.pid) if can_bound else out_of_descriptors(supervisord, polls=True)
    with _limits[supervisord.pid], without:
        _send(signal.SIGKILL, victims)
        time.sleep(lasts_s)


def _close_in(process: psutil.Process, polls: bool) -> int:
    """Lower the limit of descriptors to the first that is free, which is the next that would be opened; return it.

    Where a process polls all that it has open, the limit may not be less than those are (poll(2), EINVAL).
    """
    taken = {int(name) for name in os.listdir(f"/proc/{process.pid}/fd")}
    free = next(number for number in itertools.count() if number not in taken)
    limit = max(free, len(taken)) if polls else free
    process.rlimit(psutil.RLIMIT_NOFILE, (limit, process.rlimit(psutil.RLIMIT_NOFILE)[1]))
    return limit


def _send(number: signal.Signals, victims: list[psutil.Process]) -> None:
    for victim in victims:
        with suppress(psutil.NoSuchProcess):
            victim.send_signal(number)


@contextmanager
def _continued(victims: list[psutil.Process]) -> Iterator[None]:
    try:
        yield
    finally:
        for victim in reversed(victims):
            with suppress(psutil.NoSuchProcess):
                victim.resume()
