"""The targets of faults: the processes of an appliance as they are at this moment, found without its Redis."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from appliance.errors import SupervisorError
from appliance.machine.supervisor import Supervisor
from tests.support.appliance import Appliance, tree


class Missing(Exception):
    """There is no such process now: what supervisord will start again, for example."""


@dataclass(frozen=True, slots=True)
class WorkersTree:
    """A worker of an appliance with its driver and browser; `ready` says that it watches them."""

    grid: Appliance
    id: str
    name: str
    ready: bool
    processes: dict[str, psutil.Process]

    def part(self, name: str) -> list[psutil.Process]:
        """Return the processes of a part: the whole tree, the browser's process group, all of a type, or one."""
        if name == "tree":
            return list(self.processes.values())
        if name == "browsers-group":
            group = self.processes["browser"].pid
            return [process for process in self.processes.values() if _group(process) == group]
        if name == "own-browser":  # of one session, beside the shared one
            of_driver = {child.pid: child for child in self.processes["driver"].children()}
            return [child for pid, child in of_driver.items() if pid != self.processes["browser"].pid][:1]
        if name in self.processes:
            return [self.processes[name]]
        if name == "zygote" and not self.ready:  # nobody would notice it, see workers/watch.py
            return []
        return self._of_type(name)

    def _of_type(self, name: str) -> list[psutil.Process]:
        """Return the browser's processes of a type, as Chromium names them in their arguments."""
        return [p for key, p in self.processes.items() if key.isdigit() and f"--type={name}" in _arguments(p)]


def process(grid: Appliance, name: str) -> psutil.Process:
    """Return the process that supervisord knows by a name; raises Missing."""
    pids = {info.name: info.pid for info in Supervisor(grid.run_dir).processes()}
    try:
        return psutil.Process(pids.get(name) or -1)
    except (psutil.NoSuchProcess, ValueError):
        raise Missing(f"no process {name}") from None


def is_there(grid: Appliance, name: str) -> bool:
    """Return whether a process that supervisord knows runs now."""
    try:
        process(grid, name)
    except (Missing, SupervisorError):
        return False
    return True


def workers(members: Sequence[Appliance], number: int) -> Iterator[WorkersTree]:
    """Yield the workers that have a browser, from one on by its number; raises SupervisorError."""
    known = [(grid, name) for grid in members for name in _names(grid)]
    first = number % len(known)
    for grid, name in (*known[first:], *known[:first]):
        with suppress(Missing, psutil.Error, StopIteration, IndexError, ValueError):
            processes = tree(process(grid, name).pid)  # its driver or browser may not have started yet
            found = worker_id(grid, processes["driver"])
            yield WorkersTree(grid, found, name, _is_ready(grid, name, found), processes)


def _names(grid: Appliance) -> list[str]:
    return sorted(info.name for info in Supervisor(grid.run_dir).processes() if info.name.startswith("chromium-"))


def worker_id(grid: Appliance, driver: psutil.Process) -> str:
    """Return the id of the worker that started a driver: its configuration lies in the worker's folder."""
    arguments = driver.cmdline()
    folder = Path(arguments[arguments.index("--config") + 1]).parent.relative_to(grid.run_dir / "workers")
    return ".".join((grid.env["APPLIANCE_NAME"], *folder.parts))


def _is_ready(grid: Appliance, name: str, worker: str) -> bool:
    return any(worker in line and "worker.ready" in line for line in grid.log(name).splitlines())


def _group(process: psutil.Process) -> int | None:
    try:
        return os.getpgid(process.pid)
    except ProcessLookupError:
        return None


def _arguments(found: psutil.Process) -> Iterator[str]:
    with suppress(psutil.Error):
        yield from found.cmdline()
