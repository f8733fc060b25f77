"""The appliance's processes, sockets and temporary folders, as the kernel shows them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import psutil

from appliance.machine import unix_sockets
from appliance.names import MARKER
from appliance.run_dir import RunDir
from appliance.settings.config import Settings

Role = Literal["supervisord", "proxy", "worker", "mcp"]
_ROLES: dict[str, Role] = {"supervisor.supervisord": "supervisord", "proxy": "proxy", "workers": "worker"}
_PAUSED = (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)


@dataclass(frozen=True, slots=True)
class Program:
    """supervisord, or a process that it keeps alive.

    A worker has a `name`; `workspaces` are the folders whose locks it has open.
    """

    pid: int
    parent: int
    role: Role
    paused: bool = False
    name: str = ""
    workspaces: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Part:
    """A driver, or a process of a browser: a workspace's name marks it."""

    pid: int
    parent: int
    name: str
    workspace: str
    age_s: float = 0.0
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Wire:
    """A TCP socket of the appliance; addresses are "host:port", `remote` is "" if it listens."""

    pid: int
    local: str
    remote: str
    status: str = psutil.CONN_ESTABLISHED


@dataclass(frozen=True, slots=True)
class Listener:
    """A unix socket on which a driver listens."""

    pid: int
    path: str


@dataclass(frozen=True, slots=True)
class Call:
    """A connection to a unix socket: a driver's, or the proxy's for agents.

    `name` is the same in all looks, `caller` is a program's pid or 0.
    """

    path: str
    name: str
    caller: int = 0


@dataclass(frozen=True, slots=True)
class Machine:
    """What one look found; `folders` are the workers' temporary folders, named "<name>.<hex>"."""

    programs: tuple[Program, ...] = ()
    parts: tuple[Part, ...] = ()
    folders: frozenset[str] = frozenset()
    wires: tuple[Wire, ...] = ()
    listeners: tuple[Listener, ...] = ()
    calls: tuple[Call, ...] = ()

    def of(self, role: Role) -> list[Program]:
        """Return the processes of one role."""
        return [program for program in self.programs if program.role == role]

    def drivers(self, worker_pid: int) -> list[Part]:
        """Return the driver of a worker's process, if it lives."""
        return [part for part in self.parts if part.parent == worker_pid]

    def all_drivers(self) -> list[Part]:
        """Return the drivers of all workers."""
        workers = {program.pid for program in self.of("worker")}
        return [part for part in self.parts if part.parent in workers]


def survey(settings: Settings) -> Machine:
    """Look at this machine. Only the appliance's own account and root see everything."""
    workers = settings.paths.workers.resolve()
    programs: list[Program] = []
    parts: list[Part] = []
    for process in psutil.process_iter():
        found = _describe(process, settings.run_dir, workers)
        if isinstance(found, Program):
            programs.append(found)
        elif found:
            parts.append(found)
    folders = frozenset(_name(path) for path in workers.glob("*/*/"))
    wires = _wires({program.pid for program in programs} | {part.pid for part in parts})
    seen = Machine(tuple(programs), tuple(parts), folders, wires)
    listeners, calls = _listeners_and_calls(seen)
    return replace(seen, listeners=listeners, calls=(*calls, *_calls_of_agents(seen, settings.paths.mcp_browsers)))


def _calls_of_agents(machine: Machine, place: Path) -> Iterator[Call]:
    """Yield the connections of agents' processes to the proxy, which are in a network of their own."""
    held = {inode for program in machine.of("proxy") for inode in unix_sockets.held_by(program.pid)}
    for program in machine.of("mcp"):
        with suppress(OSError):  # it has just ended
            accepted = unix_sockets.accepted_at(place, program.pid)
            yield from (Call(str(place), f"unix:{inode}") for inode in accepted & held)


def _describe(process: psutil.Process, run_dir: Path, workers: Path) -> Program | Part | None:
    """Return a process as part of the appliance; None if it is not, has just ended, or is another account's."""
    try:
        environment = process.environ()
        if environment.get("RUN_DIR") == str(run_dir) and "REDIS_PROCESSES" in environment:
            return _program(process, environment, workers)
        workspace = Path(environment.get(MARKER, "/"))
        if workspace.parent.parent in (workers, RunDir(run_dir).workers):
            return _part(process, _name(workspace))
    except psutil.Error:
        return None
    return None


def _program(process: psutil.Process, environment: dict[str, str], workers: Path) -> Program | None:
    """Return a program, known by the module that it runs: `python -m workers`."""
    line = process.cmdline()
    module = line[line.index("-m") + 1] if "-m" in line[:-1] else ""
    role = "mcp" if str(RunDir(Path(environment["RUN_DIR"])).mcp_socket) in line else _ROLES.get(module)
    if role is None:
        return None
    paused = process.status() in _PAUSED
    if role != "worker":
        return Program(process.pid, process.ppid(), role, paused)
    files = (Path(file.path) for file in process.open_files())
    locked = frozenset(_name(path.parent) for path in files if path.name == "lock" and path.parents[2:3] == (workers,))
    return Program(process.pid, process.ppid(), role, paused, environment.get("WORKER_NAME", ""), locked)


def _part(process: psutil.Process, workspace: str) -> Part:
    age_s = time.time() - process.create_time()
    return Part(process.pid, process.ppid(), process.name(), workspace, age_s, process.status() in _PAUSED)


def _wires(holders: set[int]) -> tuple[Wire, ...]:
    """Return the TCP sockets of these processes. A closed one that lingers in the kernel has no process."""
    return tuple(
        Wire(socket.pid, _address(socket.laddr), _address(socket.raddr), socket.status)
        for socket in psutil.net_connections("tcp")
        if socket.pid in holders
    )


def _listeners_and_calls(machine: Machine) -> tuple[tuple[Listener, ...], tuple[Call, ...]]:
    """Return the sockets on which drivers listen, and the connections to them."""
    sockets = unix_sockets.all_sockets()
    drivers = {inode: part.pid for part in machine.all_drivers() for inode in unix_sockets.held_by(part.pid)}
    callers = {inode: program.pid for program in machine.programs for inode in unix_sockets.held_by(program.pid)}
    listeners = tuple(Listener(drivers[one.inode], one.path) for one in sockets if one.listens and one.inode in drivers)
    paths = {listener.path for listener in listeners}
    calls = (one for one in sockets if not one.listens and one.path in paths)
    return listeners, tuple(Call(one.path, f"unix:{one.inode}", callers.get(one.peer, 0)) for one in calls)


def _name(folder: Path) -> str:
    """Return the name of a worker's folder, with which the worker's id ends."""
    return f"{folder.parent.name}.{folder.name}"


def _address(address: Any) -> str:
    return f"{address.ip}:{address.port}" if address else ""
