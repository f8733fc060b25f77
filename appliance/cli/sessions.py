"""`applctl sessions`: list, explain and end sessions, live and past."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import click

from appliance.cli.command import command, group
from appliance.cli.connection import current_grid
from appliance.cli.output import Output
from appliance.cli.session_tables import history_table, one_table, sessions_table
from appliance.errors import ApplianceError
from appliance.grid.grid import Grid
from appliance.grid.session import Kill
from appliance.grid.story import ANY, EndedBy, Filter, Story
from appliance.names import Browser

STATUSES = ("waiting", "active", "kept")


@group("applctl sessions list", "applctl sessions why 3f9a", "applctl sessions kill 3f9a")
def sessions() -> None:
    """List, explain and end sessions of the whole grid."""


def _filters(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that both live and past sessions are found by; the command gets them as a `Filter`."""

    @functools.wraps(function)
    def run(out: Output, name: str, labels: tuple[str, ...], token: str | None, **more: Any) -> Any:
        return function(out, Filter(name=name, labels=dict(map(_label, labels)), token=token), **more)

    token = click.option("--token", metavar="NAME", help="Only sessions of this token.")
    label = click.option(
        "--label", "labels", metavar="KEY=VALUE", multiple=True, help="Only sessions with this label. May be repeated."
    )
    named = click.option("--name", default="", help="Only sessions of this name; * and ? are wildcards, in labels too.")
    return named(label(token(run)))


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise click.BadParameter(f"{text!r} is not KEY=VALUE", param_hint="--label")
    return key, value


_status = click.option("--status", type=click.Choice(STATUSES), default=None, help="Only sessions of this status.")


@command(
    "applctl sessions list",
    "applctl sessions list --wide --label build=4711",
    "applctl sessions list --json | jq -r '.[] | select(.name == \"nightly\").id'",
    name="list",
    of=sessions,
)
@_filters
@_status
@click.option("--wide", is_flag=True, help="Show labels, browser, token and traffic, too.")
def list_(out: Output, wanted: Filter, status: str | None, wide: bool) -> list[dict[str, Any]]:
    """List active, waiting and kept sessions, the oldest first.

    A kept session has lost its client and waits for the next one (`?session=NAME&keep=SECONDS`). Traffic is some
    seconds old.
    """
    with current_grid() as (settings, grid):
        found, now_ms = grid.stories(replace(wanted, status=status or "")), grid.now_ms()
    table = sessions_table(found, now_ms, settings.appliance_name, is_wide=wide)
    out.show(table if found else "There are no such sessions." if wanted != ANY or status else "There are no sessions.")
    return [story.as_dict() for story in found]


@command("applctl sessions show 3f9a", of=sessions)
@click.argument("session_id", metavar="ID")
def show(out: Output, session_id: str) -> dict[str, Any]:
    """Show all that is known of a session, live or past.

    ID is its id, or the first characters of it.
    """
    with current_grid() as (_, grid):
        story = _find(grid, session_id)
    out.show(one_table(story))
    return story.as_dict()


@command("applctl sessions why 3f9a", of=sessions)
@click.argument("session_id", metavar="ID")
def why(out: Output, session_id: str) -> dict[str, Any]:
    """Explain why a session waited, and why it ended.

    For example: "It waited 12.3 s, because when it came all slots of the 4 available chromium workers were taken and
    2 sessions waited before it."

    ID is the id of a live or a past session, or the first characters of it.
    """
    with current_grid() as (_, grid):
        story = _find(grid, session_id)
        sentences = grid.why(story.id)
    for sentence in sentences:
        out.show(sentence)
    return {"session": story.id, "why": sentences}


@command(
    "applctl sessions history",
    "applctl sessions history --name 'nightly*' --ended-by driver",
    "applctl sessions history --waited-over 10",
    "applctl sessions history --json --limit 1000 | jq 'group_by(.ended_by) | map({(.[0].ended_by): length}) | add'",
    of=sessions,
)
@_filters
@click.option(
    "--ended-by", type=click.Choice([one.value for one in EndedBy]), help="Only sessions that ended because of this."
)
@click.option("--browser", type=click.Choice([one.value for one in Browser]), help="Only sessions of this browser.")
@click.option("--version", default="", help="Only sessions of this Playwright version, like 1.65.")
@click.option("--worker", default="", help="Only sessions of this worker, by its name or id.")
@click.option("--appliance", default="", help="Only sessions on workers of this appliance.")
@click.option(
    "--waited-over",
    "waited_over_s",
    metavar="SECONDS",
    type=click.FloatRange(0),
    default=0.0,
    help="Only sessions that waited longer than this for a slot.",
)
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Show no more than this.")
def history(
    out: Output, wanted: Filter, limit: int, ended_by: str | None, browser: str | None, **more: Any
) -> list[dict[str, Any]]:
    """List past sessions, the newest first.

    HISTORY_KEEP and HISTORY_MAX_AGE say how many the grid keeps, and for how long.
    """
    chosen: dict[str, Any] = {"ended_by": ended_by or "", "browser": browser or "", **more}
    wanted = replace(wanted, **chosen)
    with current_grid() as (settings, grid):
        found, now_ms = grid.history(count=limit, filters=wanted), grid.now_ms()
    table = history_table(found, now_ms, settings.appliance_name)
    out.show(table if found else "There are no such sessions." if wanted != ANY else "No session has ended yet.")
    return [story.as_dict() for story in found]


@command(
    "applctl sessions kill 3f9a",
    "applctl sessions kill --label build=4711",
    "applctl sessions kill --all",
    of=sessions,
)
@click.argument("ids", metavar="[ID]...", nargs=-1)
@_filters
@_status
@click.option("--all", "everyone", is_flag=True, help="End all sessions of the grid.")
def kill(out: Output, wanted: Filter, ids: tuple[str, ...], status: str | None, everyone: bool) -> list[dict[str, str]]:
    """End sessions, including those that wait for a slot.

    ID is a session's id, or its first characters; `applctl sessions list` shows them. Without an ID, every session ends
    that matches all options. The client's pending calls fail with the reason "session closed by operator".
    """
    wanted = replace(wanted, status=status or "")
    if [everyone, bool(ids), wanted != ANY].count(True) != 1:
        raise click.UsageError("Name sessions by their ids, or use --all.", click.get_current_context())
    with current_grid() as (_, grid):
        # The waiting first, or the slots of the others would be handed to them.
        there = sorted(grid.stories(wanted), key=lambda session: session.holds_slot)
        known = [session.id for session in there]
        chosen = [choose(beginning, known) for beginning in ids] if ids else known
        killed = [session for session in dict.fromkeys(chosen) if grid.kill_session(session, Kill.BY_OPERATOR)]
    for session in killed:
        out.say(f"Ending session {session}.")
    if not killed:
        out.say(_none_killed(ids, wanted))
    return [{"session": session} for session in killed]


def _none_killed(ids: tuple[str, ...], wanted: Filter) -> str:
    if ids:
        return "It has already ended."
    return "There are no such sessions." if wanted != ANY else "There are no sessions."


def _find(grid: Grid, beginning: str) -> Story:
    """Return the one session, live or past, whose id begins so; raises ApplianceError."""
    if story := grid.session(beginning):
        return story
    found = grid.beginning_with(beginning, 2) if beginning else []
    if len(found) == 1:
        return found[0]
    if found:
        raise ApplianceError(f"several sessions begin with {beginning}", "Use more characters of the id.")
    raise ApplianceError(
        f"there is no session {beginning}",
        "`applctl sessions list` shows all live sessions, and `applctl sessions history` past ones.",
    )


def choose(beginning: str, known: list[str]) -> str:
    """Return the one id that begins so. Raises ApplianceError if there is none, or more than one."""
    found = [session for session in known if beginning and session.startswith(beginning)]
    if not found:
        raise ApplianceError(f"there is no session {beginning}", "`applctl sessions list` shows all sessions.")
    if len(found) > 1:
        raise ApplianceError(f"{len(found)} sessions begin with {beginning}", "Use more characters of the id.")
    return found[0]
