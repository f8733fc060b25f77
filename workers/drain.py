"""How a worker ends: no new sessions, wait for the last ones, then end what is left."""

from __future__ import annotations

from collections.abc import Callable

from appliance import logs
from appliance.deadline import Deadline
from appliance.grid.story import EndedBy
from appliance.settings.config import Settings
from workers.orders import Orders
from workers.registration import Registration

log = logs.get_logger()

LOOK_S = 0.05
LAST_WORDS_S = 1.0  # a session's slot is free before its connection has said goodbye
YIELD_S = 1.0  # a proxy that is told to stop in the same moment says why first, and in the appliance's name
FAREWELL_S = 3.0  # for the proxies to tell their clients why, before the driver is gone


def drain(settings: Settings, registration: Registration, orders: Orders, connections: Callable[[], int]) -> None:
    """Drain and remove a worker that was told to; `connections` counts those of its driver. Raises Crashed.

    Its sessions have DRAIN_TIMEOUT; from a SIGTERM on, SHUTDOWN_GRACE; from a second one on, no time.
    """
    reason = orders.drain_reason or shutting_down(settings)
    log.info("worker.draining", reason=reason)
    registration.drain(reason)
    if not _sessions_end_by_themselves(settings, orders, connections):
        reason = shutting_down(settings) if orders.terminations else drained_too_long(settings)
        log.warning("worker.ends_sessions", reason=reason)
        registration.end_sessions(reason, EndedBy.APPLIANCE if orders.terminations else EndedBy.WORKER)
        orders.wait(lambda: orders.is_drained, FAREWELL_S)
    registration.remove(reason)
    log.info("worker.stopped", reason=reason, lifetime=registration.spec.lifetime)


def _sessions_end_by_themselves(settings: Settings, orders: Orders, connections: Callable[[], int]) -> bool:
    deadline = Deadline(settings.drain_timeout)
    while not orders.terminations:
        orders.wait(lambda: orders.is_drained or orders.terminations, deadline.left_s)
        if not (orders.is_drained and _are_asserted_again(settings, orders, connections)):
            break
    if orders.terminations:
        orders.wait(lambda: orders.is_drained or orders.terminations > 1, settings.shutdown_grace + YIELD_S)
    return orders.is_drained


def _are_asserted_again(settings: Settings, orders: Orders, connections: Callable[[], int]) -> bool:
    """Wait up to SHUTDOWN_GRACE for a proxy to assert sessions that Redis has lost; return whether it did.

    The proxy was paused, or cut off from Redis, past their leases. One whose machine is gone holds connections, too.
    """
    deadline, last_words, said = Deadline(settings.shutdown_grace), Deadline(LAST_WORDS_S), False
    while (held := connections()) and not deadline.is_over:
        if orders.wait(lambda: orders.terminations or not orders.is_drained, LOOK_S):
            return not orders.is_drained
        if not said and last_words.is_over:
            log.warning("worker.awaits_proxy", connections=held)
            said = True
    return False


def shutting_down(settings: Settings) -> str:
    """Return the reason that clients read when SIGTERM ends their sessions."""
    return f"worker {settings.worker_name} is shutting down"


def drained_too_long(settings: Settings) -> str:
    """Return the reason that clients read when DRAIN_TIMEOUT ends their sessions."""
    return f"worker {settings.worker_name} was recycled after DRAIN_TIMEOUT of {settings.drain_timeout:g} s"
