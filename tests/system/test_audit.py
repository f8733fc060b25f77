"""The auditor names what really differs on a running appliance, and nothing while it is only busy."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest
from playwright.async_api import async_playwright
from playwright.sync_api import Playwright, sync_playwright

from appliance.audit import audit
from appliance.grid.values import SessionRequest, WorkerSpec
from appliance.machine.environment import started_settings
from appliance.machine.supervisor import Supervisor
from appliance.names import MARKER, Browser
from appliance.run_dir import RunDir
from appliance.settings.config import Settings
from tests.support.appliance import Appliance, StartGrid, tree
from tests.support.relay import bridged
from tests.support.waiting import until

# What is broken stays so: neither is it taken up again, nor reaped.
LASTING = {"LEASE_RENEW_INTERVAL": 1000, "LEASE_TTL": 3000, "WORKER_TTL": 60, "REAPER_RUN_INTERVAL": 1000}


@pytest.fixture(scope="module")
def appliance() -> Iterator[Appliance]:
    with Appliance(MAX_CONCURRENT_SESSIONS=2, MAX_LIFETIME_SESSIONS=0, **LASTING) as grid:
        yield grid


@pytest.fixture
def grid(appliance: Appliance) -> Iterator[Appliance]:
    """Provide an appliance on which each test sets right again what it broke."""
    yield appliance
    until(lambda: not appliance.state.sessions(), "the sessions are over, which the next test counts")
    assert appliance.lasting_differences() == []


@pytest.fixture
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


def doctor(grid: Appliance) -> tuple[int, list[dict[str, Any]]]:
    """Run `applctl doctor`; give its exit code and what its audit says."""
    done = grid.applctl("doctor", "--json", check=False)
    return done.returncode, [check for check in json.loads(done.stdout) if check["name"] == "audit"]


@contextmanager
def without_proxy(grid: Appliance) -> Iterator[Callable[[], list[str]]]:
    """Kill the proxy, and let it come back after the block, when it gives back what it held; returns a way to audit."""
    settings = started_settings(Settings(run_dir=grid.run_dir))
    assert settings
    supervisor, proxy = psutil.Process(Supervisor(grid.run_dir).pid()), grid.process("proxy")
    supervisor.suspend()
    try:
        proxy.kill()
        until(lambda: proxy.status() == psutil.STATUS_ZOMBIE, "the proxy has ended")
        yield lambda: [difference.text for difference in audit(settings, grid.state).differences]
    finally:
        supervisor.resume()
        until(lambda: grid.is_ready(), "the proxy is back")


@contextmanager
def leaked_slot(grid: Appliance, lease: bool) -> Iterator[str]:
    """Let a session that does not exist hold a slot of the first worker; returns the worker's id."""
    store, worker = grid.state.store, grid.state.workers()[0].id
    slots, leases = store.key("worker", worker, "sessions"), store.key("leases")
    store.read(("SADD", slots, "ghost"), *([("ZADD", leases, 1e15, "ghost")] if lease else []))
    try:
        yield worker
    finally:
        store.read(("SREM", slots, "ghost"), ("ZREM", leases, "ghost"))


def test_doctor_says_that_all_agrees_where_it_does(grid: Appliance, playwright: Playwright) -> None:
    assert grid.audit() == []
    browsers = [playwright.chromium.connect(grid.endpoint) for _ in range(2)]
    assert grid.audit() == []
    _, (check,) = doctor(grid)
    assert check["status"] == "ok"
    assert check["finding"] == "Redis, sockets, processes and folders agree (sessions: 2, workers: 1)"
    for browser in browsers:
        browser.close()


def test_a_slot_that_leaked_is_named_with_a_remedy(grid: Appliance) -> None:
    with leaked_slot(grid, lease=True) as worker:
        said = f"session ghost holds a slot of worker {worker}, but Redis knows nothing else of it"
        assert said in grid.audit()
        code, checks = doctor(grid)
        assert (code, checks[0]["status"], checks[0]["finding"]) == (1, "failed", said)
        assert "applctl restart chromium-00" in checks[0]["remedy"]


def test_the_remedy_for_a_leaked_slot_frees_it(grid: Appliance) -> None:
    (before,) = grid.available(1)
    with leaked_slot(grid, lease=True) as worker:
        grid.applctl("restart", "chromium-00")
        grid.successor(before)
        assert grid.state.store.read(("EXISTS", grid.state.store.key("worker", worker, "sessions"))) == [0]


def test_a_session_that_redis_was_made_to_forget_is_named(grid: Appliance, playwright: Playwright) -> None:
    browser = playwright.chromium.connect(grid.endpoint)
    (session,) = grid.state.sessions()
    grid.state.release(session.id, "behind its proxy's back")
    (text,) = grid.audit()
    assert text.startswith("no session is known for connection unix:")
    assert text.endswith(f" to worker {session.worker}")
    browser.close()


def test_a_session_that_its_proxy_takes_up_again_is_not_named(start_grid: StartGrid, playwright: Playwright) -> None:
    grid = start_grid()
    browser = playwright.chromium.connect(grid.endpoint)
    (session,) = grid.state.sessions()
    grid.state.release(session.id, "behind its proxy's back")
    assert grid.audit() == []
    assert [session.id for session in grid.state.sessions()] == [session.id]
    browser.close()


def test_the_sessions_of_a_proxy_that_was_killed_are_named(grid: Appliance, playwright: Playwright) -> None:
    for _ in range(2):
        playwright.chromium.connect(grid.endpoint)
    first, second = sorted(session.id for session in grid.state.sessions())
    (worker,) = grid.state.workers()
    with without_proxy(grid) as look:
        said = f"no proxy here relays 2 of the 2 sessions {first}, {second}, active on worker {worker.id}"
        assert said in look()
        for session in (first, second):
            grid.state.release(session, "by hand")


def test_a_ticket_that_nobody_waits_for_is_named(grid: Appliance, playwright: Playwright) -> None:
    until(lambda: grid.get("/readyz"), "the proxy is back")
    browsers = [playwright.chromium.connect(grid.endpoint) for _ in range(2)]
    session = grid.state.sessions()[0]
    request = SessionRequest(Browser.CHROMIUM)
    grid.state.claim("ghost", request, proxy=session.proxy, lease_ms=60_000, wait_ms=60_000, queue_max=1)
    (text,) = grid.audit()
    assert text.startswith("no client is connected for 1 of the 3 sessions ghost, unix:")
    grid.state.release("ghost", "by hand")
    for browser in browsers:
        browser.close()


def test_a_process_and_a_folder_that_belong_to_no_worker_are_named(grid: Appliance) -> None:
    folder = RunDir(grid.run_dir).workers_of("chromium-00") / "000000"
    folder.mkdir()
    orphan = subprocess.Popen(["sleep", "60"], env=os.environ | {MARKER: str(folder)})
    try:
        assert grid.audit() == [
            f"process {orphan.pid} (sleep) belongs to no worker: nobody owns its folder chromium-00.000000",
            f"temporary folder {folder} belongs to no worker",
        ]
    finally:
        orphan.kill()
        orphan.wait()
        folder.rmdir()


def test_a_worker_that_is_paused_is_named(grid: Appliance) -> None:
    (worker,) = grid.state.workers()
    process = psutil.Process(worker.pid)
    process.suspend()
    try:
        assert grid.audit() == [f"process {worker.pid} (worker chromium-00) is paused"]
    finally:
        process.resume()


def test_a_worker_without_a_process_is_named(grid: Appliance) -> None:
    (worker,) = grid.state.workers()
    gone = f"{worker.appliance}.chromium-07.000000"
    spec = WorkerSpec(
        id=gone, browser=Browser.CHROMIUM, version=worker.version, name="chromium-07",
        appliance=worker.appliance, concurrency=1, quota=0, ttl_ms=60_000, pid=1,
    )  # fmt: skip
    grid.state.register_worker(spec)
    assert grid.audit() == [f"worker {gone} is registered, but its process 1 is gone"]
    grid.state.remove_worker(gone, "by hand")


def test_a_client_that_goes_around_the_proxy_is_named(grid: Appliance, playwright: Playwright) -> None:
    (worker,) = grid.state.workers()
    with bridged(grid.socket_of(worker)) as url:
        browser = playwright.chromium.connect(url)
        (text,) = grid.audit()
        assert text.startswith("no session is known for connection unix:")
        assert text.endswith(f" to worker {worker.id}")
        browser.close()


@pytest.mark.parametrize("victim", ["worker", "driver", "browser"])
def test_after_a_kill_all_agrees_again_soon(victim: str, grid: Appliance, playwright: Playwright) -> None:
    playwright.chromium.connect(grid.endpoint)
    (worker,) = grid.state.workers()
    tree(worker.pid)[victim].kill()
    grid.successor(worker)
    assert grid.lasting_differences() == []


async def keep_busy(grid: Appliance, site: str, over: asyncio.Event) -> int:
    """Let clients come and go, more of them than there are slots; return how many sessions they had."""
    sessions = 0
    async with async_playwright() as playwright:

        async def client(number: int) -> None:
            nonlocal sessions
            while not over.is_set():
                browser = await playwright.chromium.connect(grid.endpoint)
                if number % 2:
                    await (await browser.new_page()).goto(site)
                await browser.close()
                sessions += 1

        await asyncio.gather(*(client(number) for number in range(4)))
    return sessions


def test_a_busy_grid_that_recycles_is_never_accused_and_its_leak_is_found(start_grid: StartGrid, site: str) -> None:
    grid = start_grid(
        CHROMIUM_WORKERS=2,
        SPARE_WORKERS=1,
        MAX_CONCURRENT_SESSIONS=1,
        MAX_LIFETIME_SESSIONS=10,
        STARTUP_STAGGER=0.1,
        QUEUE_TIMEOUT=60,
    )

    def recycled() -> int:
        return sum(event["event"] == "worker.ended" for event in grid.state.events())

    async def audit_meanwhile() -> list[list[str]]:
        over = asyncio.Event()
        load = asyncio.create_task(keep_busy(grid, site, over))
        found = []
        while len(found) < 25 or recycled() < 3:
            found.append(await asyncio.to_thread(grid.audit))
            assert not load.done()
        grid.state.store.read(("ZADD", grid.state.store.key("leases"), 1e15, "ghost"))
        found.append(await asyncio.to_thread(grid.audit))
        over.set()
        assert await load > 20
        return found

    *before, after = asyncio.run(audit_meanwhile())
    grid.state.store.read(("ZREM", grid.state.store.key("leases"), "ghost"))
    assert [differences for differences in before if differences] == []
    assert after == ["there is a lease of ghost, but no such session"]


def test_of_two_appliances_that_share_a_redis_each_audits_its_own_part(
    redis_url: str, start_grid: StartGrid, playwright: Playwright
) -> None:
    one, other = (start_grid(REDIS_URL=redis_url, MAX_CONCURRENT_SESSIONS=1, **LASTING) for _ in range(2))
    for _ in range(2):
        playwright.chromium.connect(one.endpoint)
    sessions = one.state.sessions()
    (away,) = (s for s in sessions if s.worker.startswith(f"{other.env['APPLIANCE_NAME']}."))
    assert (one.audit(), other.audit()) == ([], [])
    (here,) = (session for session in sessions if session != away)
    with without_proxy(one) as look:
        assert f"no proxy here relays session {here.id}, active on worker {here.worker}" in look()
        assert other.audit() == [f"no proxy here relays session {away.id}, active on worker {away.worker}"]
        for session in sessions:
            one.state.release(session.id, "by hand")
