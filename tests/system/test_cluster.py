"""Three appliances that are one grid: behind load balancers, cut off from each other, drained, upgraded, shut down.

The first has the Redis of all; the third runs an older Playwright, and its clock is an hour ahead.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from playwright.sync_api import Page, Playwright, sync_playwright

from appliance.grid.records import WorkerInfo
from tests.support.appliance import APPLCTL, TIMINGS
from tests.support.cluster import Cluster, LoadBalancer, Member
from tests.support.load import Load
from tests.support.pages import said_to
from tests.support.programs import require
from tests.support.stepped_clock import HOUR_S, Clock
from tests.support.waiting import until
from tests.support.wire import Wire

CLIENT = Path(__file__).parent / "clients" / "looping_client.py"
HOLDER = CLIENT.with_name("waiting_client.py")
WAIT = [APPLCTL, "appliance", "drain", "--wait"]
REST_S = 0.25  # so that the load leaves the machine some time
COMMON = {
    **TIMINGS,
    "MAX_CONCURRENT_SESSIONS": 3,
    "MAX_LIFETIME_SESSIONS": 0,
    "STARTUP_STAGGER": 0.1,
    "SHUTDOWN_GRACE": 12,  # HAProxy leaves within 2 s, and later on a busy machine
    "DRAIN_NOTICE": 6,
    "TRUSTED_PROXIES": "10.232.0.0/16",
}


@pytest.fixture(scope="module", autouse=True)
def programs() -> None:
    """See to the programs that these tests need beside the appliance's own."""
    if os.geteuid() != 0:
        pytest.skip("only root can make networks")
    for program, package in {"ip": "iproute2", "haproxy": "haproxy", "nginx": "nginx-light"}.items():
        require(program, package)


@pytest.fixture(scope="module")
def older_driver(older_playwright: Path) -> Path:
    (driver,) = older_playwright.glob("lib/python*/site-packages/playwright/driver")
    return driver


@pytest.fixture(scope="module")
def cluster(older_driver: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    clock = Clock(tmp_path_factory.mktemp("clock"))
    clock.step(HOUR_S)
    with ExitStack() as to_be_undone:
        yield Cluster(to_be_undone, COMMON, {}, {}, {"PLAYWRIGHT_DRIVER": older_driver, **clock.settings})


@pytest.fixture
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def haproxy(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadBalancer]:
    balancer = LoadBalancer("haproxy", cluster, tmp_path_factory.mktemp("haproxy"))
    yield balancer
    balancer.stop()


def page_on(playwright: Playwright, proxy: Member, worker: WorkerInfo) -> Page:
    """Open a page in a session of one proxy and one worker, which is found by trying; others are held meanwhile."""
    with ExitStack() as held:
        for _ in range(6):
            browser = playwright.chromium.connect(proxy.endpoint)
            newest = proxy.state.sessions()[-1]
            if newest.worker == worker.id:
                return browser.new_page()
            held.callback(browser.close)
    raise AssertionError(f"no session of {proxy.name} was given {worker.id}")


def until_connected(playwright: Playwright, proxy: Member, worker: WorkerInfo) -> Page:
    """Open such a page as soon as the worker's appliance can be reached again."""

    def page() -> Page | None:
        with suppress(AssertionError):
            return page_on(playwright, proxy, worker)
        return None

    return until(page, "its proxy is back", 60)


def workers_of(member: Member, status: str = "available") -> list[WorkerInfo]:
    return [w for w in member.state.workers() if w.appliance == member.name and w.status == status]


def starts(member: Member) -> int:
    """Count the sessions that its proxy has begun."""
    return member.log("proxy").count("event=session.started")


@contextmanager
def older_clients(older_playwright: Path, endpoint: str) -> Iterator[dict[str, Any]]:
    """Let a client of the older version run sessions; what became of them is there after the block."""
    result: dict[str, Any] = {}
    command = [older_playwright / "bin/python", CLIENT, endpoint]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout
        assert client.stdin
        assert client.stdout.readline() == "serving\n"
        yield result
        client.stdin.close()
        result.update(json.load(client.stdout))


@contextmanager
def held_session(older_playwright: Path, endpoint: str) -> Iterator[subprocess.Popen[str]]:
    """Let a client of the older version hold a session until it is told to end."""
    command = [older_playwright / "bin/python", HOLDER, endpoint]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout
        assert client.stdout.readline() == "connected\n"
        yield client
        assert client.wait(60) == 0


def end(client: subprocess.Popen[str]) -> None:
    assert client.stdin
    client.stdin.close()


def refusal(member: Member, version: str) -> tuple[int, str]:
    """Ask for a session with a version; return the status, and which version is served instead."""
    with Wire(member.port, member.host) as wire:
        answer = wire.upgrade(User_Agent=f"Playwright/{version}")
    message = "" if answer.status == 101 else answer.error["message"]
    return answer.status, message.rpartition("Served: ")[2]


def is_left(load: Load, member: Member) -> None:
    """See that the load balancer has left a drained appliance by the time that it refuses new sessions."""
    refused = member.log("proxy").count("The appliance is drained")
    until(lambda: refusal(member, "1.65.0") == (503, "The appliance is drained."), "it refuses new sessions")
    until(lambda: member.log("proxy").count("The appliance is drained") > refused, "its log is written up to that")
    begun, served = starts(member), load.served
    until(lambda: load.served > served + 4, "clients are served")
    assert starts(member) == begun


@pytest.mark.parametrize("program", ["haproxy", "nginx"])
def test_sessions_pass_a_load_balancer_and_show_their_clients_address(
    program: str, cluster: Cluster, tmp_path: Path, playwright: Playwright
) -> None:
    balancer = LoadBalancer(program, cluster, tmp_path)
    try:
        browsers = [playwright.chromium.connect(balancer.endpoint) for _ in range(6)]
        sessions = cluster.members[0].state.sessions()
        assert {browser.new_page().evaluate("6 * 7") for browser in browsers} == {42}
        assert {session.client for session in sessions} == {"127.0.0.1"}
        assert len({session.proxy for session in sessions}) == 3, "no proxy is left out"
        assert {session.worker for session in sessions} == {w.id for m in cluster.members[:2] for w in workers_of(m)}
        for browser in browsers:
            browser.close()
    finally:
        balancer.stop()


def test_an_appliance_cut_off_from_redis_costs_only_what_it_had_at_hand(
    cluster: Cluster, haproxy: LoadBalancer, playwright: Playwright
) -> None:
    first, second, _ = cluster.members
    ((lost,), (kept,)) = workers_of(second), workers_of(first)
    relayed = page_on(playwright, second, kept)
    with Load({"": haproxy.endpoint}, 2, REST_S) as load:
        until(lambda: load.served > 4, "clients use the grid")
        with second.cut_off(cluster.redis_address):
            until(lambda: lost.id not in {w.id for w in first.state.workers()}, "its worker is reaped", 60)
            served = load.served
            until(lambda: load.served > served + 4, "the others serve", 60)
            assert relayed.evaluate("6 * 7") == 42, "who relays a session need not ask Redis"
        until(lambda: workers_of(second), "its worker is back", 60)
        served = starts(second)
        until(lambda: starts(second) > served + 2, "its proxy is back behind the load balancer", 60)
    assert relayed.evaluate("6 * 7") == 42
    relayed.context.browser.close()
    explained = f"worker {lost.name} stopped answering|Redis does not answer|no server is available"
    assert [error for error in load.errors if not re.search(explained, error)] == []
    cluster.agrees()


def test_a_proxy_cut_off_from_anothers_workers_serves_with_those_that_it_reaches(
    cluster: Cluster, playwright: Playwright
) -> None:
    first, second, _ = cluster.members
    with second.cut_off(first.host), Load({"": second.endpoint}, 2, REST_S) as load:
        until(lambda: load.served > 4, "clients of the one are served", 60)
        browser = playwright.chromium.connect(first.endpoint)  # whose dials to the other get no answer
        assert browser.new_page().evaluate("6 * 7") == 42
        browser.close()
    assert load.errors == []
    until(lambda: not first.state.sessions(), "all slots are free")
    cluster.agrees()


def test_a_session_on_another_appliances_worker_ends_with_the_true_reason(
    cluster: Cluster, playwright: Playwright
) -> None:
    first, second, _ = cluster.members
    (worker,) = workers_of(second)
    page = page_on(playwright, first, worker)
    second.process("proxy").kill()
    assert said_to(page) == f"the connection to appliance {second.name} was lost"
    page = until_connected(playwright, first, worker)
    psutil.Process(worker.pid).kill()
    assert said_to(page) == f"worker {worker.name} crashed"
    until(lambda: not first.state.sessions(), "all slots are free")
    until(lambda: workers_of(second), "the worker is back", 60)
    cluster.agrees()


def test_an_upgrade_under_load_fails_no_session(
    cluster: Cluster, haproxy: LoadBalancer, older_playwright: Path
) -> None:
    first, _, third = cluster.members
    with Load({"": haproxy.endpoint}, 2, REST_S) as load:
        with older_clients(older_playwright, haproxy.endpoint) as older:
            until(lambda: load.served > 2, "clients of both versions are served")
        assert older["errors"] == []
        with held_session(older_playwright, first.endpoint) as client:
            first.applctl("appliance", "drain", third.name)
            until(lambda: refusal(first, "1.62.0") == (428, "1.65."), "no more clients of the older version are taken")
            with subprocess.Popen([*WAIT, third.name], env=first.env, stdout=subprocess.DEVNULL) as waiting:
                is_left(load, third)
                assert waiting.poll() is None, "a session is left on its worker"
                assert client.poll() is None
                end(client)
                assert waiting.wait(60) == 0
        third.down()
        del third.env["PLAYWRIGHT_DRIVER"]
        third.up()
        begun = starts(third)
        until(lambda: starts(third) > begun + 2, "its proxy is back behind the load balancer", 60)
        assert [worker.version for worker in workers_of(third)] == [workers_of(first)[0].version]
    assert load.errors == []
    cluster.agrees()


def test_nginx_passes_on_what_a_drained_appliance_refuses(cluster: Cluster, tmp_path: Path) -> None:
    """It asks nobody whether they are ready, and so still sends sessions to one that is drained."""
    first, second, _ = cluster.members
    nginx = LoadBalancer("nginx", cluster, tmp_path)
    try:
        first.applctl("appliance", "drain", second.name)
        until(lambda: refusal(second, "1.65.0") == (503, "The appliance is drained."), "it refuses new sessions", 60)
        refused = second.log("proxy").count("The appliance is drained")
        with Load({"": nginx.endpoint}, 3, REST_S) as load:
            until(lambda: load.served > 8, "clients are served", 60)
        assert load.errors == []
        until(lambda: second.log("proxy").count("The appliance is drained") > refused, "it was asked, too")
    finally:
        nginx.stop()
        first.applctl("appliance", "undrain", second.name)
    until(lambda: workers_of(second), "it serves again", 60)
    cluster.agrees()


def test_an_appliance_that_is_shut_down_under_load_fails_no_session(cluster: Cluster, haproxy: LoadBalancer) -> None:
    """The last test: nobody needs it any more."""
    first, second, _ = cluster.members
    with Load({"": haproxy.endpoint}, 3, REST_S) as load:
        until(lambda: load.served > 3, "clients use the grid")
        second.down()
        assert {one.name: one.status for one in first.state.appliances()}[second.name] == "stopping"
        served = load.served
        until(lambda: load.served > served + 3, "the others serve")
    assert load.errors == []
    assert first.lasting_differences() == []
