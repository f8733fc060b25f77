"""`applctl` on real appliances: while sessions run, in the foreground, and from a read-only installation."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from appliance.machine.processes import left_over
from appliance.machine.supervisor import Supervisor
from appliance.settings.installation import installation_root
from tests.support.appliance import APPLCTL, TIMINGS, StartGrid, free_port
from tests.support.machine import mounts
from tests.support.waiting import until
from tests.support.wire import BareClient

NOBODYS_ID = 64321  # no account has it

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def test_down_says_how_many_sessions_it_waits_for_and_counts_down(start_grid: StartGrid) -> None:
    grid = start_grid(SHUTDOWN_GRACE=4)
    client = BareClient(grid)
    try:
        assert client.answer() == (101, "")
        said = grid.applctl("down").stdout
    finally:
        client.close()
    left = [int(seconds) for seconds in re.findall(r"Waiting for 1 session to end, (\d) s at most", said)]
    assert len(left) > 1
    assert left == sorted(left, reverse=True)


def test_down_says_nothing_of_sessions_if_there_are_none(start_grid: StartGrid) -> None:
    assert start_grid().applctl("down").stdout == "The appliance is stopped.\n"


class Foreground:
    """`applctl up --foreground` as a container or systemd runs it."""

    def __init__(self, folder: Path, *inside: str) -> None:
        """Start it in an empty folder; `inside` is the beginning of the command."""
        self.run_dir, self._output, self.cwd = folder / "run", folder / "output", folder / "empty"
        self.cwd.mkdir()
        own = {"RUN_DIR": self.run_dir, "PORT": free_port(), "APPLIANCE_ENV": os.devnull, "CHROMIUM_SANDBOX": "false"}
        values = {"CHROMIUM_WORKERS": 1, "SPARE_WORKERS": 0, **TIMINGS, **own}
        self.env = os.environ | {name: str(value) for name, value in values.items()}
        with self._output.open("w") as output:
            command = [*inside, APPLCTL, "up", "--foreground", "--no-setup"]
            self.process = subprocess.Popen(command, stdout=output, stderr=output, env=self.env, cwd=self.cwd)

    @property
    def output(self) -> str:
        """What it has printed."""
        return self._output.read_text()

    def wait_for_start(self) -> None:
        """Wait until the grid is ready and was tried out."""
        until(lambda: "proxy        session.ended" in self.output, "a session has ended", within_s=60)

    def ended(self) -> tuple[int, bool]:
        """Wait for its end. Returns the exit code, and whether something is left of the grid."""
        code = self.process.wait(60)
        return code, bool(left_over(self.run_dir)) or Supervisor(self.run_dir).running()

    def remove(self) -> None:
        """End what a failed test has left."""
        self.process.kill()
        subprocess.run([APPLCTL, "down"], env=self.env, check=True, capture_output=True)


@pytest.fixture
def foreground() -> Iterator[Callable[..., Foreground]]:
    """Start one in the foreground."""
    with ExitStack() as ends:

        def start(*inside: str) -> Foreground:
            folder = Path(tempfile.mkdtemp(prefix="grid-"))
            ends.callback(shutil.rmtree, folder)
            made = Foreground(folder, *inside)
            ends.callback(made.remove)
            return made

        yield start


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_grid_in_the_foreground_in_order(
    number: signal.Signals, foreground: Callable[..., Foreground]
) -> None:
    grid = foreground()
    grid.wait_for_start()
    grid.process.send_signal(number)
    assert grid.ended() == (0, False)
    assert f"Received {number.name}: stopping the grid." in grid.output
    assert "proxy        proxy.stopped" in grid.output, "it prints the logs, also the last lines"
    assert grid.output.endswith("The grid is stopped.\n")
    assert not list(grid.cwd.iterdir()), "it leaves no picture in the folder it was called from"


def test_a_signal_ends_a_grid_in_the_foreground_that_still_starts(foreground: Callable[..., Foreground]) -> None:
    grid = foreground()
    until(lambda: Supervisor(grid.run_dir).running(), "supervisord runs", within_s=30)
    grid.process.terminate()
    assert grid.ended() == (0, False)


def test_down_ends_a_grid_in_the_foreground(foreground: Callable[..., Foreground]) -> None:
    grid = foreground()
    grid.wait_for_start()
    again = subprocess.run([APPLCTL, "up", "--foreground"], env=grid.env, capture_output=True, text=True, check=False)
    assert (again.returncode, "already running" in again.stderr) == (1, True)
    subprocess.run([APPLCTL, "down"], env=grid.env, check=True)
    assert grid.ended() == (0, False)


def test_a_foreground_grid_whose_supervisord_is_killed_fails_and_leaves_nothing(
    foreground: Callable[..., Foreground],
) -> None:
    grid = foreground()
    grid.wait_for_start()
    os.kill(Supervisor(grid.run_dir).pid(), signal.SIGKILL)
    assert grid.ended() == (1, False)
    assert "supervisord ended unexpectedly (SIGKILL)" in grid.output


@as_root
def test_in_the_foreground_it_is_a_pid_1_that_collects_orphans_and_heeds_signals(
    foreground: Callable[..., Foreground],
) -> None:
    grid = foreground("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
    grid.wait_for_start()
    (pid_1,) = psutil.Process(grid.process.pid).children()
    inside = ["nsenter", f"--target={pid_1.pid}", "--pid", "--mount", APPLCTL, "doctor", "--json"]
    checks = json.loads(subprocess.run(inside, env=grid.env, capture_output=True, check=False).stdout)
    assert {check["name"]: check["status"] for check in checks}["PID 1"] == "ok"
    pid_1.terminate()
    assert grid.process.wait(60) == 0
    assert grid.output.endswith("The grid is stopped.\n")


@as_root
def test_it_runs_from_a_read_only_installation_under_any_user_id() -> None:
    root, folder = installation_root(), Path(tempfile.mkdtemp(prefix="grid-"))
    folder.chmod(0o1777)
    closed = [f"mount --bind {root} {root}", f"mount -o remount,ro,bind {root}", "cd /"]
    become = f'exec setpriv --reuid={NOBODYS_ID} --regid={NOBODYS_ID} --clear-groups "$@"'
    script = "; ".join(["set -e", "mount --make-rprivate /", *mounts(), *closed, become])
    env = {"PATH": os.environ["PATH"], "TMPDIR": str(folder), "HOME": "/nonexistent", "APPLIANCE_ENV": os.devnull}
    env |= {"PORT": str(free_port()), "CHROMIUM_WORKERS": "1", "SPARE_WORKERS": "0", "CHROMIUM_SANDBOX": "false"}

    def applctl(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["unshare", "--mount", "sh", "-c", script, "sh", sys.executable, str(APPLCTL), *arguments]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=120)

    try:
        up = applctl("up", "--no-setup")
        assert up.returncode == 0, up.stdout + up.stderr
        assert "Opened “Hello" in up.stdout
        assert applctl("status").returncode == 0
        (run_dir,) = folder.glob("playwright-appliance-*")
        assert (run_dir.name, run_dir.stat().st_mode & 0o777) == (f"playwright-appliance-{NOBODYS_ID}", 0o700)
        env["HOME"] = str(folder)
        assert applctl("config", "get", "RUN_DIR").stdout == f"{folder}/.local/state/playwright-appliance\n"
        env["HOME"] = "/nonexistent"
    finally:
        assert applctl("down").returncode == 0
        shutil.rmtree(folder)
