"""Does what the plan says: kills, pauses and continues processes, and notes what was hit."""

from __future__ import annotations

import http.client
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psutil

from appliance.errors import StoreUnavailable, SupervisorError
from appliance.registry import Registry
from appliance.store import Store
from tests.chaos import targets
from tests.chaos.kinds import Target
from tests.chaos.plan import Fault
from tests.chaos.targets import Missing, WorkersTree
from tests.system.grid import Grid

BACK_WITHIN_S = 60.0
LOOK_INTERVAL_S = 0.05


@dataclass(slots=True)
class Hit:
    """What a fault hit; `worker` is the worker's id.

    Times are seconds of the clock: it `began`, it was `over` with the last signal, and it had `ended` when
    the proxy or Redis served again.
    """

    fault: Fault
    began: float
    ended: float = 0.0
    over: float = 0.0
    worker: str = ""
    slot: str = ""
    what: str = ""
    missed: bool = False

    def line(self) -> str:
        """Give the fault, and what it hit in this run."""
        return f"{self.fault.line()} {self.what}"


class Injector:
    """Injects the faults of a round, each at its time in a thread of its own."""

    def __init__(self, grid: Grid, say: Callable[[str], None]) -> None:
        """Take the appliance that is to suffer, and who is told of each fault."""
        self._grid = grid
        self._say = say
        self._registry = Registry(Store(grid.registry.store.url, "grid"))

    def inject(self, faults: Iterable[Fault]) -> list[Hit]:
        """Inject faults at their times, counted from now; returns when the last one is over."""
        begin = time.monotonic()
        running: list[Future[Hit]] = []
        with ThreadPoolExecutor(16) as pool:
            for fault in faults:
                time.sleep(max(0.0, begin + fault.at_s - time.monotonic()))
                running.append(pool.submit(self._inject, fault))
        return [future.result() for future in running]

    def _inject(self, fault: Fault) -> Hit:
        hit = Hit(fault, time.time())
        try:
            self._strike(fault, hit)
        except (Missing, psutil.NoSuchProcess, ProcessLookupError, StoreUnavailable, SupervisorError) as error:
            hit.missed = True
            hit.what += f"missed: {error}"
        hit.ended = time.time()
        hit.over = hit.over or hit.ended
        self._say(hit.line())
        return hit

    def _strike(self, fault: Fault, hit: Hit) -> None:
        if fault.kind.target is Target.WORKER:
            self._strike_worker(fault, hit)
        elif fault.kind.target is Target.PROXY:
            self._strike_proxy(fault, hit)
        else:
            self._strike_redis(fault, hit)

    def _strike_worker(self, fault: Fault, hit: Hit) -> None:
        part, _, act = fault.kind.name.partition(".")
        who, victims = self._victims(part, fault.number)
        hit.began, hit.worker, hit.slot = time.time(), who.id, who.slot
        hit.what = f"{who.id} {' '.join(str(victim.pid) for victim in victims)}"
        if act == "drain":
            done = self._grid.applctl("workers", "drain", who.slot, check=False)
            hit.what = f"{who.id}: {(done.stdout + done.stderr).strip()}"
        else:
            _signal(act, victims, fault.lasts_s)

    def _victims(self, part: str, number: int) -> tuple[WorkersTree, list[psutil.Process]]:
        """Find a worker that has such processes, or wait until there is one again; raises Missing."""
        deadline = time.monotonic() + BACK_WITHIN_S
        while time.monotonic() < deadline:
            for who in targets.workers(self._grid, number):
                if victims := who.part(part):
                    return who, victims
            time.sleep(LOOK_INTERVAL_S)
        raise Missing(f"no worker with a {part}")

    def _strike_proxy(self, fault: Fault, hit: Hit) -> None:
        proxy = targets.process(self._grid, "proxy")
        hit.what = f"proxy {proxy.pid}"
        _signal(fault.kind.name.partition(".")[2], [proxy], fault.lasts_s)
        hit.over = time.time()
        if not fault.lasts_s:
            _wait_until(lambda: _has_ended(proxy))
        _wait_until(self._proxy_answers)

    def _strike_redis(self, fault: Fault, hit: Hit) -> None:
        match fault.kind.name:
            case "redis.forget":
                self._registry.store.read(("FUNCTION", "FLUSH"))
            case "redis.hangup":
                self._registry.store.read(*[("CLIENT", "KILL", "TYPE", kind) for kind in ("pubsub", "normal")])
            case _:
                server = targets.process(self._grid, "redis")
                hit.what = f"redis {server.pid}"
                _signal(fault.kind.name.partition(".")[2], [server], fault.lasts_s)
                hit.over = time.time()
                if not fault.lasts_s:
                    _wait_until(lambda: _has_ended(server))
                _wait_until(self._redis_answers)

    def _proxy_answers(self) -> bool:
        try:
            return self._grid.get("/healthz")["status"] == "ok"
        except (OSError, http.client.HTTPException):
            return False

    def _redis_answers(self) -> bool:
        try:
            self._registry.store.ping()
        except StoreUnavailable:
            return False
        return True


def _signal(act: str, victims: list[psutil.Process], lasts_s: float) -> None:
    """Kill processes, ask them to end, or pause them for so many seconds."""
    number = {"kill": signal.SIGKILL, "terminate": signal.SIGTERM}.get(act, signal.SIGSTOP)
    with _continued(victims if number is signal.SIGSTOP else []):
        for victim in victims:
            with suppress(psutil.NoSuchProcess):
                victim.send_signal(number)
        time.sleep(lasts_s)


@contextmanager
def _continued(victims: list[psutil.Process]) -> Iterator[None]:
    try:
        yield
    finally:
        for victim in reversed(victims):
            with suppress(psutil.NoSuchProcess):
                victim.resume()


def _has_ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a condition for BACK_WITHIN_S at most; that it did not come is for the verdict to find."""
    deadline = time.monotonic() + BACK_WITHIN_S
    while not condition() and time.monotonic() < deadline:
        time.sleep(LOOK_INTERVAL_S)
