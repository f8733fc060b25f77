"""A worker's record in the grid: what it says of itself, and what it is told in return.

Rules
 1. The worker remembers status and lifetime. If Redis forgot the worker, it registers again with them.
 2. A drain that Redis could not be told is told again by the next heartbeat.
 3. After a registration, "no active sessions" is not believed while the driver holds connections, until the proxies
    have had the time to assert the sessions that Redis forgot: `settle_s`.
 4. A server of Redis that is new may know less than the one before it: for `settle_s`, each heartbeat says how many
    connections the driver holds, so that no slot is given away whose session is about to be asserted.
 5. Once removed, it does not come back: a heartbeat under way must not register it again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from appliance import logs
from appliance.deadline import Deadline
from appliance.grid.grid import Grid
from appliance.grid.story import EndedBy
from appliance.grid.values import CrashCause, DrainCause, WorkerSpec, WorkerStatus
from appliance.machine.record import RecordFile
from appliance.request_errors import StoreUnavailable
from workers.orders import Orders

log = logs.get_logger()


class Registration:
    """One worker's registration; its methods may be called from any greenlet."""

    def __init__(
        self,
        grid: Grid,
        spec: WorkerSpec,
        orders: Orders,
        settle_s: float,
        connections: Callable[[], int],
        memory: RecordFile,
        size: Callable[[], tuple[int, int]],
    ) -> None:
        """Set the worker's description, the orders that answers become, and the record of its appliance.

        `connections` counts those that the driver holds; `settle_s` is how long Redis may miss their sessions. `size`
        returns how many workers of its team serve, and how many stand by.
        """
        self._grid = grid
        self._orders = orders
        self._settle_s = settle_s
        self._connections = connections
        self._memory = memory
        self._size = size
        self._lock = threading.Lock()
        self._drain_reason = ""
        self._away = False
        self._removed = False
        self._settling = Deadline(0)  # until then Redis may have lost sessions: rule 3
        self._server = ""
        self._memory_bytes = 0
        self.spec = spec

    def register(self) -> None:
        """Register for the first time; raises StoreUnavailable."""
        with self._lock:
            self._register()

    def handle(self, message: dict[str, Any]) -> None:
        """Act on a message from the worker's mailbox: `drain` with its reason, `drained`, or `suspect`."""
        if "drain" in message:
            self._orders.drain(str(message["drain"]), DrainCause.OPERATOR)
        if "drained" in message:
            self._idle()
        if "suspect" in message:
            log.warning(
                "worker.suspect", reason="a proxy could not dial it; it gets no session until it answers a probe"
            )
            self._orders.doubted.set()
        if "resubscribed" in message:
            self.beat(self._memory_bytes, healthy=False)

    def beat(self, memory_bytes: int, healthy: bool) -> bool:
        """Send a heartbeat; register again if Redis does not know the worker. False if Redis is away."""
        with self._lock:
            if not self._removed:
                self._try(lambda: self._beat(memory_bytes, healthy))
            return not self._away

    def drain(self, reason: str) -> None:
        """Ask for no new sessions, now or, if Redis is away, when it is back."""
        with self._lock:
            self._drain_reason = reason
            self._remember(status=WorkerStatus.DRAINING)
            self._try(self._drain)

    def end_sessions(self, reason: str, ended_by: EndedBy) -> None:
        """Ask the proxies to end the sessions that are left."""
        with self._lock:
            self._try(lambda: self._grid.end_sessions(self.spec.id, reason, ended_by))

    def remove(self, reason: str, crash: CrashCause | None = None) -> None:
        """Remove the worker from the grid, for good; the first reason counts. `crash` is what crashed, if that is why.

        If Redis is away, the worker will be reaped instead.
        """
        with self._lock:
            if not self._removed:
                self._removed = True
                self._try(lambda: self._grid.remove_worker(self.spec.id, reason, crash))

    def _beat(self, memory_bytes: int, healthy: bool) -> None:
        self._memory_bytes = memory_bytes
        self._look_at_the_server()
        may_have_lost = not self._settling.is_over
        connections = self._connections() if may_have_lost else -1
        settle_ms = int(self._settle_s * 1000)
        answer = self._grid.heartbeat_worker(self.spec.id, memory_bytes, healthy, connections, settle_ms)
        if answer is None:
            self._register_again()
            return
        if answer["suspect"]:
            self._orders.doubted.set()
        status = WorkerStatus(answer["status"])
        if status is not WorkerStatus.DRAINING and (self._drain_reason or self.spec.status is WorkerStatus.DRAINING):
            self._drain_reason = self._drain_reason or self._orders.drain_reason  # which Redis has lost
            self._drain()
            return
        self._remember(status=status, lifetime=max(self.spec.lifetime, int(answer["lifetime"])))
        if status is WorkerStatus.DRAINING:
            self._orders.drain(answer["reason"] or "told by the grid", DrainCause.OPERATOR)
            if answer["active"] == 0:
                self._idle()
            else:
                self._orders.occupied()

    def _look_at_the_server(self) -> None:
        server = self._grid.store.server()
        if self._server and server != self._server:
            log.warning("worker.redis_changed", server=server)
            self._settling = Deadline(self._settle_s)
        self._server = server

    def _drain(self) -> None:
        active = self._grid.drain_worker(self.spec.id, self._drain_reason, self._orders.drain_cause)
        if active is None:
            self._register_again()
        elif active == 0:
            self._idle()

    def _register_again(self) -> None:
        log.warning("worker.registers_again", lifetime=self.spec.lifetime, status=self.spec.status.value)
        self._settling = Deadline(self._settle_s)
        self._remember(connections=self._connections(), settle_ms=int(self._settle_s * 1000))
        self._register()

    def _register(self) -> None:
        appliance = self._memory.read()
        target, spares = self._size()
        self._remember(run=appliance.run, drained=appliance.drained, epoch=appliance.epoch)
        self._remember(target=target, spares=spares)
        self._remember(status=self._grid.register_worker(self.spec))

    def _idle(self) -> None:
        if self._settling.is_over or not self._connections():
            self._orders.drained()

    def _remember(self, **changes: Any) -> None:
        self.spec = replace(self.spec, **changes)

    def _try(self, call: Callable[[], object]) -> None:
        """Call the grid; while Redis is away, say so once and go on without it."""
        try:
            call()
        except StoreUnavailable as error:
            if not self._away:
                log.warning("worker.redis_away", error=str(error))
            self._away = True
        else:
            if self._away:
                log.info("worker.redis_back")
            self._away = False
