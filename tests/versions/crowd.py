"""Clients of all minors at the same time, in Python and Node, at one endpoint whose workers are recycled meanwhile."""

from __future__ import annotations

import subprocess
import threading
from collections import Counter
from pathlib import Path

from appliance.machine.drivers import CONFINED
from appliance.names import minor_version
from tests.support.appliance import Appliance
from tests.support.fixtures import CLIENTS, install_clients
from tests.support.versions import OTHER_MINORS
from tests.versions.installed import drivers_dir, python_of
from tests.versions.memory import MIB, MemoryWatch

SESSIONS = 200  # at least
QUOTA = 5  # sessions of a worker's life; each minor has one worker
EACH = -(-SESSIONS // (2 * len(CONFINED)))
PATIENCE_S = 540
SETTINGS = {
    "POOLS": ",".join(f"chromium@{minor}:1" for minor in OTHER_MINORS),
    "MAX_LIFETIME_SESSIONS": QUOTA,
    "QUEUE_TIMEOUT": 120,
}


def meet(url: str) -> None:
    """Let them meet; fail unless each session was served, by its own version, and within the memory reckoned with."""
    install_clients()
    with Appliance(DRIVERS_DIR=drivers_dir(), **SETTINGS) as grid, Watch(grid) as watch, MemoryWatch(grid) as memory:
        clients = {
            f"{minor} {language}": client for minor in CONFINED for language, client in _clients(minor, grid, url)
        }
        said = {name: client.communicate(timeout=PATIENCE_S)[0] for name, client in clients.items()}
        failed = {name: text for name, text in said.items() if clients[name].returncode}
        served = watch.served()
    assert not failed, failed
    assert served == dict.fromkeys(CONFINED, 2 * EACH), served
    memory.require_within(len(CONFINED))
    lives, peak = len(watch.minors), memory.peak_bytes // MIB
    print(f"{sum(served.values())} sessions of {len(served)} minors by {lives} workers' lives: none failed; {peak} MiB")


def _clients(minor: str, grid: Appliance, url: str) -> list[tuple[str, subprocess.Popen[str]]]:
    """Start two clients, each of which has EACH sessions, half of them with a browser of their own."""
    python = [python_of(minor), str(Path(__file__).with_name("visitor.py"))]
    node = ["node", str(CLIENTS / "visitor.mjs"), minor]
    commands = {"Python": python, "Node": node}
    return [(language, _started([*command, grid.endpoint, url, str(EACH)])) for language, command in commands.items()]


def _started(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


class Watch:
    """Notes the version of each worker of a grid, for those that have ended are forgotten."""

    def __init__(self, grid: Appliance) -> None:
        """Watch a grid."""
        self.minors: dict[str, str] = {}
        self._grid = grid
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Watch:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._is_over.set()
        self._thread.join()

    def served(self) -> dict[str, int]:
        """Return how many sessions had a worker of each version."""
        events = self._grid.state.events(10_000)
        started = [event["worker"] for event in events if event["event"] == "session.started"]
        return dict(Counter(self.minors[worker] for worker in started))

    def _look(self) -> None:
        while not self._is_over.wait(0.1):
            self.minors |= {worker.id: minor_version(worker.version) for worker in self._grid.state.workers()}
