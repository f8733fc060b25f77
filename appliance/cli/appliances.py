"""`applctl appliances`, `applctl appliance`: the grid's appliances, and one of them out of service."""

from __future__ import annotations

import time
from collections.abc import Iterator

import click
from rich.console import Console
from rich.table import Table

from appliance.cli.connection import current_settings
from appliance.cli.output import console, counted, json_option, print_json
from appliance.config import Settings
from appliance.errors import ApplianceError, StoreUnavailable
from appliance.models import ApplianceState, ApplianceStatus, WorkerStatus
from appliance.registry import Appliances, open_registry

REASON = "its appliance is drained"
_POLL_INTERVAL_S = 0.5


class NotDrained(ApplianceError):
    """Sessions are left when the time is over."""

    hint = "Wait longer, or end them: applctl sessions list, applctl sessions kill ID. It stays drained."


class Undrained(ApplianceError):
    """Somebody else has ended the drain."""

    hint = "It serves, so it may not be stopped. To drain it again: applctl appliance drain."


class StillNeeded(ApplianceError):
    """Nothing runs on it but the Redis that others use."""

    hint = "Without it the others refuse new sessions. Stop it last, or give the grid a Redis of its own."


class Gone(ApplianceError):
    """Nothing is heard of the appliance any more: it was stopped, or is cut off from Redis with its sessions."""

    hint = "If it does not run any more, it need not be drained. If it does, see there: applctl status."


@click.command(
    short_help="List the grid's appliances.",
    epilog="""
\b
Examples:
  applctl appliances
  applctl appliances --json | jq -r '.[] | select(.safe_to_stop).name'
""",
)
@json_option
def appliances(as_json: bool) -> None:
    """List the appliances that share this grid's Redis: their workers and sessions, and whether they are drained.

    Workers are those that serve, of all that are there. Sessions are counted where their browsers are, and again, as
    proxied, where their clients came to. An appliance without a proxy is away.
    """
    with open_registry(current_settings()) as registry:
        found = Appliances(registry).states()
    if as_json:
        print_json([one.as_dict() for one in found])
    elif found:
        console().print(_table(found), soft_wrap=False)
        for note in _notes(found):
            console().print(note, style="yellow", markup=False)
    else:
        console().print("Redis knows of no appliance.")


@click.group(
    short_help="Take an appliance out of service, and back.",
    epilog="""
\b
Example:
  applctl appliance drain --wait && applctl down
""",
)
def appliance() -> None:
    """Take an appliance out of service without a failed session, and back. `applctl appliances` lists them."""


@appliance.command(
    short_help="Take an appliance out of service.",
    epilog="""
\b
Exit codes with --wait: 0 it may be stopped; 1 sessions are left after --timeout, or others use its Redis, or it was
undrained, or is gone.

\b
Examples:
  applctl appliance drain                            # this one
  applctl appliance drain grid-2 --wait --timeout 900
""",
)
@click.argument("name", required=False)
@click.option("--wait", is_flag=True, help="Wait until nothing runs on it any more, of its own or of others.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(0), help="Seconds that --wait waits. Default: no limit.")
@json_option
def drain(name: str | None, wait: bool, timeout_s: float | None, as_json: bool) -> None:
    """Give an appliance, by default this one, no new sessions; those that run go on, for DRAIN_TIMEOUT at most.

    Its /readyz fails at once; for DRAIN_NOTICE its proxy still takes sessions, for the workers of others. It stays
    drained until `undrain` or until it is started anew.
    """
    settings, out = current_settings(), console(as_json)
    name = name or settings.appliance_name
    _ask(settings, name, drains=True)
    state = _await_drained(settings, name, timeout_s, out) if wait else _state_of(settings, name)
    if state and state.safe_to_stop:
        out.print(f"{name} is drained: it may be stopped.", markup=False)
    else:
        out.print(f"{name} drains; {_sessions_left(state)}.", markup=False)
    if as_json:
        print_json(state.as_dict() if state else {"name": name})


@appliance.command(
    short_help="Let a drained appliance serve again.",
    epilog="""
\b
Examples:
  applctl appliance undrain
  applctl appliance undrain grid-2
""",
)
@click.argument("name", required=False)
@json_option
def undrain(name: str | None, as_json: bool) -> None:
    """Let an appliance, by default this one, serve again, at once with the browsers that stand by."""
    settings = current_settings()
    name = name or settings.appliance_name
    _ask(settings, name, drains=False)
    console(as_json).print(f"{name} serves.", markup=False)
    if as_json:
        print_json({"name": name})


def _ask(settings: Settings, name: str, *, drains: bool) -> None:
    """Drain an appliance, or end that; raises ApplianceError if there is none of that name."""
    with open_registry(settings) as registry:
        grid = Appliances(registry)
        if grid.drain_appliance(name, REASON) if drains else grid.undrain_appliance(name):
            return
        there = ", ".join(one.name for one in grid.states()) or "none"
    raise ApplianceError(f"there is no appliance {name}", f"The grid's appliances: {there}.")


def _state_of(settings: Settings, name: str) -> ApplianceState | None:
    with open_registry(settings) as registry:
        return Appliances(registry).state(name)


def _await_drained(settings: Settings, name: str, timeout_s: float | None, out: Console) -> ApplianceState:
    """Wait until an appliance may be stopped. While Redis is away that cannot be known, so it is waited for, too.

    Raises Undrained, or Gone if Redis has known nothing of it for LEASE_TTL, in which an appliance that lives speaks.
    """
    deadline = time.monotonic() + timeout_s if timeout_s is not None else None
    said, heard_at = "", time.monotonic()
    while True:
        try:
            state = _state_of(settings, name)
            left = _sessions_left(state)
        except StoreUnavailable as error:
            state, left, heard_at = None, str(error), time.monotonic()
        if state:
            heard_at = time.monotonic()
            _require_drained(state)
            if state.safe_to_stop:
                return state
            if state.status is ApplianceStatus.DRAINED:
                raise StillNeeded(f"{name} is drained, but its Redis is used by {counted(state.needed_by, 'other')}")
        if time.monotonic() - heard_at > settings.lease_ttl:
            raise Gone(f"{name} is gone: Redis has heard nothing of it for {settings.lease_ttl:g} s")
        if left != said:
            out.print(f"{name} drains; {left}.", markup=False)
        said = left
        if deadline is not None and time.monotonic() > deadline:
            raise NotDrained(f"{name} is not drained within {timeout_s:g} s: {left}")
        time.sleep(_POLL_INTERVAL_S)


def _require_drained(state: ApplianceState) -> None:
    if state.status in (ApplianceStatus.SERVING, ApplianceStatus.STOPPING):
        raise Undrained(f"{state.name} was undrained, or started anew, meanwhile")


def _sessions_left(state: ApplianceState | None) -> str:
    if state is None:
        return "Redis has not heard of it yet"
    if state.status is ApplianceStatus.DRAINED:
        return f"no session is left, but its Redis is used by {counted(state.needed_by, 'other')}"
    if not (state.on_workers or state.in_proxy):
        return "no session is left, and its proxy is awaited to take no more (DRAIN_NOTICE)"
    return f"{counted(state.on_workers, 'session')} left on its workers, {state.in_proxy} in its proxy"


def _notes(found: list[ApplianceState]) -> Iterator[str]:
    for one in found:
        if one.needed_by:
            yield f"The Redis of {one.name} is used by {counted(one.needed_by, 'other')}: stop it last."
        if one.rival:
            yield f"Two appliances are called {one.name}: {one.rival}, too. Set APPLIANCE_NAME to another name on one."


def _table(found: list[ApplianceState]) -> Table:
    """Show on 80 columns what one looks for; --json has the rest."""
    names = ("Appliance", "State", "Endpoint", "Playwright", "Workers", "Sessions", "Proxied")
    table = Table(*names, box=None, pad_edge=False, header_style="bold")
    table.columns[2].no_wrap, table.columns[2].overflow = True, "fold"  # it is there to be copied, so never cut
    for one in found:
        workers = f"{one.workers[WorkerStatus.AVAILABLE]} of {sum(one.workers.values())}"
        state = one.status.value if one.proxies else "away"
        numbers = (str(one.on_workers), str(one.in_proxy))
        table.add_row(one.name, state, one.endpoint, ", ".join(one.versions), workers, *numbers)
    return table
