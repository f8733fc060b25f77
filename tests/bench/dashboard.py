"""`make bench-dashboard`: what open dashboards cost the proxy.

A real proxy on a real Redis that holds a grid of simulated workers and sessions, which come and go. The proxy's CPU
time is measured while nobody looks, and while some dashboards are open; the difference is theirs.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import click
import psutil
import websocket

from appliance.grid.grid import Grid
from appliance.grid.store import Store
from appliance.grid.values import SessionRequest, WorkerSpec, WorkerStatus
from appliance.names import Browser
from tests.support.appliance import TIMINGS, free_port
from tests.support.redis_server import redis_server
from tests.support.waiting import until

SLOTS = 5
CHANGES_PER_S = 20
AGENT = "Playwright/1.65.2 (x64; debian 12) python/3.11"
LONG_MS = 10**8


class Load:
    """Sessions that come and go on simulated workers."""

    def __init__(self, grid: Grid, sessions: int) -> None:
        """Register workers, and let so many sessions have their slots."""
        self._grid, self._count, self._last = grid, sessions, 0
        self._running: list[str] = []
        workers = -(-sessions // SLOTS)
        for number in range(workers):
            worker = f"bench.chromium-{number:02}.{number:06x}"
            name = f"chromium-{number:02}"
            spec = WorkerSpec(worker, Browser.CHROMIUM, "1.65.2", "bench", name, SLOTS, 10**6, LONG_MS, 1)
            grid.register_worker(replace(spec, target=workers, status=WorkerStatus.AVAILABLE))
        self.fill()

    def fill(self) -> None:
        """Claim what is free."""
        while len(self._running) < self._count:
            self._last += 1
            name = f"{self._last:016x}"
            wanted = SessionRequest(Browser.CHROMIUM, "1.65", f"test {self._last}", "10.0.0.1", AGENT, "ci")
            self._grid.claim(name, wanted, proxy="bench.000000", lease_ms=LONG_MS, wait_ms=LONG_MS, queue_max=100)
            self._running.append(name)

    def run(self, stopped: threading.Event) -> None:
        """Change some sessions a second, until told to stop."""
        while not stopped.wait(1 / CHANGES_PER_S):
            gone = self._running.pop(random.randrange(len(self._running)))
            self._grid.release(gone, "closed")
            self.fill()


@contextmanager
def proxy(url: str) -> Iterator[tuple[psutil.Process, int]]:
    """Run a proxy on a Redis; returns its process and its port."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        settings = {"RUN_DIR": folder, "PORT": port, "REDIS_URL": url, "APPLIANCE_NAME": "here"}
        settings["APPLIANCE_ENV"] = os.devnull
        settings |= {name: value for name, value in TIMINGS.items() if name != "SHUTDOWN_GRACE"}
        environment = os.environ | {name: str(value) for name, value in settings.items()}
        with (Path(folder) / "log").open("w") as log:
            process = subprocess.Popen([sys.executable, "-m", "proxy"], env=environment, stdout=log, stderr=log)
        try:
            until(lambda: is_up(port), "the proxy listens")
            yield psutil.Process(process.pid), port
        finally:
            process.terminate()
            process.wait()


def is_up(port: int) -> bool:
    """Return whether a proxy answers."""
    try:
        websocket.create_connection(f"ws://127.0.0.1:{port}/dashboard/live", suppress_origin=True).close()
    except OSError:
        return False
    return True


class Page:
    """An open dashboard, which reads its feed."""

    def __init__(self, port: int) -> None:
        """Open it."""
        self._socket = websocket.create_connection(f"ws://127.0.0.1:{port}/dashboard/live", suppress_origin=True)
        self.messages, self.bytes, self.sessions = 0, 0, 0
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            while text := self._socket.recv():
                message = json.loads(text)
                self.messages += 1
                self.bytes += len(text)
                self.sessions = max(self.sessions, len(message.get("sessions", {}).get("set", ())))
        except (OSError, websocket.WebSocketException):
            return

    def close(self) -> None:
        """Close it."""
        self._socket.shutdown()


def cores(process: psutil.Process, seconds: float) -> float:
    """Return how much of a core a process uses."""
    before, began = process.cpu_times(), time.monotonic()
    time.sleep(seconds)
    after = process.cpu_times()
    return (after.user + after.system - before.user - before.system) / (time.monotonic() - began)


@click.command()
@click.option("--sessions", default=200)
@click.option("--pages", default=3)
@click.option("--seconds", default=20.0)
@click.option("--rounds", default=3)
def main(sessions: int, pages: int, seconds: float, rounds: int) -> None:
    """Measure what open dashboards cost the proxy, in turn with none."""
    with ExitStack() as stack:
        url = stack.enter_context(redis_server())
        load = Load(Grid(Store(url, "grid")), sessions)
        stopped = threading.Event()
        stack.callback(stopped.set)
        threading.Thread(target=load.run, args=(stopped,), daemon=True).start()
        process, port = stack.enter_context(proxy(url))
        costs = []
        for _ in range(rounds):
            alone = cores(process, seconds)
            opened = [Page(port) for _ in range(pages)]
            until(lambda opened=opened: all(page.messages > 2 for page in opened), "the pages are told")
            costs.append(cores(process, seconds) - alone)
            told = sum(page.bytes for page in opened) / seconds
            seen = min(page.sessions for page in opened)
            for page in opened:
                page.close()
            print(
                f"{pages} dashboards, {seen} sessions, {CHANGES_PER_S} changes/s: {100 * costs[-1]:.2f} % of a core, "
                f"{told / 1024 / pages:.1f} KiB/s each; the proxy alone {100 * alone:.2f} %"
            )
        print(f"median {100 * sorted(costs)[len(costs) // 2]:.2f} %")


if __name__ == "__main__":
    main()
