"""After the last fault: is everything whole again? Every difference is named."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import psutil

from appliance.errors import SupervisorError
from appliance.grid.grid import Grid
from appliance.grid.values import WorkerStatus
from appliance.machine.supervisor import Supervisor
from appliance.request_errors import StoreUnavailable
from tests.chaos.bounded import BoundedMember
from tests.chaos.rig import Rig
from tests.support.appliance import Appliance

WHOLE_WITHIN_S = 10.0
PATIENCE_S = 60.0  # beyond that, to tell what is late from what never comes
LOOK_INTERVAL_S = 0.2


@dataclass(frozen=True, slots=True)
class Calm:
    """When everything was whole again, in seconds after the last fault (None: never), and what was not at 10 s."""

    whole_after_s: float | None
    late: list[str]


def wait_until_whole(differences: Callable[[], list[str]], since: float) -> Calm:
    """Look for differences until there are none: for WHOLE_WITHIN_S from a time of the clock, and PATIENCE_S more."""
    late: list[str] = []
    last: list[str] = []
    while True:
        found = differences()
        taken_s = time.time() - since
        if taken_s > WHOLE_WITHIN_S:
            late = late or found or last
        if not found:
            return Calm(taken_s, late)
        if taken_s > WHOLE_WITHIN_S + PATIENCE_S:
            return Calm(None, found)
        last = found
        time.sleep(LOOK_INTERVAL_S)


def differences(rig: Rig, sids: Iterable[int]) -> list[str]:
    """Name everything that is not as in idle appliances; `sids` are the browsers' sessions that were ever seen."""
    try:
        found = [*_workers(rig), *_sessions(rig.state), *_teams(rig.state)]
        found += [orphan for member in rig.members for orphan in _processes(member, set(sids))]
        # What the auditor finds it waits for, to see whether it stays: so it is asked last.
        return found or [difference for member in rig.members for difference in member.audit()]
    except (StoreUnavailable, SupervisorError) as error:
        return [str(error)]
    except psutil.NoSuchProcess as error:  # ended while it was looked at
        return [f"something still ends: {error}"]


def browsers_sessions(grid: Appliance) -> set[int]:
    """Return the kernel's session ids of the browsers that run now: their processes are known by these."""
    found = set()
    for process in psutil.process_iter():
        try:
            if "--remote-debugging-pipe" in process.cmdline() and _is_marked(process, grid):
                found.add(os.getsid(process.pid))
        except (psutil.Error, ProcessLookupError):
            continue
    return found


def _workers(rig: Rig) -> list[str]:
    """Name what the pool lacks. More may serve than are configured to: a worker that was lost and is back."""
    serving, spare = rig.serving, rig.spare
    workers = rig.state.workers()
    wrong = [f"{w.id} is {'suspect' if w.suspect else 'stale'}" for w in workers if w.suspect or w.stale]
    wrong += [f"{w.id} has {w.active} sessions" for w in workers if w.active]
    count = Counter(worker.status for worker in workers)
    ready = count[WorkerStatus.AVAILABLE] + count[WorkerStatus.STANDBY]
    if len(workers) != serving + spare or ready != len(workers) or count[WorkerStatus.AVAILABLE] < serving:
        wrong.append("workers are " + (", ".join(f"{w.id} {w.status}" for w in workers) or "all gone"))
    return wrong


def _sessions(state: Grid) -> list[str]:
    return [f"session {s.id} {s.name} is {s.status} on {s.worker or 'no worker'}" for s in state.sessions()]


def _teams(state: Grid) -> list[str]:
    """Name the members of teams that are gone: such a one keeps a spare from taking its place."""
    store = state.store
    workers = {worker.id for worker in state.workers()}
    wrong = []
    for kind, *command in (("serving", "SMEMBERS"), ("standby", "ZRANGE", 0, -1)):
        for team in store.read(("KEYS", store.key(kind, "*")))[0]:
            members = store.read((command[0], team, *command[1:]))[0]
            wrong += [f"{member} is gone, but still in {team}" for member in members if member not in workers]
    return wrong


def _processes(grid: Appliance, sids: set[int]) -> list[str]:
    """Name the processes that nobody minds, those of browsers that are gone too, which have no environment."""
    found = list(_all_of(grid, sids))  # before the family, which then has whatever was started meanwhile
    supervisord = psutil.Process(Supervisor(grid.run_dir).pid())
    family = {supervisord, *supervisord.children(recursive=True)}
    return [
        f"process {process.pid} {process.name()} is an orphan"
        for process in found
        if process not in family and process.pid != os.getpid()
    ]


def _all_of(grid: Appliance, sids: set[int]) -> Iterator[psutil.Process]:
    """Yield an appliance's processes: by its process group, or else by what is known of them."""
    if not isinstance(grid, BoundedMember):
        yield from (process for process in psutil.process_iter() if _is_of(process, grid, sids))
        return
    for pid in grid.group.processes():
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            if process.status() != psutil.STATUS_ZOMBIE:
                yield process


def _is_of(process: psutil.Process, grid: Appliance, sids: set[int]) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        if process.environ().get("RUN_DIR") == str(grid.run_dir) or _is_marked(process, grid):
            return True
        sid = os.getsid(process.pid)
        return sid in sids and "chrom" in process.name() and not _leads_anothers(sid, grid)
    except (psutil.Error, ProcessLookupError):
        return False


def _leads_anothers(sid: int, grid: Appliance) -> bool:
    """Say whether a session's number was taken by another program's session since."""
    return psutil.pid_exists(sid) and not _is_marked(psutil.Process(sid), grid)


def _is_marked(process: psutil.Process, grid: Appliance) -> bool:
    return process.environ().get("APPLIANCE_WORKSPACE", "").startswith(f"{grid.run_dir}/")
