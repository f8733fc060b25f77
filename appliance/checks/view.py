"""The running appliance as it looks from outside: processes, workers, sessions, and what the proxy says."""

from __future__ import annotations

import http.client
import json
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psutil

from appliance.errors import SupervisorError
from appliance.grid.grid import open_grid
from appliance.grid.records import PoolCapacity, WorkerInfo
from appliance.grid.story import Story
from appliance.machine import drivers, room
from appliance.machine.folders import is_changing
from appliance.machine.processes import left_over
from appliance.machine.record import record_of
from appliance.machine.supervisor import ProcessInfo, Supervisor
from appliance.request_errors import StoreUnavailable
from appliance.settings.config import Settings

_ANSWER_TIMEOUT_S = 5.0


@dataclass(slots=True)
class GridView:
    """What was seen in one look. `workers` are this appliance's; pools and sessions the whole grid's.

    `changing` says that the appliance is being started or stopped, and `left_over` names the processes of an earlier
    run, if supervisord does not answer. `rival` is where another appliance of the same name is. `lacking_drivers` says
    why those of some versions cannot be had on demand.
    """

    settings: Settings
    supervisor_pid: int = 0
    changing: bool = False
    left_over: list[str] = field(default_factory=list)
    processes: list[ProcessInfo] = field(default_factory=list)
    redis_error: str = ""
    rival: str = ""
    workers: list[WorkerInfo] = field(default_factory=list)
    other_workers: list[WorkerInfo] = field(default_factory=list)
    pools: list[PoolCapacity] = field(default_factory=list)
    sessions: list[Story] = field(default_factory=list)
    lacking_drivers: dict[str, str] = field(default_factory=dict)
    lack_of_room: str = ""
    proxy_answers: bool = False
    ready: bool = False
    not_ready_because: str = ""

    @property
    def grid_workers(self) -> list[WorkerInfo]:
        """The workers of all appliances."""
        return [*self.workers, *self.other_workers]

    @property
    def running(self) -> bool:
        """Whether supervisord answers."""
        return bool(self.supervisor_pid)

    @property
    def missing(self) -> list[str]:
        """The names of the workers that are not registered."""
        registered = {worker.name for worker in self.workers}
        return [name for name in self.settings.worker_names if name not in registered]

    @property
    def name_taken(self) -> str:
        """A sentence about who else has this appliance's name."""
        return f"another appliance of the grid is also called {self.settings.appliance_name}: {self.rival}"

    @property
    def problems(self) -> list[str]:
        """What keeps the appliance from being whole, one sentence each; empty if it is."""
        if not self.running:
            left = f"an earlier run left {', '.join(self.left_over)}"
            changing = "the appliance is being started or stopped"
            first = changing if self.changing else "the appliance is not running"
            return [first, *([left] if self.left_over else [])]
        found = [f"process {p.name} is {p.state}" for p in self.processes if not p.started]
        if self.redis_error:
            found.append(self.redis_error)
        elif self.missing:
            found.append(f"no worker is registered for {', '.join(self.missing)}")
        if self.rival:
            found.append(self.name_taken)
        if self.lack_of_room:
            found.append(f"{self.settings.run_dir} has {self.lack_of_room}")
        if not self.ready:
            found.append(self.not_ready_because)
        return found


def look(settings: Settings) -> GridView:
    """Look at the appliance; what is away shows in the view and raises nothing."""
    view = GridView(settings)
    supervisor = Supervisor(settings.run_dir)
    try:
        view.supervisor_pid = supervisor.pid()
        view.processes = supervisor.processes()
    except SupervisorError:
        view.changing = is_changing(settings.paths)
        view.left_over = [] if view.changing else [_named(process) for process in left_over(settings.run_dir)]
        return view
    with suppress(OSError):
        view.lack_of_room = room.shortage(settings.run_dir)
    _look_into_redis(view)
    try:
        status, answer = _get(settings, "/readyz")
    except OSError as error:
        view.not_ready_because = f"the proxy does not answer: {error}"
        return view
    view.proxy_answers = True
    view.ready = status == http.client.OK
    view.not_ready_because = str(answer.get("error", {}).get("message", f"/readyz answers {status}"))
    return view


def _named(process: psutil.Process) -> str:
    """Name a process by its pid, program and module: "12 (python3 -m proxy)"."""
    try:
        module = " ".join(process.cmdline()[1:])
        return f"{process.pid} ({process.name()}{f' {module}' if module.startswith('-m ') else ''})"
    except psutil.NoSuchProcess:
        return str(process.pid)


def _look_into_redis(view: GridView) -> None:
    name = view.settings.appliance_name
    try:
        with open_grid(view.settings) as grid:
            for worker in grid.workers():
                (view.workers if worker.appliance == name else view.other_workers).append(worker)
            view.pools = grid.capacity()
            view.sessions = grid.stories()
            view.lacking_drivers = grid.lacking_drivers(list(drivers.CONFINED))
            view.rival = grid.rival_of(name, record_of(view.settings).read().run)
    except StoreUnavailable as error:
        view.redis_error = str(error)


def _get(settings: Settings, path: str) -> tuple[int, dict[str, Any]]:
    """Ask this appliance's proxy for a page: the status, and the JSON object ({} if it is none).

    Raises OSError if it does not answer.
    """
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104  # any address
    connection = _connection(settings, host)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        answer = json.loads(response.read())
        return response.status, answer if isinstance(answer, dict) else {}
    except ValueError:
        return response.status, {}
    except http.client.HTTPException as error:
        raise ConnectionError(f"{host} port {settings.port} does not speak HTTP") from error
    finally:
        connection.close()


def _connection(settings: Settings, host: str) -> http.client.HTTPConnection:
    """Prepare a connection to this appliance's proxy.

    Its certificate is not verified: it names the host that clients use, and its issuer is perhaps known to
    them alone. It is this machine's own port, which is asked for its state and told nothing.
    """
    if not settings.tls_cert:
        return http.client.HTTPConnection(host, settings.port, timeout=_ANSWER_TIMEOUT_S)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(host, settings.port, timeout=_ANSWER_TIMEOUT_S, context=context)
