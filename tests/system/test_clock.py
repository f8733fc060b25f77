"""The machine's clock is stepped by an hour under a running grid: nobody is lost, and the dead are still found."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import sync_playwright

from appliance.machine.install.programs import apt_install
from tests.support.waiting import until
from tests.system.bare_client import BareClient
from tests.system.conftest import StartGrid
from tests.system.grid import TIMINGS, Grid, tree
from tests.system.test_losses import process

HOUR_S = 3600
SOURCE = Path(__file__).with_name("stepped_clock.c")
STEPPED_APPLCTL = Path(__file__).with_name("stepped_applctl.py")


class Clock:
    """The wall clock of all processes of an appliance, which can be stepped."""

    def __init__(self, folder: Path) -> None:
        """Take a folder for two files; the clock is as the machine's."""
        self._library, self._offset = folder / "clock.so", folder / "offset"
        command = [compiler(), "-shared", "-fPIC", "-o", self._library, SOURCE]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert not done.returncode, done.stderr
        self._offset.write_bytes(bytes(8))

    @property
    def settings(self) -> dict[str, object]:
        """What an appliance is to be started with."""
        variables = {"LD_PRELOAD": self._library, "STEPPED_CLOCK": self._offset}
        of_browsers = " ".join(f"{name}={value}" for name, value in variables.items())
        return {**variables, "BROWSER_ENV": of_browsers, "inside": [sys.executable, STEPPED_APPLCTL]}

    def step(self, offset_s: int) -> None:
        """Let the clock differ by so many seconds from the machine's, from now on."""
        with self._offset.open("r+b") as file:  # in place: the processes have mapped it
            file.write(offset_s.to_bytes(8, sys.byteorder, signed=True))


def compiler() -> str:
    """Give a C compiler, after installing it if need be."""
    if not shutil.which("cc"):
        failed = [reason for package in ("gcc", "libc6-dev") if (reason := apt_install(package))]
        assert not failed, f"a C compiler is missing, and apt could not install one: {failed[0]}"
    return "cc"


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    """Give a clock to start an appliance with."""
    return Clock(tmp_path)


def redis_offset_s(grid: Grid) -> float:
    """Give by how much Redis' clock differs from the machine's."""
    seconds, _ = grid.registry.store.read(("TIME",))[0]
    return int(seconds) - time.time()


def await_heartbeats(grid: Grid) -> None:
    """Wait until each worker was heard for as long as one that is not heard is given."""
    heard: dict[str, set[int]] = {worker.id: set() for worker in grid.registry.workers()}

    def heard_all() -> bool:
        for worker in grid.registry.workers():
            heard[worker.id].add(worker.heartbeat_ms)
        return min(map(len, heard.values())) > TIMINGS["WORKER_TTL"] / TIMINGS["HEARTBEAT_INTERVAL"] + 1

    until(heard_all, "the workers are heard time and again", within_s=20)


def members(grid: Grid) -> list[list[str]]:
    """Give who is in the grid, in what state, and the sessions since when: one that came again would be another."""
    workers = [f"{worker.id} {worker.status} {worker.active} {worker.suspect}" for worker in grid.registry.workers()]
    sessions = [f"{session.id} {session.state} {session.started_ms}" for session in grid.registry.sessions()]
    return [workers, sessions]


def test_steps_of_the_clock_by_an_hour_lose_nobody_and_hide_no_loss(
    clock: Clock, start_grid: StartGrid, site: str
) -> None:
    grid = start_grid(
        CHROMIUM_WORKERS=2, MAX_CONCURRENT_SESSIONS=1, STARTUP_STAGGER=0.1, QUEUE_TIMEOUT=60, **clock.settings
    )
    with sync_playwright() as playwright:
        pages = [playwright.chromium.connect(grid.endpoint).new_page() for _ in range(2)]
        waiters = [waiting(grid) for _ in range(2)]
        for offset_s, page, waiter in zip((HOUR_S, 0), pages, waiters, strict=True):
            before = members(grid)
            clock.step(offset_s)
            assert redis_offset_s(grid) == pytest.approx(offset_s, abs=5)
            assert page.evaluate("Date.now() / 1000") - time.time() == pytest.approx(offset_s, abs=5)
            await_heartbeats(grid)
            assert members(grid) == before
            page.goto(site)
            assert page.title() == "A real page"
            page.context.browser.close()
            assert waiter.answer() == (101, "")
            assert offset_s == 0 or not waiters[1].is_answered
    for waiter in waiters:
        waiter.close()
    until(lambda: not grid.registry.sessions(), "all slots are free")
    what_dies_just_before_a_step_back_is_found_as_soon_as_ever(grid, clock)


def waiting(grid: Grid) -> BareClient:
    """Give a client that waits, after all that are there."""
    count = len(grid.registry.sessions())
    client = BareClient(grid)
    until(lambda: len(grid.registry.sessions()) > count, "the client waits")
    return client


def what_dies_just_before_a_step_back_is_found_as_soon_as_ever(grid: Grid, clock: Clock) -> None:
    """A worker and a proxy, whose last signs of life then lie an hour ahead; and a new worker takes a launch turn."""
    clients = [BareClient(grid) for _ in range(2)]
    assert [client.answer() for client in clients] == [(101, "")] * 2
    silent, other = grid.available(2)
    worker = psutil.Process(silent.pid)
    worker.suspend()
    try:
        process(grid, "proxy").kill()
        clock.step(-HOUR_S)
        until(lambda: silent.id not in {worker.id for worker in grid.registry.workers()}, "the worker is reaped", 20)
        until(lambda: not grid.registry.sessions(), "the leases expire", 20)
    finally:
        worker.resume()
    tree(other.pid)["browser"].kill()
    until(lambda: other.id not in {worker.id for worker in grid.registry.workers()}, "its worker leaves")
    assert silent.id in {worker.id for worker in grid.available(2)}
