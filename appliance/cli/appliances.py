"""`applctl appliances`: list the appliances of the grid."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.table import Table

from appliance.cli.command import command
from appliance.cli.connection import current_grid
from appliance.cli.output import Output, counted, status_text, table
from appliance.grid.records import ApplianceInfo
from appliance.grid.values import WorkerStatus


@command("applctl appliances", "applctl appliances --json | jq -r '.[] | select(.safe_to_stop).name'")
def appliances(out: Output) -> list[dict[str, Any]]:
    """List the appliances of the grid.

    "Workers" shows how many are in service, and how many run. "Sessions" counts the browsers' side, "Proxied" the
    clients' side: the sessions whose clients are connected there. An appliance without a proxy is away.
    """
    with current_grid() as (_, grid):
        found = grid.appliances()
    out.show(appliances_table(found) if found else "No appliance is registered.")
    for note in _notes(found):
        out.warn(note)
    return [one.as_dict() for one in found]


def _notes(found: list[ApplianceInfo]) -> Iterator[str]:
    for one in found:
        if one.needed_by:
            yield f"{counted(one.needed_by, 'other appliance')} use the Redis of {one.name}: stop it last."
        if one.rival:
            yield f"Another appliance is called {one.name}, too: {one.rival}. Set APPLIANCE_NAME on one of them."


def appliances_table(found: list[ApplianceInfo]) -> Table:
    """Return a table that fits 80 columns; --json has the rest."""
    shown = table("Appliance", "Status", "Endpoint", "Playwright", "Workers", "Sessions", "Proxied")
    shown.columns[2].no_wrap, shown.columns[2].overflow = True, "fold"  # it is there to be copied, so never cut
    for one in found:
        workers = f"{one.workers[WorkerStatus.AVAILABLE]} of {sum(one.workers.values())}"
        status = status_text(one.status.value if one.proxies else "away")
        numbers = (str(one.on_workers), str(one.in_proxy))
        shown.add_row(one.name, status, one.endpoint, ", ".join(one.versions), workers, *numbers)
    return shown
