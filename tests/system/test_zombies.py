"""No process of the appliance becomes a zombie for good, also where PID 1 fetches nobody's exit status."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from tests.support.appliance import StartGrid
from tests.support.waiting import until
from tests.support.wire import BareClient

RECYCLES = 5
DOCTOR = (
    "from appliance.settings.config import load; from appliance.checks.pid_1 import check_pid_1;"
    "print(next(iter(check_pid_1(load()))).status)"
)


class Container:
    """A namespace of processes, with a PID 1 of its own."""

    def __init__(self, pid_1: str) -> None:
        """Begin it; `pid_1` is a command of the shell."""
        isolate = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
        self._process = subprocess.Popen([*isolate, "sh", "-c", pid_1])
        (pid_1,) = until(psutil.Process(self._process.pid).children, "PID 1 is there")
        until(lambda: pid_1.name() != "unshare", "it runs, and its /proc is mounted")
        self._pid_1 = pid_1.pid

    def inside(self, *command: str) -> list[str]:
        """Return a command as it runs in the container."""
        return ["nsenter", f"--target={self._pid_1}", "--pid", "--mount", *command]

    def run(self, *command: str) -> str:
        """Run a command in the container; return what it prints."""
        return subprocess.run(self.inside(*command), capture_output=True, text=True, check=True).stdout

    def zombies(self) -> list[str]:
        """Return the container's zombies."""
        return [line for line in self.run("ps", "-eo", "stat=,ppid=,args=").splitlines() if line.startswith("Z")]

    def end(self) -> None:
        """End it, and all processes in it."""
        self._process.kill()
        self._process.wait()


@pytest.fixture
def careless() -> Iterator[Container]:
    """Provide a container whose PID 1 cares for nobody."""
    container = Container("exec sleep 3600")
    yield container
    container.end()


@pytest.fixture
def careful() -> Iterator[Container]:
    """Provide a container whose PID 1 is a shell: it fetches the exit status of whoever ends."""
    container = Container("while :; do sleep 0.1; done")
    yield container
    container.end()


pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes namespaces")


def test_recycled_and_killed_workers_leave_no_zombies(careless: Container, start_grid: StartGrid) -> None:
    grid = start_grid(inside=careless.inside(), MAX_LIFETIME_SESSIONS=1, SPARE_WORKERS=1, STARTUP_STAGGER=0)

    def pool() -> set[str]:
        return {worker.id for worker in grid.state.workers()}

    seen = pool()
    while len(seen) < RECYCLES:
        client = BareClient(grid)
        assert client.answer() == (101, "")
        client.close()
        seen |= pool()
    whole = until(lambda: pool() if len(pool()) == 2 else None, "the pool is whole", within_s=60)
    careless.run("pkill", "-KILL", "--oldest", "--full", "--", "-m workers")
    until(lambda: len(pool()) == 2 and pool() != whole, "the killed worker is replaced", within_s=60)
    until(lambda: not careless.zombies(), "no zombie is left")


def test_the_doctor_says_when_pid_1_does_not_care_for_orphans(careless: Container, careful: Container) -> None:
    ask = (sys.executable, "-c", DOCTOR)
    assert careless.run(*ask) == "warning\n"
    assert careful.run(*ask) == "ok\n"
