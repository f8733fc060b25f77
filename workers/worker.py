"""A worker's life, from its start to its exit, in one straight line: `Worker._live`."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from appliance import logs
from appliance.deadline import Deadline
from appliance.errors import LaunchError
from appliance.grid.grid import Grid
from appliance.grid.mailbox import Mailbox
from appliance.grid.store import Store
from appliance.grid.values import CrashCause, WorkerSpec
from appliance.machine import browsers, drivers, pool_file
from appliance.machine.accounts import has_own_account
from appliance.machine.cgroups import Group
from appliance.machine.record import record_of
from appliance.names import BESIDE, WorkerId
from appliance.request_errors import StoreUnavailable
from appliance.settings.config import Settings
from workers import backoff, family, leftovers, probe, workspace
from workers.bounds import disk_bound, memory_bound
from workers.drain import drain
from workers.driver import Driver, launch_command, launch_environment
from workers.heart import Heart
from workers.orders import Crashed, Orders, Stopped
from workers.ration import Ration
from workers.registration import Registration
from workers.watch import Watch
from workers.workspace import Workspace

log = logs.get_logger()

T = TypeVar("T")

REDIS_RETRY_S = 0.5
LOOK_S = 1.0
MAILBOX_S = 2.0  # a mailbox that is not listening yet costs a message, which a heartbeat makes up for
FAILURE_KEPT_S = 60.0  # beyond the next launch: what its successor does not confirm is outdated
STEADY_S = 60.0  # a crash within this time counts as a failure (backoff.py)


def new_worker_id(settings: Settings) -> str:
    """Return an id that no other worker has: "<appliance>.<name>.<6 hex digits>"."""
    return f"{settings.appliance_name}.{settings.worker_name}.{secrets.token_hex(3)}"


class Worker:
    """One worker; `orders` takes what it is told from outside."""

    def __init__(self, worker_id: str, settings: Settings, group: Group | None = None) -> None:
        """Set the worker's id, its settings and, if it has one, its control group; nothing happens before `run`."""
        self.id = worker_id
        self._group = group
        self.orders = Orders(settings.worker_name)
        self._settings = settings
        self._name = settings.worker_name
        self._pool = settings.pool_by_name.get(self._name)
        self._store = Store(settings.effective_redis_url, settings.grid_namespace)
        self._grid = Grid(self._store)
        self._folder = settings.paths.workers_of(self._name)
        self._ready_at = 0.0

    def run(self) -> int:
        """Live. Return the exit code: 0 after a drain or a stop, 1 after a failure or a crash."""
        is_alone = self._end_account()
        own = workspace.create(self._folder, WorkerId.parse(self.id).suffix)
        failures = backoff.Failures(self._folder)
        try:
            self._forget(workspace.sweep(self._folder, own.path if is_alone else None))
            failures.count()
            self._live(own, failures)
        except Stopped:
            failures.forgive()
            log.info("worker.stopped", reason="told to stop before it was ready")
        except LaunchError as error:
            log.error("worker.failed", error=str(error), hint=error.hint, failures=failures.before + 1)
            self.report_failure(str(error))
            return 1
        except Crashed as crash:
            if not self._ready_at or time.monotonic() - self._ready_at < STEADY_S:
                failures.count()
                self.report_failure(str(crash))
            log.error("worker.crashed", reason=str(crash))
            return 1
        except OSError as error:
            if not failures.is_counted:  # no room, say
                raise
            log.error("worker.failed", error=str(error), failures=failures.before + 1)
            self.report_failure(error.strerror or str(error))
            return 1
        except Exception as error:  # a fault of our own, or a machine without threads
            log.exception("worker.failed", failures=failures.before + 1)
            self.report_failure(f"{type(error).__name__}: {error}")
            return 1
        finally:
            self._end_group()
            self._end_account()
            own.clear(family=True)
            family.fetch_exit_status()
        return 0

    def _end_group(self) -> None:
        """Kill driver and browser in one step, where they have a control group."""
        if self._group:
            try:
                self._group.kill_browser()
            except OSError as error:
                log.warning("worker.group_left", error=str(error))

    def _end_account(self) -> bool:
        """Kill all that has this worker's own user id, if it has one. Return whether this process alone is left."""
        if not has_own_account(self._settings, self._name):
            return False
        try:
            leftovers.kill_account(workspace.KILL_TIMEOUT_S)
        except TimeoutError as error:  # no reason not to start
            log.warning("worker.processes_left", error=str(error))
            return False
        return True

    def report_failure(self, reason: str) -> None:
        """Leave the reason in Redis, for clients that wait for a worker in vain."""
        settings = self._settings
        ttl_s = settings.launch_timeout + FAILURE_KEPT_S
        try:
            self._grid.report_failure(settings.appliance_name, self._name, settings.browser_type, reason, ttl_s)
        except StoreUnavailable as error:
            log.warning("worker.redis_away", error=str(error))

    def _forget(self, swept: list[str]) -> None:
        """Remove the dead owners of swept workspaces from the grid, before their heartbeats are missed."""
        for suffix in swept:
            dead = f"{self._settings.appliance_name}.{self._name}.{suffix}"
            try:
                self._grid.remove_worker(dead, f"worker {self._name} crashed", CrashCause.KILLED)
            except StoreUnavailable as error:
                log.warning("worker.redis_away", error=str(error), swept=dead)

    def _live(self, own: Workspace, failures: backoff.Failures) -> None:
        """The straight line. Raises Stopped, LaunchError and Crashed, each when all is undone."""
        self.orders.pause(backoff.delay_s(failures.before))
        self._settings = drivers.for_worker(self._settings)
        program = browsers.find(self._settings.browser_type, self._settings)
        log.info("worker.launching", program=str(program.path), source=program.source)
        command = launch_command(self._settings, program, own)
        self._take_launch_turn()
        launched_at = time.monotonic()
        with (
            self._launch(command, own) as driver,
            self._keep_within_bounds(driver, own) as ration,
            self._register(driver, lambda: ration.memory_bytes) as registration,
        ):
            self._is_ready(launched_at, failures)
            self._serve()
            drain(self._settings, registration, self.orders, driver.connections)

    def _take_launch_turn(self) -> None:
        """Wait until this appliance may launch a browser, which must follow at once."""
        settings = self._settings
        while wait_s := self._insist(
            lambda: self._grid.take_launch_turn(settings.appliance_name, settings.startup_stagger)
        ):
            self.orders.pause(wait_s)

    @contextmanager
    def _launch(self, command: list[str], own: Workspace) -> Iterator[Driver]:
        """Launch driver and browser, and see that they answer; stop them in the end."""
        deadline = Deadline(self._settings.launch_timeout)
        driver = Driver(command, launch_environment(self._settings, own), own, self.orders, self._group)
        try:
            self._await_driver(driver)
            probe.require_preload(driver.socket, max(1.0, deadline.left_s))
            browser_pid = driver.browser_pid()
            own.remember(leftovers.session_of(browser_pid))
            Watch(driver, browser_pid, self.orders, self._settings.hang_timeout).start()
            probe.check(driver.socket, max(1.0, deadline.left_s))
            driver.open_to_the_proxy()
            yield driver
        finally:
            driver.stop()

    def _await_driver(self, driver: Driver) -> None:
        """Wait until it takes connections. It minds LAUNCH_TIMEOUT itself, and says more about it.

        The line that it prints then only wakes this up; if that is lost, the next look finds the driver all the same.
        """
        deadline = Deadline(self._settings.launch_timeout + 5)
        while not deadline.is_over:
            if self.orders.wait(lambda: driver.is_up or driver.has_ended or self.orders.terminations, LOOK_S):
                break
        self.orders.pause(0)
        if not driver.is_up:
            for line in driver.lines:
                log.warning("driver.output", line=line)
            raise LaunchError(f"the browser did not start: {driver.complaint()}")

    @contextmanager
    def _keep_within_bounds(self, driver: Driver, own: Workspace) -> Iterator[Ration]:
        """Look at what the worker uses, until the block's end."""
        bounds = memory_bound(self._settings), disk_bound(self._settings)
        ration = Ration(self.orders, own.path, *bounds, awaited={driver.process.pid})
        ration.start()
        try:
            yield ration
        finally:
            ration.stop()

    @contextmanager
    def _register(self, driver: Driver, memory_bytes: Callable[[], int]) -> Iterator[Registration]:
        """Register, and keep heartbeats and messages going; remove the registration in the end."""
        settings = self._settings
        registration = Registration(
            self._grid,
            self._spec(),
            self.orders,
            settings.lease_ttl,
            driver.connections,
            record_of(settings),
            self._size,
        )
        mailbox = Mailbox(self._store, "worker", self.id, registration.handle)
        heart = Heart(registration, self.orders, settings.heartbeat_interval, memory_bytes)
        try:
            heart.start()
            self.orders.start_thread("mailbox", mailbox.run)
            mailbox.wait_until_listening(MAILBOX_S)  # its first message may follow its registration at once
            self._insist(registration.register)
            heart.begin()
            yield registration
        except Crashed as crash:
            registration.remove(str(crash), crash.crash)
            raise
        finally:
            heart.stop()
            mailbox.close()
            registration.remove(f"worker {self._name} failed", CrashCause.WORKER)

    def _spec(self) -> WorkerSpec:
        settings = self._settings
        return WorkerSpec(
            id=self.id,
            browser=settings.browser_type,
            version=browsers.driver_version(settings),
            appliance=settings.appliance_name,
            name=self._name,
            concurrency=settings.max_concurrent_sessions,
            quota=settings.max_lifetime_sessions,
            ttl_ms=int(settings.worker_ttl * 1000),
            pid=os.getpid(),
            isolation=settings.isolation,
            channel=browsers.channel_of(settings.browser_type, settings),
            beside=BESIDE if self._pool and self._pool.is_beside else "",
        )

    def _size(self) -> tuple[int, int]:
        """Return how many workers of its pool take sessions, and how many stand by, which may have changed.

        A worker that has been let go is still of its pool; one that was started by hand is of none.
        """
        settings = pool_file.as_written(self._settings)
        if self._pool is None:
            return (0, 0) if settings.paths.pools.exists() else (settings.own_workers_of(settings.browser_type), 0)
        sizes = {pool.name: (pool.workers, pool.spares) for pool in settings.all_pools}
        return sizes.get(self._pool.name, (0, 0))

    def _is_ready(self, launched_at: float, failures: backoff.Failures) -> None:
        self._ready_at = time.monotonic()
        failures.clear()
        log.info("worker.ready", launch_s=round(self._ready_at - launched_at, 3))

    def _serve(self) -> None:
        """Wait to be told to drain, and do nothing else: sessions do not pass through this process."""
        self.orders.wait(lambda: self.orders.drain_reason or self.orders.terminations)

    def _insist(self, call: Callable[[], T]) -> T:
        """Call the grid until Redis is there. SIGTERM and a crash end the waiting."""
        said = False
        while True:
            try:
                return call()
            except StoreUnavailable as error:
                if not said:
                    log.warning("worker.redis_away", error=str(error))
                said = True
            self.orders.pause(REDIS_RETRY_S)
