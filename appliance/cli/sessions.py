"""`applctl sessions`: list and end sessions."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click
from rich.table import Table

from appliance.cli.command import command, group
from appliance.cli.connection import current_grid
from appliance.cli.output import Output, duration, status_text, table
from appliance.errors import ApplianceError
from appliance.grid.records import SessionInfo
from appliance.names import WorkerId

REASON = "session closed by operator"


@group("applctl sessions list", "applctl sessions kill 3f9a")
def sessions() -> None:
    """List and end sessions of the whole grid."""


@command(
    "applctl sessions list",
    "applctl sessions list --json | jq -r '.[] | select(.name == \"nightly\").id'",
    name="list",
    of=sessions,
)
def list_(out: Output) -> list[dict[str, Any]]:
    """List active, waiting and kept sessions, the oldest first.

    A kept session has lost its client and waits for the next one (`?session=NAME&keep=SECONDS`).
    """
    with current_grid() as (settings, grid):
        found, now_ms = grid.sessions(), grid.now_ms()
    out.show(sessions_table(found, now_ms, settings.appliance_name) if found else "There are no sessions.")
    return [asdict(session) for session in found]


@command("applctl sessions kill 3f9a", "applctl sessions kill --all", of=sessions)
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "everyone", is_flag=True, help="End all sessions of the grid.")
def kill(out: Output, ids: tuple[str, ...], everyone: bool) -> list[dict[str, str]]:
    """End sessions, including those that wait for a slot.

    ID is a session's id, or its first characters; `applctl sessions list` shows them. The client's pending calls fail
    with the reason "session closed by operator".
    """
    if everyone == bool(ids):
        raise click.UsageError("Name sessions by their ids, or use --all.")
    with current_grid() as (_, grid):
        # The waiting first, or the slots of the others would be handed to them.
        there = sorted(grid.sessions(), key=lambda session: session.holds_slot)
        known = [session.id for session in there]
        chosen = known if everyone else [choose(beginning, known) for beginning in ids]
        killed = [session for session in dict.fromkeys(chosen) if grid.kill_session(session, REASON)]
    for session in killed:
        out.say(f"Ending session {session}.")
    if not killed:
        out.say("There are no sessions." if everyone else "It has already ended.")
    return [{"session": session} for session in killed]


def choose(beginning: str, known: list[str]) -> str:
    """Return the one id that begins so. Raises ApplianceError if there is none, or more than one."""
    found = [session for session in known if beginning and session.startswith(beginning)]
    if not found:
        raise ApplianceError(f"there is no session {beginning}", "`applctl sessions list` shows all sessions.")
    if len(found) > 1:
        raise ApplianceError(f"{len(found)} sessions begin with {beginning}", "Give more of the id.")
    return found[0]


def sessions_table(found: list[SessionInfo], now_ms: int, appliance: str) -> Table:
    """Return a table of sessions. A worker of this appliance has its short name, any other its id."""
    shown = table("Id", "Status", "Worker", "Client", "Age", "Name")
    for session in found:
        status, age = status_text(session.status), duration((now_ms - session.started_ms) / 1000)
        worker = WorkerId.parse(session.worker)
        worker_name = worker.name if worker.appliance == appliance else session.worker
        worker_name = worker_name or f"({session.browser})"
        shown.add_row(session.id, status, worker_name, session.client, age, session.name or session.kept_as)
    return shown
