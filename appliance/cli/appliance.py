"""`applctl appliance`: take an appliance out of service, and put it back."""

from __future__ import annotations

import math
import time
from typing import Any

import click

from appliance.cli.command import command, group
from appliance.cli.connection import current_grid
from appliance.cli.output import Output, counted
from appliance.deadline import Deadline
from appliance.errors import ApplianceError
from appliance.grid.grid import open_grid
from appliance.grid.records import ApplianceInfo, ApplianceStatus
from appliance.request_errors import StoreUnavailable
from appliance.settings.config import Settings

REASON = "its appliance is drained"
_POLL_INTERVAL_S = 0.5


class NotDrained(ApplianceError):
    """Sessions are left when the time is over."""

    hint = "Wait longer, or end them: applctl sessions list, applctl sessions kill ID. The appliance stays drained."


class Undrained(ApplianceError):
    """Somebody else has ended the drain."""

    hint = "It serves again, so do not stop it. To drain it again: applctl appliance drain."


class StillNeeded(ApplianceError):
    """Nothing runs on it but the Redis that others use."""

    hint = "Without it the others refuse new sessions. Stop it last, or give the grid a Redis of its own."


class Gone(ApplianceError):
    """The appliance was stopped, or is cut off from Redis with its sessions."""

    hint = "If it was stopped, nothing is left to drain. If it still runs, run `applctl status` on that machine."


@group("applctl appliance drain --wait && applctl down")
def appliance() -> None:
    """Take an appliance out of service, or put it back.

    Running sessions go on. `applctl appliances` lists the appliances.
    """


@command(
    "applctl appliance drain                            # this one",
    "applctl appliance drain grid-2 --wait --timeout 900",
    exit_codes="0  done; with --wait: the appliance can be stopped\n"
    "1  with --wait: sessions are left after --timeout, others use its Redis,\n"
    "   it was undrained, or it is gone",
    of=appliance,
)
@click.argument("name", required=False)
@click.option("--wait", is_flag=True, help="Wait until no session uses its workers or its proxy.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(0), help="Seconds for --wait. Default: no limit.")
def drain(out: Output, name: str | None, wait: bool, timeout_s: float | None) -> dict[str, Any]:
    """Take an appliance, by default this one, out of service.

    It gets no new sessions; running ones have DRAIN_TIMEOUT to end. Its /readyz fails at once, and for DRAIN_NOTICE its
    proxy still accepts sessions, for other appliances' workers. It stays drained until `undrain` or a restart.
    """
    settings, name = _ask(name, drains=True)
    state = _await_drained(settings, name, timeout_s, out) if wait else _state_of(settings, name)
    if state and state.safe_to_stop:
        out.say(f"{name} is drained and can be stopped.")
    else:
        out.say(f"{name} is draining: {_sessions_left(state)}.")
    return state.as_dict() if state else {"name": name}


@command("applctl appliance undrain", "applctl appliance undrain grid-2", of=appliance)
@click.argument("name", required=False)
def undrain(out: Output, name: str | None) -> dict[str, Any]:
    """Put a drained appliance, by default this one, back in service."""
    _, name = _ask(name, drains=False)
    out.say(f"{name} is back in service.")
    return {"name": name}


def _ask(name: str | None, *, drains: bool) -> tuple[Settings, str]:
    """Drain an appliance, or end that. Returns the settings, and its name; raises ApplianceError for an unknown one."""
    with current_grid() as (settings, grid):
        name = name or settings.appliance_name
        if grid.drain_appliance(name, REASON) if drains else grid.undrain_appliance(name):
            return settings, name
        there = ", ".join(one.name for one in grid.appliances()) or "none"
    raise ApplianceError(f"there is no appliance {name}", f"The grid's appliances: {there}.")


def _state_of(settings: Settings, name: str) -> ApplianceInfo | None:
    with open_grid(settings) as grid:
        return grid.appliance(name)


def _await_drained(settings: Settings, name: str, timeout_s: float | None, out: Output) -> ApplianceInfo:
    """Wait until an appliance can be stopped. While Redis is away that cannot be known, so the wait goes on.

    Raises Undrained; Gone if Redis knew nothing of it for LEASE_TTL, within which an appliance that lives announces
    itself; StillNeeded; and NotDrained after `timeout_s`.
    """
    deadline = Deadline(math.inf if timeout_s is None else timeout_s)
    said, silence = "", Deadline(settings.lease_ttl)
    while True:
        try:
            state = _state_of(settings, name)
            left = _sessions_left(state)
        except StoreUnavailable as error:
            state, left, silence = None, str(error), Deadline(settings.lease_ttl)
        if state:
            silence = Deadline(settings.lease_ttl)
            _require_drained(state)
            if state.safe_to_stop:
                return state
            if state.status is ApplianceStatus.DRAINED:
                raise StillNeeded(f"{name} is drained, but its Redis is used by {counted(state.needed_by, 'other')}")
        if silence.is_over:
            raise Gone(f"{name} is gone: Redis has not heard from it for {settings.lease_ttl:g} s")
        if left != said:
            out.say(f"{name} is draining: {left}.")
        said = left
        if deadline.is_over:
            raise NotDrained(f"{name} was not drained within {timeout_s:g} s: {left}")
        time.sleep(_POLL_INTERVAL_S)


def _require_drained(state: ApplianceInfo) -> None:
    if state.status in (ApplianceStatus.SERVING, ApplianceStatus.STOPPING):
        raise Undrained(f"{state.name} was undrained or restarted meanwhile")


def _sessions_left(state: ApplianceInfo | None) -> str:
    if state is None:
        return "Redis has not heard from it yet"
    if state.status is ApplianceStatus.DRAINED:
        return f"no sessions left, but its Redis is used by {counted(state.needed_by, 'other')}"
    if not (state.on_workers or state.in_proxy):
        return "no sessions left; waiting for the proxy to stop accepting (DRAIN_NOTICE)"
    return f"{counted(state.on_workers, 'session')} left on its workers, {state.in_proxy} in its proxy"
