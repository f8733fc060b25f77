"""A proxy that cannot dial, for want of a route or of descriptors: it harms nobody, says why, and recovers."""

from __future__ import annotations

import json
import os
import re
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.error import HTTPError

import psutil
import pytest
from playwright.sync_api import Error, Playwright, sync_playwright

from proxy.door.dialling import REACH_TIMEOUT_S
from tests.support.appliance import TIMINGS, Appliance, StartGrid
from tests.support.cluster import Cluster, Member
from tests.support.load import Load
from tests.support.programs import require
from tests.support.waiting import until

COMMON = {**TIMINGS, "MAX_CONCURRENT_SESSIONS": 1, "MAX_LIFETIME_SESSIONS": 500, "STARTUP_STAGGER": 0.1}
WORKERS = 3


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Member, Member]]:
    """Two appliances of one grid: the first has all the workers, the second serves its clients with them."""
    if os.geteuid() != 0:
        pytest.skip("only root can make networks")
    require("ip", "iproute2")
    with ExitStack() as to_be_undone:
        first, second = {"CHROMIUM_WORKERS": WORKERS}, {"CHROMIUM_WORKERS": 0}
        cluster = Cluster(to_be_undone, COMMON, first, second)
        healthy, other = cluster.members
        yield healthy, other


@pytest.fixture
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


def readiness(grid: Appliance) -> str:
    """Return "" if an appliance is ready, else why it is not."""
    try:
        grid.get("/readyz")
    except HTTPError as error:
        return str(json.loads(error.read())["error"]["message"])
    return ""


def connect(playwright: Playwright, grid: Appliance) -> None:
    """Have a session with a page."""
    browser = playwright.chromium.connect(grid.endpoint)
    assert browser.new_page().evaluate("6 * 7") == 42
    browser.close()


def waits_ms(grid: Appliance) -> list[int]:
    """Return how long the sessions of an appliance's proxy waited for their slots."""
    return [int(ms) for ms in re.findall(r"event=session.started.* waited_ms=(\d+)", grid.log("proxy"))]


@pytest.mark.parametrize("how", ["unreachable", "blackhole"])
def test_a_proxy_without_a_route_harms_nobody_and_is_not_ready_until_it_has_one(
    pair: tuple[Member, Member], playwright: Playwright, how: str
) -> None:
    healthy, sick = pair
    connect(playwright, sick)
    lifetimes = {worker.id: worker.lifetime for worker in healthy.available(WORKERS)}
    began = len(waits_ms(healthy))
    with sick.cut_off(healthy.host, how), Load({"": healthy.endpoint}, 2) as load:
        for _ in range(8):
            with pytest.raises(Error, match=f"cannot reach the workers of {healthy.name}"):
                playwright.chromium.connect(sick.endpoint)
        assert f"cannot reach the workers of {healthy.name}" in readiness(sick)
        assert readiness(healthy) == ""
        until(lambda: load.served > 10, "the clients of the other one are served", 60)
    assert load.errors == []
    workers = healthy.available(WORKERS)
    assert not any(worker.suspect for worker in workers)
    assert {worker.id for worker in workers} == lifetimes.keys(), "none was recycled"
    spent = sum(worker.lifetime - lifetimes[worker.id] for worker in workers)
    until(lambda: spent == len(waits_ms(healthy)) - began, "only sessions that were served count")
    assert max(waits_ms(healthy)[began:]) < REACH_TIMEOUT_S * 1000, "nobody waited for a dial of the other proxy"
    until(lambda: not readiness(sick), "it finds by itself that it reaches them again")
    connect(playwright, sick)


class Crowd:
    """Clients that connect and say nothing, as many as leave a process one descriptor."""

    def __init__(self, grid: Appliance, process: psutil.Process, room: int) -> None:
        """Let the process have so many descriptors more than it has now."""
        self._address, self._process = (grid.host, grid.port), process
        self._before = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        self._most = process.num_fds() + room
        self._clients: list[socket.socket] = []
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (self._most, self._before[1]))

    def gather(self) -> None:
        """Come until there is one descriptor left, and none will be given back by a session that closes."""

        def is_full() -> bool:
            if self._others() > 0:
                return False
            if (free := self._most - self._process.num_fds() - 1) > 0:
                self._clients += [socket.create_connection(self._address) for _ in range(free)]
            for _ in range(-free):
                self._clients.pop().close()
            return free == 0

        until(is_full, "one descriptor is left")

    def _others(self) -> int:
        """Count the connections to the process that are not the crowd's."""
        connections = self._process.net_connections("tcp")
        own = [one for one in connections if one.laddr.port == self._address[1] and one.raddr]
        return len(own) - len(self._clients)

    def leave(self) -> None:
        """Let the process have its descriptors again."""
        for client in self._clients:
            client.close()
        resource.prlimit(self._process.pid, resource.RLIMIT_NOFILE, self._before)


def test_a_proxy_without_descriptors_makes_no_worker_suspect_and_is_not_ready(
    start_grid: StartGrid, playwright: Playwright
) -> None:
    grid = start_grid(MAX_LIFETIME_SESSIONS=500, ALLOW_ANONYMOUS="true", REQUEST_TIMEOUT=60)
    connect(playwright, grid)
    lifetime = grid.state.workers()[0].lifetime
    crowd = Crowd(grid, grid.process("proxy"), room=20)
    said, served = [], 0

    def is_refused() -> bool:
        """Connect while there is one descriptor; a session is served if the proxy has just closed another one."""
        nonlocal served
        crowd.gather()
        try:
            playwright.chromium.connect(grid.endpoint).close()
            served += 1
        except Error as error:
            said.append(error.message)
        return len(said) == 5

    until(is_refused, "five sessions are refused", 60)
    assert all("cannot reach its workers: " in text and "Too many open files" in text for text in said)

    def is_said() -> bool:
        crowd.gather()
        return "Too many open files" in readiness(grid)

    until(is_said, "the proxy is not ready, and says why")
    until(lambda: not grid.state.sessions(), "no session is left")
    (worker,) = grid.state.workers()
    assert (worker.suspect, worker.lifetime, worker.active) == (False, lifetime + served, 0)
    crowd.leave()
    until(lambda: not readiness(grid), "it finds by itself that it has descriptors again")
    connect(playwright, grid)
