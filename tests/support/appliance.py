"""A real appliance for a test: its own folder, port and Redis, under supervisord, with real browsers."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil

from appliance.audit import audit
from appliance.errors import SupervisorError
from appliance.grid.grid import Grid
from appliance.grid.records import WorkerInfo
from appliance.grid.store import Store
from appliance.grid.values import WorkerStatus
from appliance.machine.environment import started_settings
from appliance.machine.processes import left_over
from appliance.machine.supervisor import Supervisor
from appliance.request_errors import StoreUnavailable
from appliance.run_dir import RunDir
from appliance.settings.config import Settings
from tests.support import forked
from tests.support.looks import command_of, runs
from tests.support.waiting import WITHIN_S, until

APPLCTL = Path(sys.executable).with_name("applctl")

_KILLED = re.compile(r"(?:exited|stopped): (\S+) \(terminated by SIGKILL")  # by whomever; supervisord's own words

# Quick enough for tests; each relation between two timings is that of the defaults. And nothing is fetched on demand.
TIMINGS: dict[str, Any] = {
    "DRIVERS": "none",
    "HEARTBEAT_INTERVAL": 1,
    "WORKER_TTL": 3,
    "LEASE_RENEW_INTERVAL": 1,
    "LEASE_TTL": 3,
    "REAPER_RUN_INTERVAL": 1,
    "SHUTDOWN_GRACE": 2,
}


class Appliance:
    """One running appliance."""

    def __init__(
        self, folder: Path | None = None, host: str = "127.0.0.1", inside: Sequence[str] = (), **settings: Any
    ) -> None:
        """Start an appliance with these settings and wait until all its workers are registered.

        `folder` is its RUN_DIR. `host` is where it is reached, and `inside` the beginning of each of its commands,
        on a machine or in a network of its own (tests/support/machine.py).
        """
        folder = folder or Path(tempfile.mkdtemp(prefix="grid-"))  # short: unix sockets are made in it
        self.port = free_port()
        self.host, self._inside = host, inside
        self.endpoint = f"ws://{host}:{self.port}"
        self.run_dir = folder
        own = {"RUN_DIR": folder, "PORT": self.port, "APPLIANCE_NAME": f"test-{self.port}", "APPLIANCE_ENV": os.devnull}
        if os.geteuid() == 0 and "BROWSER_USER" not in settings:
            own["CHROMIUM_SANDBOX"] = "false"  # as root, Chromium has no sandbox
        values = {"CHROMIUM_WORKERS": 1, "SPARE_WORKERS": 0, **TIMINGS, **own, **settings}
        self.env = os.environ | {name: str(value) for name, value in values.items()}
        own_redis = f"unix://:{self.env.get('REDIS_PASSWORD', '')}@{folder}/redis.sock"
        self.state = Grid(Store(self.env.get("REDIS_URL") or own_redis, "grid"))
        try:
            self.up()
        except BaseException:
            self.applctl("down", check=False)
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def __enter__(self) -> Appliance:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.stop()

    def up(self) -> None:
        """Start the appliance, with what is on this machine."""
        self.applctl("up", "--no-setup", "--no-demo")

    def applctl(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one command of `applctl` against this appliance."""
        if self._inside or not forked.is_possible(self.env):
            command = [*self._inside, APPLCTL, *arguments]
            done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=120, check=False)
        else:
            done = forked.applctl([*arguments], self.env)
        if check and done.returncode:
            raise AssertionError(f"applctl {arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def audit(self) -> list[str]:
        """Name the differences between Redis and the truth (appliance.audit): none, if all agrees."""
        if self._inside:  # whose sockets are not to be seen from here
            checks = json.loads(self.applctl("doctor", "--json", check=False).stdout)
            return [check["finding"] for check in checks if check["name"] == "audit" and check["status"] != "ok"]
        settings = started_settings(Settings(run_dir=self.run_dir))
        if settings is None:
            return ["supervisord does not run"]
        try:
            return [difference.text for difference in audit(settings, self.state).differences]
        except StoreUnavailable as error:
            return [str(error)]

    def lasting_differences(self, within_s: float = WITHIN_S) -> list[str]:
        """Wait until Redis and the truth agree, and name the differences that are left after that."""
        deadline = time.monotonic() + within_s
        while (differences := self.audit()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return differences

    def down(self) -> list[str]:
        """Stop the appliance. Return the folders that it removed: those of killed workers, for others clean up."""
        folders: list[str] = json.loads(self.applctl("down", "--json").stdout)["removed_folders"]
        killed = set(_KILLED.findall(self.log("supervisord")))
        leaked = [folder for folder in folders if folder.partition(".")[0] not in killed]
        assert not leaked, f"workers that nobody killed left {leaked}"
        return folders

    def stop(self) -> None:
        """Stop the appliance, and remove its folder; nothing of it may be left, and nothing have leaked before."""
        try:
            differences = self.lasting_differences() if self._is_whole() else []
        finally:
            try:
                self.down()
            finally:
                self.state.store.close()
        assert not differences, "\n".join(differences)
        assert not self.processes(), "processes are left behind"
        assert not left_over(self.run_dir), "Redis is left behind"
        assert not self.workspaces(), "temporary folders are left behind"
        shutil.rmtree(self.run_dir)

    def get(self, path: str) -> dict[str, Any]:
        """Fetch one of the operations' pages."""
        with urlopen(f"http://{self.host}:{self.port}{path}", timeout=WITHIN_S) as answer:
            content: dict[str, Any] = json.load(answer)
        return content

    def log(self, name: str) -> str:
        """Return a process's log."""
        return (self.run_dir / "log" / f"{name}.log").read_text()

    def available(self, count: int, within_s: float = WITHIN_S) -> list[WorkerInfo]:
        """Wait until this many workers are available, and give them."""

        def found() -> list[WorkerInfo] | None:
            workers = [worker for worker in self.state.workers() if worker.status == WorkerStatus.AVAILABLE]
            return workers if len(workers) == count else None

        return until(found, f"{count} workers are available", within_s)  # type: ignore[return-value]

    def successor(self, worker: WorkerInfo, within_s: float = WITHIN_S) -> WorkerInfo:
        """Wait until a worker has a successor, which is available; the old one's record is gone then."""

        def found() -> WorkerInfo | None:
            (known, *others) = [one for one in self.state.workers() if one.name == worker.name] or [worker]
            new = not others and known.id != worker.id and known.status == WorkerStatus.AVAILABLE
            return known if new else None

        return until(found, f"{worker.name} has another worker", within_s)  # type: ignore[return-value]

    def browser_pids(self) -> set[int]:
        """Return the processes that the only worker's driver has started: the shared browser, and those of sessions."""
        (worker,) = self.state.workers()
        return {child.pid for child in tree(worker.pid)["driver"].children() if runs(child)}

    def is_ready(self) -> bool:
        """Whether /readyz says so."""
        try:
            return bool(self.get("/readyz"))
        except OSError:
            return False

    def process(self, name: str) -> psutil.Process:
        """Return its `redis` or `proxy`."""
        pids = {process.name: process.pid for process in Supervisor(self.run_dir).processes()}
        return psutil.Process(pids[name])

    def processes(self) -> list[psutil.Process]:
        """Return every process of this appliance, wherever it now hangs in the tree."""
        return [process for process in psutil.process_iter() if self._owns(process)]

    def workspaces(self) -> set[str]:
        """Name the workers' temporary folders."""
        return {f"{path.parent.name}.{path.name}" for path in RunDir(self.run_dir).workers.glob("*/*/")}

    def socket_of(self, worker: WorkerInfo) -> Path:
        """Return the socket of a worker's driver."""
        return RunDir(self.run_dir).driver_socket(worker.id)

    def _is_whole(self) -> bool:
        """Whether supervisord, the proxy and Redis run: some tests end with less."""
        try:
            processes = Supervisor(self.run_dir).processes()
        except SupervisorError:
            return False
        return all(process.started for process in processes if process.name in ("redis", "proxy"))

    def _owns(self, process: psutil.Process) -> bool:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            return process.environ().get("RUN_DIR") == str(self.run_dir) and process.pid != os.getpid()
        except psutil.Error:
            return False


StartGrid = Callable[..., Appliance]


def tree(pid: int) -> dict[str, psutil.Process]:
    """Return a worker's processes: `worker`, `driver` and `browser`, and the browser's own by number."""
    worker = psutil.Process(pid)
    driver = next(child for child in worker.children() if "launch-server" in command_of(child))
    browser = min(driver.children(), key=psutil.Process.create_time)  # the others are of single sessions
    named = {"worker": worker, "driver": driver, "browser": browser}
    return named | {str(child.pid): child for child in browser.children(recursive=True)}


def free_port() -> int:
    """Return a port of loopback that nobody has, nor is given before it is used.

    The kernel gives those from 32768 on to connections and to who asks for any port (ip_local_port_range, ip(7)).
    """
    while True:
        port = 16_384 + secrets.randbelow(16_384)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
