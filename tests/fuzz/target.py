"""The proxy under fire: its process, its Redis, and all that it may not keep."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from appliance.grid.grid import Grid
from appliance.grid.store import Store
from appliance.run_dir import RunDir
from tests.support.appliance import free_port
from tests.support.redis_server import redis_server
from tests.support.waiting import until

SETTINGS = {
    "LEASE_RENEW_INTERVAL": 1, "LEASE_TTL": 3, "REAPER_RUN_INTERVAL": 1, "QUEUE_TIMEOUT": 5, "SHUTDOWN_GRACE": 1,
    "CHROMIUM_WORKERS": 1, "FIREFOX_WORKERS": 1, "SPARE_WORKERS": 0, "APPLIANCE_ENV": os.devnull,
}  # fmt: skip

STARTS_WITHIN_S = 90.0  # by far, on a busy machine


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a proxy holds at one moment.

    Its connections to Redis, on a unix socket, are counted apart: it keeps as many as it once needed together.
    """

    descriptors: int
    redis_connections: int
    threads: int
    greenlets: int
    slots: int
    memory_bytes: int


class Target:
    """One proxy with a Redis of its own."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        """Start the proxy and wait until it listens."""
        self.port = free_port()
        self.grid = Grid(Store(redis_url, "grid"))
        self.folder = folder
        self._log = folder / "proxy.log"
        RunDir(folder).mcp.mkdir()  # as `applctl up` makes it
        values = {**SETTINGS, "REDIS_URL": redis_url, "PORT": self.port, "RUN_DIR": folder, "APPLIANCE_NAME": "fuzz"}
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.fuzz.watched_proxy"],
                env=os.environ | {name: str(value) for name, value in values.items()},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            until(lambda: "proxy.started" in self.log(), "the proxy listens", STARTS_WITHIN_S)
        except AssertionError:
            self.stop()
            raise

    def log(self) -> str:
        """Return what the proxy has logged."""
        return self._log.read_text(errors="replace")

    def tracebacks(self) -> str:
        """Return the first traceback that the proxy has logged, and "" if there is none; also says if it ended."""
        if self._process.poll() is not None:
            return f"the proxy ended with {self._process.returncode}\n{self.log()[-2000:]}"
        log = self.log()
        place = log.find("Traceback")
        return log[max(0, place - 200) : place + 4000] if place >= 0 else ""

    def holdings(self) -> Holdings:
        """Count what the proxy holds now."""
        process = psutil.Process(self._process.pid)
        unix = len(process.net_connections("unix"))
        return Holdings(
            process.num_fds() - unix,
            unix,
            process.num_threads(),
            self._greenlets(),
            sum(worker.active for worker in self.grid.workers()) + len(self.grid.sessions()),
            process.memory_info().rss,
        )

    def stop(self) -> None:
        """End the proxy."""
        self._process.terminate()
        self._process.wait(10)
        self.grid.store.close()

    def _greenlets(self) -> int:
        said = re.compile(r"^greenlets=(\d+)$", re.MULTILINE)
        before = len(said.findall(self.log()))
        self._process.send_signal(signal.SIGUSR1)
        return int(until(lambda: said.findall(self.log())[before:], "the proxy counts its greenlets")[0])


@contextmanager
def target() -> Iterator[Target]:
    """Run a proxy and its Redis."""
    with redis_server() as url, tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        proxy = Target(Path(folder), url)
        try:
            yield proxy
        finally:
            proxy.stop()
