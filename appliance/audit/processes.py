"""Compare the registered workers with the processes and folders. Pure: values in, differences out."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

import psutil

from appliance.audit.difference import AT_ONCE_S, STOPPING_S, Difference
from appliance.audit.machine import Machine, Part, Program
from appliance.audit.relays import socket_of
from appliance.audit.snapshot import Snapshot
from appliance.grid.records import WorkerInfo
from appliance.run_dir import RunDir
from appliance.settings.config import Settings
from appliance.settings.networks import HELPERS

_PROBE_S = 10.0  # for a worker to check that its browser answers, and to register
_REPLACED_S = 5.0  # for supervisord to start a worker's successor, which removes what its predecessor left


def differences(snapshot: Snapshot, machine: Machine, settings: Settings) -> Iterator[Difference]:
    """Compare this appliance's workers in Redis with its processes and folders."""
    own = [worker for worker in snapshot.workers if worker.appliance == settings.appliance_name]
    for worker in own:
        yield from _registered(worker, machine, settings)
    yield from _listeners(machine, settings)
    yield from _unregistered(own, machine, settings)
    yield from _paused(machine)
    yield from _strangers(machine)
    yield from _abandoned(machine, settings)


def _registered(worker: WorkerInfo, machine: Machine, settings: Settings) -> Iterator[Difference]:
    """A registered worker has a process, a driver that listens, and a browser."""
    remedy = f"Its successor or, after WORKER_TTL, a proxy removes it; if it stays, see: applctl logs {worker.name}"
    if (worker.pid, worker.name) not in {(program.pid, program.name) for program in machine.of("worker")}:
        text = f"worker {worker.id} is registered, but its process {worker.pid} is gone"
        yield Difference(("worker", worker.id), text, remedy, _REPLACED_S)
        return
    drivers = {part.pid for part in machine.drivers(worker.pid)}
    if socket_of(worker, settings) not in {one.path for one in machine.listeners if one.pid in drivers}:
        text = f"worker {worker.id} is registered, but no driver of its listens at {socket_of(worker, settings)}"
    elif not any(part.parent in drivers for part in machine.parts):
        text = f"worker {worker.id} is registered, but has no browser"
    else:
        return
    yield Difference(("worker", worker.id), text, f"Run: applctl restart {worker.name}", STOPPING_S)


def _unregistered(own: list[WorkerInfo], machine: Machine, settings: Settings) -> Iterator[Difference]:
    """A worker is registered if its driver has run for longer than any launch takes."""
    registered = {worker.pid for worker in own}
    for program in machine.of("worker"):
        ages_s = [part.age_s for part in machine.drivers(program.pid)]
        if program.pid not in registered and ages_s and max(ages_s) > settings.launch_timeout + _PROBE_S:
            text = f"{_named(program)} has had a driver for {max(ages_s):.0f} s, but is not registered"
            remedy = f"See its log: applctl logs {program.name}"
            yield Difference(("unregistered", str(program.pid)), text, remedy, STOPPING_S)


def _listeners(machine: Machine, settings: Settings) -> Iterator[Difference]:
    """A driver listens on its own socket only, and for client certificates on addresses that nothing else reaches."""
    drivers = {part.pid: part for part in machine.all_drivers()}
    workers = settings.paths.workers
    places = [(w.pid, w.local) for w in machine.wires if w.pid in drivers and w.status == psutil.CONN_LISTEN]
    places = [(pid, place) for pid, place in places if ip_address(place.rpartition(":")[0]) not in HELPERS]
    places += [(one.pid, one.path) for one in machine.listeners if one.pid in drivers]
    for pid, place in places:
        name, _, suffix = drivers[pid].workspace.rpartition(".")
        if place != str(RunDir.driver_socket_in(workers / name / suffix)):
            text = f"{_named(drivers[pid])}, the driver of worker {name}, listens at {place}, which it must not"
            yield Difference(("listener", str(pid), place), text, f"Run: applctl restart {name}", AT_ONCE_S)


def _paused(machine: Machine) -> Iterator[Difference]:
    """No process is paused: to supervisord it would be alive, to everything else dead."""
    processes: list[Program | Part] = [*machine.programs, *machine.parts]
    for process in processes:
        if process.paused:
            text = f"{_named(process)} is paused"
            yield Difference(("paused", str(process.pid)), text, f"Continue it: kill -CONT {process.pid}")


def _strangers(machine: Machine) -> Iterator[Difference]:
    """The proxy and the workers are children of the running supervisord."""
    supervisors = {program.pid for program in machine.of("supervisord")}
    for program in machine.programs:
        if program.role != "supervisord" and program.parent not in supervisors:
            text = f"{_named(program)} is not a child of this appliance's supervisord: an earlier run left it"
            remedy = f"It ends when its sessions have, within SHUTDOWN_GRACE; or: kill {program.pid}"
            yield Difference(("stranger", str(program.pid)), text, remedy, STOPPING_S)


def _abandoned(machine: Machine, settings: Settings) -> Iterator[Difference]:
    """Each driver, browser and temporary folder belongs to a worker that has its lock open."""
    owned = {name for program in machine.of("worker") for name in program.workspaces}
    for part in machine.parts:
        if part.workspace not in owned:
            text = f"{_named(part)} belongs to no worker: nobody owns its folder {part.workspace}"
            remedy = f"The next worker of its name ends it; or: kill -KILL {part.pid}"
            yield Difference(("part", str(part.pid)), text, remedy, _REPLACED_S)
    for name in sorted(machine.folders - owned):
        folder = settings.paths.workers / name.replace(".", "/")
        remedy = f"The next worker of its name removes it; or: rm -r {folder}"
        text = f"temporary folder {folder} belongs to no worker"
        yield Difference(("folder", name), text, remedy, _REPLACED_S)


def _named(process: Program | Part) -> str:
    if isinstance(process, Part):
        return f"process {process.pid} ({process.name})"
    return f"process {process.pid} ({f'worker {process.name}' if process.name else process.role})"
