"""A typed client of supervisord, by XML-RPC over its unix socket (supervisord.org/api.html)."""

from __future__ import annotations

import http.client
import os
import socket
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from xmlrpc.client import Error, Fault, ServerProxy

from supervisor.xmlrpc import SupervisorTransport, UnixStreamHTTPConnection

from appliance.deadline import Deadline
from appliance.errors import NotRunning, SupervisorError
from appliance.run_dir import RunDir

ANSWER_TIMEOUT_S = 10.0
_POLL_INTERVAL_S = 0.1


@dataclass(frozen=True, slots=True)
class ProcessInfo:
    """A process as supervisord sees it; `state` is a name such as RUNNING, `pid` is 0 if there is none."""

    name: str
    group: str
    state: str
    pid: int
    uptime_s: int

    @property
    def started(self) -> bool:
        """Whether it runs, as far as supervisord knows, or is about to."""
        return self.state in ("RUNNING", "STARTING")

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data, for JSON."""
        return asdict(self)


class AccessDenied(SupervisorError):
    """The appliance belongs to another account, so it is unknown whether it runs."""

    hint = "Use the account that started the appliance, or set RUN_DIR to a folder of your own."


class _Connection(UnixStreamHTTPConnection):  # type: ignore[misc]
    """A connection that gives up on a supervisord that hangs; supervisor's own waits for ever."""

    def connect(self) -> None:
        """Connect only to root or this account: another could name any process as its own, to have it ended."""
        super().connect()
        self.sock.settimeout(ANSWER_TIMEOUT_S)
        if _listener(self.sock) not in (0, os.geteuid()):
            raise AccessDenied(f"another account listens at {self.socketfile}")


def _listener(connection: socket.socket) -> int:
    """Return the user id of the listener at the other end (unix(7), SO_PEERCRED)."""
    ids = struct.Struct("3i")  # process, user, group
    user: int = ids.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, ids.size))[1]
    return user


class _Transport(SupervisorTransport):  # type: ignore[misc]
    def __init__(self, path: Path) -> None:
        super().__init__(serverurl=f"unix://{path}")
        self._path = path
        self._get_connection = self._dial

    def _dial(self) -> _Connection:
        connection = _Connection("localhost")
        connection.socketfile = str(self._path)
        return connection


class Supervisor:
    """The supervisord of one RUN_DIR. Every call raises SupervisorError if it is away or refuses."""

    def __init__(self, run_dir: Path) -> None:
        """Set RUN_DIR, which holds the socket; nothing is connected yet."""
        self.socket = RunDir(run_dir).supervisor_socket

    def running(self) -> bool:
        """Return whether a supervisord answers; raises AccessDenied if this account may not ask."""
        try:
            self._call("getState")
        except AccessDenied:
            raise
        except SupervisorError:
            return False
        return True

    def pid(self) -> int:
        """Return the process id of supervisord."""
        return int(self._call("getPID"))

    def processes(self) -> list[ProcessInfo]:
        """Return the processes that it keeps alive, in the order of their names."""
        return [
            ProcessInfo(
                name=info["name"],
                group=info["group"],
                state=info["statename"],
                pid=info["pid"],
                uptime_s=max(0, info["now"] - info["start"]) if info["pid"] else 0,
            )
            for info in self._call("getAllProcessInfo")
        ]

    def restart_process(self, name: str, within_s: float) -> None:
        """Stop a process and start it again; raises SupervisorError if that takes longer than `within_s` seconds.

        supervisord does both by itself (machine/respawning.py): the process is started even if this is interrupted.
        """
        before, deadline = self._process(name), Deadline(within_s)
        self._call("restart", before.group, name, interface="appliance")
        while not (now := self._process(name)).started or now.pid == before.pid:
            if deadline.is_over:
                what = "stop" if now.state == "STOPPING" or now.pid == before.pid else "start"
                raise SupervisorError(f"{name} does not {what}", f"See its log: applctl logs {name}.")
            time.sleep(_POLL_INTERVAL_S)

    def keep_workers(self, names: Iterable[str]) -> list[str]:
        """Let the workers of these names run, and no others be started again.

        Return the workers that are let go and still run: they end when they are drained or stopped. Raises
        SupervisorError, and changes nothing, if a worker of these names was let go earlier and still runs.
        """
        return list(self._call("keep", list(names), interface="workers"))

    def stop_process(self, name: str) -> None:
        """Send a process SIGTERM; supervisord kills it if it does not end within its time. Returns at once."""
        self._call("stopProcess", f"{self._process(name).group}:{name}", False)

    def shutdown(self) -> None:
        """Ask supervisord to stop all processes and then itself; returns at once."""
        self._call("shutdown")

    def _process(self, name: str) -> ProcessInfo:
        processes = {process.name: process for process in self.processes()}
        if name not in processes:
            raise SupervisorError(f"there is no process {name}", f"The processes: {', '.join(processes)}.")
        return processes[name]

    def _call(self, method: str, *arguments: Any, interface: str = "supervisor") -> Any:
        transport = _Transport(self.socket)
        try:
            server = ServerProxy("http://localhost", transport=transport)
            function: Callable[..., Any] = getattr(server, f"{interface}.{method}")
            return function(*arguments)
        except Fault as error:
            raise SupervisorError(f"supervisord refused {method}: {error.faultString}") from error
        except TimeoutError as error:
            raise SupervisorError(f"supervisord does not answer within {ANSWER_TIMEOUT_S:g} s") from error
        except PermissionError as error:
            raise AccessDenied(f"this account may not look into {self.socket.parent}") from error
        except (OSError, http.client.HTTPException, Error) as error:
            raise NotRunning from error
        finally:
            transport.close()
