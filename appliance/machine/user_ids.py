"""Who has the user ids of an appliance's workers (accounts.py): its own workers and what they left, or others."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

import psutil

from appliance.deadline import Deadline
from appliance.errors import SettingsError
from appliance.machine.accounts import Accounts, accounts_of
from appliance.machine.processes import is_alive
from appliance.settings.config import Settings

_KILL_TIMEOUT_S = 5.0
_POLL_INTERVAL_S = 0.1


def end_left(settings: Settings) -> None:
    """Kill what workers have left, by their user ids, which no process can hide.

    Others that have these user ids by chance are left alone.
    """
    accounts = accounts_of(settings)
    if accounts is None or os.geteuid() != 0:
        return
    deadline = Deadline(_KILL_TIMEOUT_S)
    while (left := _left_by_workers(accounts, settings.run_dir)) and not deadline.is_over:
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        time.sleep(_POLL_INTERVAL_S)


def require_unshared(settings: Settings) -> None:
    """Raise SettingsError if processes that are not of this RUN_DIR have user ids of its workers."""
    accounts = accounts_of(settings)
    if accounts is None:
        return
    for process in _processes_of(accounts.uids):
        with suppress(psutil.NoSuchProcess):
            if _is_foreign(process, accounts, settings.run_dir):
                uids = f"{accounts.uids.start}-{accounts.uids.stop - 1}"
                raise SettingsError(
                    f"the user ids {uids} are for the workers of {settings.run_dir}, but process {process.pid} "
                    f"({process.name()}) has {process.uids().real}",
                    "Set BROWSER_UIDS to another range, or use another RUN_DIR: each takes 1200 user ids of the range.",
                )


def _left_by_workers(accounts: Accounts, run_dir: Path) -> list[psutil.Process]:
    found = []
    for process in _processes_of(accounts.uids):
        with suppress(psutil.NoSuchProcess):
            if _is_worker_of_another(process, accounts, run_dir):
                return []  # browsers may be the other appliance's
            if not _is_foreign(process, accounts, run_dir):
                found.append(process)
    return found


def _processes_of(uids: range) -> list[psutil.Process]:
    found = (process for process in psutil.process_iter(["uids"]) if process.info["uids"])
    return [process for process in found if process.info["uids"].real in uids and is_alive(process)]


def _is_foreign(process: psutil.Process, accounts: Accounts, run_dir: Path) -> bool:
    """Return whether a process with a user id of this RUN_DIR's workers is another's, by what it cannot forge.

    All that workers start has the group of BROWSER_USER as its real one, and no rights to take another.
    """
    return process.gids().real != accounts.browser.gid or _is_worker_of_another(process, accounts, run_dir)


def _is_worker_of_another(process: psutil.Process, accounts: Accounts, run_dir: Path) -> bool:
    """Return whether a process is a worker of another appliance with the same accounts: only root gives such ids."""
    if process.uids().real not in accounts.own_uids:
        return False
    try:
        return process.environ().get("RUN_DIR", str(run_dir)) != str(run_dir)
    except psutil.AccessDenied:  # a container without CAP_SYS_PTRACE
        return False
