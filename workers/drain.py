"""How a worker ends: no new sessions, wait for the last ones, then end those that are left."""

from __future__ import annotations

from appliance import logs
from appliance.config import Settings
from workers.orders import Orders
from workers.registration import Registration

log = logs.get_logger()

FAREWELL_S = 3.0  # for the proxies to tell their clients why, before the driver is gone


def drain(settings: Settings, registration: Registration, orders: Orders) -> None:
    """Drain and remove a worker that was told to. Raises Crashed.

    Its sessions have DRAIN_TIMEOUT; from a SIGTERM on, SHUTDOWN_GRACE; from a second one on, no time.
    """
    reason = orders.drain_reason or shutting_down(settings)
    log.info("worker.draining", reason=reason)
    registration.drain(reason)
    if not _sessions_end_by_themselves(settings, orders):
        reason = shutting_down(settings) if orders.terminations else drained_too_long(settings)
        log.warning("worker.ends_sessions", reason=reason)
        registration.end_sessions(reason)
        orders.wait(lambda: orders.is_drained, FAREWELL_S)
    registration.remove(reason)
    log.info("worker.stopped", reason=reason, lifetime=registration.spec.lifetime)


def _sessions_end_by_themselves(settings: Settings, orders: Orders) -> bool:
    if not orders.terminations:
        orders.wait(lambda: orders.is_drained or orders.terminations, settings.drain_timeout)
    if orders.terminations:
        orders.wait(lambda: orders.is_drained or orders.terminations > 1, settings.shutdown_grace)
    return orders.is_drained


def shutting_down(settings: Settings) -> str:
    """Give the reason of an end by SIGTERM, as the sessions' clients read it."""
    return f"worker {settings.worker_slot} is shutting down"


def drained_too_long(settings: Settings) -> str:
    """Give the reason of an end by DRAIN_TIMEOUT, as the sessions' clients read it."""
    return f"worker {settings.worker_slot} was recycled after DRAIN_TIMEOUT of {settings.drain_timeout:g} s"
