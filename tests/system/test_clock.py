"""The machine's clock is stepped by an hour under a running grid: nobody is lost, and the dead are still found."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import sync_playwright

from tests.support.appliance import TIMINGS, Appliance, StartGrid, tree
from tests.support.stepped_clock import HOUR_S, Clock
from tests.support.waiting import until
from tests.support.wire import BareClient


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    """Provide a clock to start an appliance with."""
    return Clock(tmp_path)


def redis_offset_s(grid: Appliance) -> float:
    """Return by how much Redis' clock differs from the machine's."""
    seconds, _ = grid.state.store.read(("TIME",))[0]
    return int(seconds) - time.time()


def await_heartbeats(grid: Appliance) -> None:
    """Wait until each worker was heard for as long as one that is not heard is given."""
    heard: dict[str, set[int]] = {worker.id: set() for worker in grid.state.workers()}

    def heard_all() -> bool:
        for worker in grid.state.workers():
            heard[worker.id].add(worker.heartbeat_ms)
        return min(map(len, heard.values())) > TIMINGS["WORKER_TTL"] / TIMINGS["HEARTBEAT_INTERVAL"] + 1

    until(heard_all, "the workers are heard time and again", within_s=60)


def members(grid: Appliance) -> list[list[str]]:
    """Return who is in the grid, in what state, and the sessions since when: one that came again would be another."""
    workers = [f"{worker.id} {worker.status} {worker.active} {worker.suspect}" for worker in grid.state.workers()]
    sessions = [f"{session.id} {session.status} {session.started_ms}" for session in grid.state.sessions()]
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
            assert redis_offset_s(grid) == pytest.approx(offset_s, abs=60)
            assert page.evaluate("Date.now() / 1000") - time.time() == pytest.approx(offset_s, abs=60)
            await_heartbeats(grid)
            assert members(grid) == before
            page.goto(site)
            assert page.title() == "A real page"
            page.context.browser.close()
            assert waiter.answer() == (101, "")
            assert offset_s == 0 or not waiters[1].is_answered
    for waiter in waiters:
        waiter.close()
    until(lambda: not grid.state.sessions(), "all slots are free")
    what_dies_just_before_a_step_back_is_found_as_soon_as_ever(grid, clock)


def waiting(grid: Appliance) -> BareClient:
    """Return a client that waits, after all that are there."""
    count = len(grid.state.sessions())
    client = BareClient(grid)
    until(lambda: len(grid.state.sessions()) > count, "the client waits")
    return client


def what_dies_just_before_a_step_back_is_found_as_soon_as_ever(grid: Appliance, clock: Clock) -> None:
    """A worker and a proxy, whose last signs of life then lie an hour ahead; and a new worker takes a launch turn."""
    clients = [BareClient(grid) for _ in range(2)]
    assert [client.answer() for client in clients] == [(101, "")] * 2
    silent, other = grid.available(2)
    worker = psutil.Process(silent.pid)
    worker.suspend()
    try:
        grid.process("proxy").kill()
        clock.step(-HOUR_S)
        until(lambda: silent.id not in {worker.id for worker in grid.state.workers()}, "the worker is reaped")
        until(lambda: not grid.state.sessions(), "the leases expire")
    finally:
        worker.resume()
    tree(other.pid)["browser"].kill()
    grid.successor(other)
    assert silent.id in {worker.id for worker in grid.available(2)}
