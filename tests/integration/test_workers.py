"""One worker process with a real Redis and a real browser: how it begins, serves and ends."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import sync_playwright

from appliance.errors import LaunchError
from appliance.grid.grid import Grid
from appliance.grid.records import WorkerInfo
from appliance.grid.values import SessionRequest, WorkerStatus
from appliance.machine import browsers
from appliance.names import MARKER, Browser
from appliance.run_dir import RunDir
from appliance.settings import config
from tests.support.looks import command_of
from tests.support.relay import bridged
from tests.support.waiting import until
from workers import probe, workspace

NAME = "chromium-00"
REQUEST = SessionRequest(Browser.CHROMIUM)


class Running:
    """A worker's process with its output."""

    def __init__(self, grid: Grid, run_dir: Path, settings: dict[str, object]) -> None:
        """Start it, with a few settings of a fast test and those that are given."""
        self.grid = grid
        self.run_dir = run_dir
        self.output = run_dir / f"{time.monotonic_ns()}.log"
        fast = {"HEARTBEAT_INTERVAL": 0.3, "WORKER_TTL": 10, "STARTUP_STAGGER": 0, "SHUTDOWN_GRACE": 120}
        own = {"RUN_DIR": run_dir, "REDIS_URL": grid.store.url, "GRID_NAMESPACE": "test"}
        environment = {name: str(value) for name, value in {**fast, **own, **settings}.items()}
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "workers"],
                env={**os.environ, "BROWSER_TYPE": "chromium", "WORKER_NAME": NAME, **environment},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def ready(self) -> WorkerInfo:
        """Wait until it is registered, and give its entry."""
        return until(self._entry, f"the worker registers: {self.output.read_text()}", within_s=60)

    def _entry(self) -> WorkerInfo | None:
        return next((w for w in self.grid.workers() if w.pid == self.process.pid), None)

    def tree(self) -> dict[str, psutil.Process]:
        """Return its driver, its browser and, of that, a zygote and a renderer if it has one."""
        driver = psutil.Process(self.process.pid).children()[0]
        browser = driver.children()[0]
        tree = {"driver": driver, "browser": browser}
        for process in browser.children(recursive=True):
            for kind in ("zygote", "renderer"):
                if f"--type={kind}" in command_of(process):
                    tree[kind] = process
        return tree

    def logged(self, text: str) -> Callable[[], bool]:
        """Return a condition: the worker has logged this."""
        return lambda: text in self.output.read_text()

    def exit_code(self, within_s: float = 60) -> int:
        """Wait for its end."""
        return self.process.wait(within_s)

    def leftovers(self) -> list[object]:
        """Return the processes and folders that workers have left."""
        return [*self.folders(), *processes_in(self.run_dir)]

    def folders(self) -> list[Path]:
        """Return the workers' temporary folders."""
        return [path for path in RunDir(self.run_dir).workers_of(NAME).iterdir() if path.is_dir()]

    def socket(self) -> Path:
        """Return the socket of its driver."""
        return RunDir(self.run_dir).driver_socket(self.ready().id)


def processes_in(run_dir: Path) -> list[psutil.Process]:
    """Return the processes whose command or marker names a worker's folder."""
    found = []
    for process in psutil.process_iter():
        try:
            text = " ".join([*process.cmdline(), process.environ().get(MARKER, "")])
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if str(run_dir / "workers") in text:
            found.append(process)
    return found


def lives(process: psutil.Process) -> bool:
    """Return whether a process runs; one that only waits to be reaped does not."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


Start = Callable[..., Running]


@pytest.fixture
def start(grid: Grid) -> Iterator[Start]:
    """Start workers of one run folder; kill what is left after the test."""
    started: list[Running] = []
    with tempfile.TemporaryDirectory(prefix="workers-", ignore_cleanup_errors=True) as folder:

        def start_worker(**settings: object) -> Running:
            started.append(Running(grid, Path(folder), settings))
            return started[-1]

        yield start_worker
        for running in started:
            running.process.kill()
            running.process.wait()
        if started:
            workspace.sweep(RunDir(Path(folder)).workers_of(NAME))


def claim(grid: Grid, session_id: str = "s1") -> dict[str, object]:
    return grid.claim(session_id, REQUEST, proxy="p", lease_ms=60_000, wait_ms=60_000, queue_max=9)


# ── It begins ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_worker_registers_a_browser_that_answers_and_says_what_it_is(start: Start) -> None:
    running = start(MAX_CONCURRENT_SESSIONS=3, MAX_LIFETIME_SESSIONS=7)
    worker = running.ready()
    assert (worker.browser, worker.name, worker.status) == ("chromium", NAME, "available")
    assert (worker.concurrency, worker.quota) == (3, 7)
    assert worker.version == browsers.driver_version(config.load())
    probe.check(running.socket(), timeout_s=10)


def test_heartbeats_carry_the_memory_of_the_process_tree(start: Start, grid: Grid) -> None:
    start().ready()
    memory = until(lambda: grid.workers()[0].memory_bytes, "a heartbeat tells the memory")
    assert 50e6 < memory < 2e9


def test_a_missing_browser_is_said_clearly_and_ever_slower_before_a_turn_is_taken(start: Start, grid: Grid) -> None:
    durations = []
    for _ in range(4):
        began = time.monotonic()
        worker = start(CHROMIUM_EXECUTABLE="/nowhere/chromium")
        assert worker.exit_code() != 0
        durations.append(time.monotonic() - began)
        assert "CHROMIUM_EXECUTABLE names /nowhere/chromium" in worker.output.read_text()
    assert durations[3] > 1.0  # the back-off by then
    assert not [event for event in grid.events() if event["event"] == "worker.launching"]
    assert worker.leftovers() == []


def test_a_browser_that_ends_at_once_is_a_failure_with_its_words(start: Start, grid: Grid, tmp_path: Path) -> None:
    broken = tmp_path / "chromium"
    broken.write_text("#!/bin/sh\necho no display today >&2\nexit 3\n")
    broken.chmod(0o755)
    worker = start(CHROMIUM_EXECUTABLE=broken)
    assert worker.exit_code() == 1
    assert "no display today" in worker.output.read_text()
    assert worker.leftovers() == []
    (failure,) = grid.failures(Browser.CHROMIUM)
    assert failure.name == NAME
    assert failure.reason.startswith("the browser did not start: ")
    start().ready()
    assert not grid.failures(Browser.CHROMIUM), "the next one serves"


def test_a_worker_that_cannot_make_its_folder_leaves_the_reason(start: Start, grid: Grid) -> None:
    """It is a file that keeps the folder from being made here, and may be a full disk elsewhere."""
    running = start(PLAYWRIGHT_DRIVER="/nowhere")
    running.process.kill()
    running.process.wait()
    folder = RunDir(running.run_dir).workers_of(NAME)
    shutil.rmtree(folder.parent, ignore_errors=True)
    folder.parent.write_text("")
    start()
    (failure,) = until(lambda: grid.failures(Browser.CHROMIUM), "the reason is there")
    assert failure.reason == os.strerror(errno.ENOTDIR)
    folder.parent.unlink()
    folder.mkdir(parents=True)


def test_a_worker_that_starts_before_redis_waits_for_it(start: Start, tmp_path: Path) -> None:
    socket = tmp_path / "redis.sock"
    worker = start(REDIS_URL=f"unix://{socket}")
    until(worker.logged("worker.redis_away"), "it says that Redis is away")
    server = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", str(socket), "--save", ""], cwd=tmp_path)
    try:
        until(worker.logged("worker.ready"), "it registers when Redis is there")
    finally:
        server.kill()
        server.wait()


def test_a_worker_without_redis_can_still_be_stopped(start: Start, tmp_path: Path) -> None:
    worker = start(REDIS_URL=f"unix://{tmp_path}/none.sock")
    until(worker.logged("worker.redis_away"), "it says that Redis is away")
    worker.process.terminate()
    assert worker.exit_code() == 0
    assert worker.leftovers() == []


@pytest.mark.parametrize("hung", ["browser", "driver"])
def test_what_hangs_is_told_from_what_is_slow_by_a_deadline(hung: str, start: Start) -> None:
    worker = start()
    worker.ready()
    worker.tree()[hung].suspend()
    began = time.monotonic()
    with pytest.raises(LaunchError, match=f"the {hung} did not answer within 1 s"):
        probe.check(worker.socket(), timeout_s=1)
    assert time.monotonic() - began < 20
    worker.process.terminate()
    assert worker.exit_code() == 0
    assert worker.leftovers() == []


def test_what_a_driver_compiled_of_its_program_is_there_for_the_next_one(start: Start) -> None:
    written = []
    for _ in range(2):
        worker = start()
        worker.ready()
        worker.process.terminate()
        assert worker.exit_code() == 0
        files = [path for path in (worker.run_dir / "compile-cache").rglob("*") if path.is_file()]
        written.append({path: path.stat().st_mtime_ns for path in files})
    assert sum(path.stat().st_size for path in written[0]) > 500_000
    assert written[0] == written[1]  # the second found it all


# ── It ends in order ──────────────────────────────────────────────────────────────────────────────────


def test_sigterm_without_sessions_ends_it_at_once_and_leaves_nothing(start: Start, grid: Grid) -> None:
    worker = start()
    worker.ready()
    worker.process.terminate()
    assert worker.exit_code(within_s=60) == 0, "it did not wait for SHUTDOWN_GRACE"
    assert grid.workers() == []
    assert worker.leftovers() == []


def test_sigterm_waits_for_the_last_session(start: Start, grid: Grid) -> None:
    worker = start()
    worker.ready()
    claim(grid)
    worker.process.terminate()
    until(lambda: grid.workers()[0].status == WorkerStatus.DRAINING, "it drains")
    with pytest.raises(subprocess.TimeoutExpired):
        worker.process.wait(1)
    grid.release("s1", "client left")
    assert worker.exit_code(within_s=60) == 0


def test_a_session_that_outlasts_the_grace_is_ended_with_a_reason(start: Start, grid: Grid) -> None:
    worker = start(SHUTDOWN_GRACE=0.5)
    worker.ready()
    claim(grid)
    worker.process.terminate()
    assert worker.exit_code() == 0
    ended = [e["reason"] for e in grid.events() if e["event"] == "session.ended"]
    assert ended == [f"worker {NAME} is shutting down"]


def test_a_second_sigterm_forces_the_end(start: Start, grid: Grid) -> None:
    worker = start(SHUTDOWN_GRACE=600)
    worker.ready()
    claim(grid)
    worker.process.terminate()
    until(worker.logged("worker.draining"), "it drains")
    worker.process.terminate()
    assert worker.exit_code(within_s=60) == 0


def test_at_its_quota_it_drains_and_exits_when_told_that_the_last_session_ended(start: Start, grid: Grid) -> None:
    worker = start(MAX_LIFETIME_SESSIONS=1, HEARTBEAT_INTERVAL=150, WORKER_TTL=450)
    worker.ready()
    claim(grid)
    until(worker.logged('reason="quota reached"'), "it is told to drain, long before its next heartbeat")
    grid.release("s1", "client left")
    assert worker.exit_code(within_s=60) == 0


def test_after_drain_timeout_its_sessions_end_with_that_reason(start: Start, grid: Grid) -> None:
    worker = start(MAX_LIFETIME_SESSIONS=1, DRAIN_TIMEOUT=0.5)
    worker.ready()
    claim(grid)
    assert worker.exit_code() == 0
    ended = [e["reason"] for e in grid.events() if e["event"] == "session.ended"]
    assert ended == [f"worker {NAME} was recycled after DRAIN_TIMEOUT of 0.5 s"]


def test_an_operator_drains_it_by_command(start: Start, grid: Grid) -> None:
    worker = start()
    grid.drain_worker(worker.ready().id, "drained by operator")
    assert worker.exit_code() == 0
    assert "drained by operator" in worker.output.read_text()


# ── It lacks something ────────────────────────────────────────────────────────────────────────────────


def test_without_descriptors_it_goes_on_and_when_there_are_some_again_it_is_whole(start: Start, grid: Grid) -> None:
    worker = start(HANG_TIMEOUT=0.5)
    before = worker.ready()
    process = psutil.Process(worker.process.pid)
    limits = process.rlimit(resource.RLIMIT_NOFILE)
    process.rlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    until(worker.logged("worker.not_measured"), "its memory cannot be read")
    until(worker.logged("browser.silent"), "its browser cannot be asked")
    beats = [state.heartbeat_ms for state in grid.workers()]
    until(lambda: [state.heartbeat_ms for state in grid.workers()] > beats, "it is heard all the same")
    process.rlimit(resource.RLIMIT_NOFILE, limits)
    grid.store.read(("HSET", grid.store.key("worker", before.id), "suspect", 1))
    until(lambda: not grid.workers()[0].suspect, "its browser is vouched for again")
    assert [state.id for state in grid.workers()] == [before.id]


# A process without the right to start threads: root is not limited, so it becomes another account first.
WITHOUT_THREADS = """
import os, resource, sys, time
from workers import main
main.PAUSE_AFTER_A_FALSE_START_S = 0.5
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
os.setresuid(54323, 54323, 54323)
began = time.monotonic()
code = main.main()
sys.exit(code if time.monotonic() - began >= 0.5 else 9)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another account")
def test_a_worker_that_cannot_start_a_thread_says_so_and_does_not_spin() -> None:
    command = [sys.executable, "-c", WITHOUT_THREADS]
    environment = os.environ | {"APPLIANCE_ENV": os.devnull}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "can't start new thread" in done.stdout + done.stderr


# ── It is killed ──────────────────────────────────────────────────────────────────────────────────────


WHAT_IS_SAID = {
    "driver": f"the driver of worker {NAME} ended: signal 9",
    "browser": f"the browser of worker {NAME} crashed (signal 9)",
}


@pytest.mark.parametrize("victim", WHAT_IS_SAID)
def test_a_killed_child_is_noticed_at_once_and_named(victim: str, start: Start, grid: Grid) -> None:
    worker = start()
    worker.ready()
    claim(grid)
    worker.tree()[victim].kill()
    until(lambda: grid.workers() == [], "it is removed", within_s=10)
    assert worker.exit_code() == 1
    reasons = [e["reason"] for e in grid.events() if e["event"] == "session.ended"]
    assert reasons == [WHAT_IS_SAID[victim]]
    assert worker.leftovers() == []


@pytest.fixture
def client() -> Iterator[Callable[[Running], None]]:
    """Open pages in workers, as clients do, so that their browsers have renderers."""
    with ExitStack() as ways, sync_playwright() as playwright:

        def open_page(worker: Running) -> None:
            url = ways.enter_context(bridged(worker.socket()))
            playwright.chromium.connect(url).new_page().goto("data:text/html,<title>x</title>")

        yield open_page


def test_a_killed_driver_does_not_leave_a_hung_renderer(start: Start, client: Callable[..., None]) -> None:
    worker = start()
    client(worker)
    tree = worker.tree()
    tree["renderer"].suspend()
    tree["driver"].kill()
    assert worker.exit_code() == 1
    until(lambda: not lives(tree["renderer"]), "the stopped renderer is gone")
    assert worker.leftovers() == []


@pytest.mark.parametrize("hung", ["renderer", "zygote", "browser"])
def test_a_killed_worker_leaves_what_its_successor_sweeps_even_a_hung_process(
    hung: str, start: Start, client: Callable[..., None]
) -> None:
    worker = start()
    client(worker)
    tree = worker.tree()
    tree[hung].suspend()
    worker.process.kill()
    worker.process.wait()
    until(lambda: not lives(tree["driver"]), "the driver dies with its worker")
    assert lives(tree[hung])

    successor = start()
    successor.ready()
    assert [name for name, process in tree.items() if lives(process)] == []
    assert len(worker.folders()) == 1


def test_a_worker_is_back_soon_after_a_kill(start: Start) -> None:
    began = time.monotonic()
    worker = start()
    worker.ready()
    first_s, killed = time.monotonic() - began, time.monotonic()
    worker.tree()["browser"].kill()
    worker.exit_code()
    start().ready()
    assert time.monotonic() - killed < 3 * first_s + 5, "it takes much longer than the first start"


# ── Redis loses its memory ────────────────────────────────────────────────────────────────────────────


def test_a_worker_that_redis_forgot_registers_again_with_its_lifetime(start: Start, grid: Grid) -> None:
    worker = start()
    worker.ready()
    claim(grid)
    grid.release("s1", "client left")
    until(lambda: grid.workers()[0].memory_bytes, "a heartbeat was answered")
    grid.workers()
    heartbeat = grid.workers()[0].heartbeat_ms
    until(lambda: grid.workers()[0].heartbeat_ms > heartbeat, "a heartbeat told the lifetime")
    grid.store.read(("FLUSHALL",))
    again = worker.ready()
    assert (again.lifetime, again.status) == (1, WorkerStatus.AVAILABLE)


def test_a_draining_worker_that_redis_forgot_drains_on_and_waits_for_its_sessions(
    start: Start, client: Callable[..., None], grid: Grid
) -> None:
    worker = start(LEASE_RENEW_INTERVAL=1, LEASE_TTL=10, SHUTDOWN_GRACE=60)
    worker.ready()
    claim(grid)
    client(worker)
    worker.process.send_signal(signal.SIGTERM)
    until(worker.logged("worker.draining"), "it drains")
    grid.store.read(("FLUSHALL",))
    assert worker.ready().status == WorkerStatus.DRAINING
    with pytest.raises(subprocess.TimeoutExpired):  # its sessions may be asserted yet
        worker.process.wait(2)
    assert worker.exit_code() == 0  # no proxy asserted one


def test_a_worker_that_redis_forgot_waits_for_no_sessions_if_its_driver_has_none(start: Start, grid: Grid) -> None:
    worker = start(LEASE_TTL=120, SHUTDOWN_GRACE=120)
    worker.ready()
    grid.store.read(("FLUSHALL",))
    worker.ready()
    worker.process.send_signal(signal.SIGTERM)
    assert worker.exit_code(within_s=60) == 0
