"""What a client is told that gets no slot: one sentence each, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from appliance.grid.grid import Grid
from appliance.grid.languages import how_to_install
from appliance.grid.session import Session
from appliance.grid.values import SessionRequest
from appliance.names import Protocol, without_beside
from appliance.request_errors import (
    BadRequest,
    BrowserNotServed,
    NoSlot,
    NoWorker,
    QueueFull,
    RequestError,
    SessionInUse,
    VersionNotServed,
)

_PRE_RELEASE = re.compile(r"Playwright/(\d+\.\d+\.\d+-[\w.-]+)")


def queue_full(request: SessionRequest, waiting: int) -> QueueFull:
    """Return the refusal of a client that would be one too many in the queue."""
    return QueueFull(f"All {request.browser} slots are taken, and {waiting} clients already wait.")


def not_to_be_had(request: SessionRequest, versions: Sequence[str], failure: str) -> RequestError:
    """Return the refusal of a client for whose version an appliance could not get a pool."""
    other = f" Or in the client: {how_to_install(request.user_agent, versions[0])}." if versions else ""
    return VersionNotServed(
        f"No {request.browser} worker serves Playwright {request.minor}, and none could be started: "
        f"{failure.rstrip('.')}. Served: {', '.join(versions) or 'none'}.",
        f"On an appliance, `applctl pools add {request.browser}@{request.minor}` tries the same at once.{other}",
    )


def not_served(request: SessionRequest, versions: Sequence[str]) -> RequestError:
    """Return the refusal of a client whose browser is served in these Playwright versions only, or not at all."""
    if not versions:
        return BrowserNotServed(
            f"This grid serves no {request.browser}.",
            f"Set {request.browser.upper()}_WORKERS on an appliance, or ask for another browser.",
        )
    return VersionNotServed(
        f"No {request.browser} worker serves Playwright {request.minor}. Served: {', '.join(versions)}."
        + _about_pre_release(request),
        how_to_install(request.user_agent, versions[0]) + ".",
    )


def _about_pre_release(request: SessionRequest) -> str:
    """Return why a pre-release is not served, a sentence; "" if the client is none."""
    if not (found := _PRE_RELEASE.match(request.user_agent)):
        return ""
    return (
        f" The client is a pre-release, {found[1]}. The stable driver of Playwright {request.minor} would serve it: "
        "this grid has none, and perhaps none is released yet."
    )


def in_use(request: SessionRequest) -> SessionInUse:
    """Return the refusal of a client whose session another client has asked for, and which has no browser yet."""
    return SessionInUse(f"Session {request.kept_as!r} is in use: another client waits for its slot.")


def another_kind(request: SessionRequest, browser: str, protocol: str) -> BadRequest:
    """Return the refusal of a client whose session has another browser or protocol than it asks for."""
    spoken = "a CDP session" if protocol == Protocol.CDP else f"a session of Playwright's connect() with {browser}"
    return BadRequest(f"Session {request.kept_as!r} is {spoken}.", "Use another name for `session`.")


def another_timeout(request: SessionRequest, timeout_s: int) -> BadRequest:
    """Return the refusal of a client that asks for another length of a session than the session's first client."""
    ends = f"ends {timeout_s} s after its first client came" if timeout_s else "has no limit of its own"
    return BadRequest(f"Session {request.kept_as!r} {ends}.", "Leave `timeout` out, or use another name for `session`.")


def another_version(request: SessionRequest, minor: str) -> VersionNotServed:
    """Return the refusal of a client whose session has a browser of another Playwright version."""
    return VersionNotServed(
        f"Session {request.kept_as!r} is one of Playwright {minor}, and the client is of {request.minor}.",
        f"{how_to_install(request.user_agent, minor)}, or use another name for `session`.",
    )


def no_slot(session: Session, grid: Grid, timeout_s: float, *, is_queued: bool) -> RequestError:
    """Return the refusal of a client that has waited for `timeout_s`, or for which there is nothing to wait for.

    `is_queued` says whether its last claim found it in the queue. Raises StoreUnavailable.
    """
    browser = session.request.browser
    waited = f" within {timeout_s:g} s" if session.deadline.is_over else ""
    if session.failures:
        dials = "1 dial" if len(session.failures) == 1 else f"{len(session.failures)} dials"
        failed = f"{dials} failed, the last one because {session.failures[-1][1].rstrip('.')}."
        if is_queued:
            return NoSlot(f"No other {browser} slot came free{waited}, after {failed}")
        return NoSlot(f"No {browser} worker was reached{waited}: {failed}")
    if session.progress:
        return NoSlot(f"Playwright {session.request.minor} is not there yet{waited}: {session.progress[-1]}.")
    pools = [pool for pool in grid.capacity() if pool.browser == browser]
    minor = session.request.minor
    if any(sum(pool.workers.values()) for pool in pools if minor in ("", without_beside(pool.version))):
        return NoSlot(f"No {browser} slot came free{waited}.")
    return _no_worker(session.request, grid)


def _no_worker(request: SessionRequest, grid: Grid) -> NoWorker:
    failures = grid.failures(request.browser)
    if not failures:
        return NoWorker(f"No {request.browser} worker is running.")
    first = failures[0]
    others = f" ({len(failures)} workers fail)" if len(failures) > 1 else ""
    reason = f"{first.name} of {first.appliance} failed: {first.reason.rstrip('.')}{others}"
    return NoWorker(f"No {request.browser} worker is running, because {reason}.")
