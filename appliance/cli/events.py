"""`applctl events`: what happens in the grid."""

from __future__ import annotations

import json
import time
from datetime import datetime

import click

from appliance.cli.command import command
from appliance.cli.connection import current_grid
from appliance.cli.output import Output

_POLL_INTERVAL_S = 0.5


@command(
    "applctl events",
    "applctl events -f                 # as they happen, until Ctrl-C",
    "applctl events --json | jq 'select(.event == \"worker.ended\").reason'",
)
@click.option("-f", "--follow", is_flag=True, help="Print new events as they happen, until Ctrl-C.")
@click.option("-n", "--count", type=click.IntRange(min=0), default=50, show_default=True, help="Number of last events.")
def events(out: Output, follow: bool, count: int) -> None:
    """Show starts and ends of the grid's workers and sessions.

    With --json, each line is an object.
    """
    with current_grid() as (_, grid):
        found = grid.events(max(1, count))
        last_id = found[-1]["id"] if found else ""
        for event in found[len(found) - min(count, len(found)) :]:
            _print(event, out)
        while follow:
            time.sleep(_POLL_INTERVAL_S)
            for event in grid.events_after(last_id):
                last_id = event["id"]
                _print(event, out)


def _print(event: dict[str, str], out: Output) -> None:
    if out.as_json:
        click.echo(json.dumps(event))
        return
    at = datetime.fromtimestamp(int(event["id"].partition("-")[0]) / 1000).strftime("%H:%M:%S")  # local
    rest = " ".join(f"{name}={value}" for name, value in event.items() if name not in ("id", "event"))
    out.say(f"{at} {event['event']:<20} {rest}")
