"""`applctl sessions`: who uses the grid, and an end to it."""

from __future__ import annotations

from dataclasses import asdict

import click
from rich.table import Table
from rich.text import Text

from appliance.cli.connection import current_settings
from appliance.cli.output import console, duration, json_option, print_json
from appliance.errors import ApplianceError
from appliance.models import SessionState
from appliance.registry import open_registry

REASON = "session closed by operator"


@click.group(
    short_help="List the grid's sessions, or end some.",
    epilog="""
\b
Examples:
  applctl sessions list
  applctl sessions kill 3f9a
""",
)
def sessions() -> None:
    """List the grid's sessions, those of all appliances, or end some."""


@sessions.command(
    "list",
    short_help="List the sessions, the active and the waiting.",
    epilog="""
\b
Examples:
  applctl sessions list
  applctl sessions list --json | jq -r '.[] | select(.name == "nightly").id'
""",
)
@json_option
def list_sessions(as_json: bool) -> None:
    """List the sessions, the active and the waiting, the oldest first."""
    with open_registry(current_settings()) as registry:
        found, now_ms = registry.sessions(), registry.now_ms()
    if as_json:
        print_json([asdict(session) for session in found])
    elif found:
        console().print(_table(found, now_ms), soft_wrap=False)
    else:
        console().print("There are no sessions.")


@sessions.command(
    short_help="End sessions; their clients are told.",
    epilog="""
\b
Examples:
  applctl sessions kill 3f9a
  applctl sessions kill --all
""",
)
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "everyone", is_flag=True, help="End all sessions of the grid.")
@json_option
def kill(ids: tuple[str, ...], everyone: bool, as_json: bool) -> None:
    """End sessions, also those that still wait for their slot.

    ID is a session's id, as `applctl sessions list` prints it, or its beginning. The client's pending calls fail
    with the reason "session closed by operator".
    """
    if everyone == bool(ids):
        raise click.UsageError("Name sessions by their ids, or say --all.")
    with open_registry(current_settings()) as registry:
        # The waiting first, or the slots of the others would be handed to them.
        there = sorted(registry.sessions(), key=lambda session: session.state == "active")
        known = [session.id for session in there]
        chosen = known if everyone else [choose(beginning, known) for beginning in ids]
        killed = [session for session in dict.fromkeys(chosen) if registry.kill_session(session, REASON)]
    if as_json:
        print_json([{"session": session} for session in killed])
    for session in killed:
        console(as_json).print(f"{session} is told to end", markup=False)
    if not killed:
        console(as_json).print("There are no sessions." if everyone else "It has ended already.")


def choose(beginning: str, known: list[str]) -> str:
    """Find the one id that begins so. Raises ApplianceError if there is none, or more than one."""
    found = [session for session in known if beginning and session.startswith(beginning)]
    if not found:
        raise ApplianceError(f"there is no session {beginning}", "`applctl sessions list` names those that there are.")
    if len(found) > 1:
        raise ApplianceError(f"{len(found)} sessions begin with {beginning}", "Give more of the id.")
    return found[0]


def _table(found: list[SessionState], now_ms: int) -> Table:
    table = Table("Id", "Name", "Browser", "Worker", "Client", "Age", box=None, pad_edge=False, header_style="bold")
    for session in found:
        age = duration((now_ms - session.started_ms) / 1000)
        name, worker = Text(session.name), session.worker or "(waits)"  # the client's name is no markup
        table.add_row(session.id, name, session.browser, worker, session.client, age)
    return table
